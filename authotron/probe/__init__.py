"""
Attacks on a running proxy, and the echo backend that shows which requests reach a service behind
the proxy.
"""

"""
The contracts of reverse proxies, one module each: how the proxy asks the gateway, and how the
gateway answers.
"""

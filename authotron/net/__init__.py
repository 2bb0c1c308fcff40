"""
Connections of the gateway to other machines: HTTP client, Redis client, TLS trust, circuit
breakers, and the L{World} of a plugin.
"""

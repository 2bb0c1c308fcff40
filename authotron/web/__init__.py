"""
The HTTP server of the gateway: routes, replies and the fast path. HTTP status codes are used only
in this package of the gateway.
"""

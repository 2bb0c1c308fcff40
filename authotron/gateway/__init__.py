"""
Decides about credentials: parses, authenticates and authorizes them, and caches the
decisions.
"""

"""
Token stores, which keep API tokens in a database: one module for each C{store.type}, and modules
that they share.
"""

"""Providers, which verify credentials and return identities; one module for each C{type:}."""

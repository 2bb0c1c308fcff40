"""Decides about credentials: parses, authenticates and authorizes, and caches decisions."""

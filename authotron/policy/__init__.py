"""Policies: may this identity make this request? Pure functions without I/O."""

"""Credentials in, decision out: parse, authenticate, remember."""

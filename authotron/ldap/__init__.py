"""Directories that speak LDAP: asked over verified connections, within limits, for plain values."""

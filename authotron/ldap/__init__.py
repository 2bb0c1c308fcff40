"""A strict LDAP client, and how the groups of a directory become roles."""

"""The endpoints and metadata of OAuth 2.0: clients exchange, introspect and revoke tokens."""

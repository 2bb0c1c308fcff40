"""API tokens: create, verify, restrict, revoke."""

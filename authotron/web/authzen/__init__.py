"""The OpenID AuthZEN Authorization API 1.0: services ask the gateway what identities may do."""

"""Values that all packages share: identity, credential, request, API token; no I/O."""

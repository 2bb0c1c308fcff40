"""The values everything speaks about: identity, credential, request, API token; no I/O."""

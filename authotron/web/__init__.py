"""The edges: what is served over HTTP."""

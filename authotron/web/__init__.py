"""HTTP: routes, replies and the fast path; the only package that knows status codes."""

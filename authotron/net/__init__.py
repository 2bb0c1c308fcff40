"""Other machines: HTTP client, Redis client, TLS trust, circuit breakers, and the World."""

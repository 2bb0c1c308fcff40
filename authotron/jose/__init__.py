"""JSON Web Tokens and keys: parse, verify, mint, publish, map claims to an identity."""

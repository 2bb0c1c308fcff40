"""The attacks on a proxy, in one module for each kind of attack."""

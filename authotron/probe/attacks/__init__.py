"""The attacks, in one module for each kind."""

"""Timeouts, races, single flights: all code that cancels work."""

"""Timeouts, races, single flights: everything that cancels."""

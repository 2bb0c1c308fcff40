"""This package contains all code that cancels work: timeouts, races and single flights."""

"""Plugins for authotron: the provider `robots` and the augmenter `weekday`."""

"""Stores: where tokens of our own live."""

"""Decisions straight from the bytes of a connection."""

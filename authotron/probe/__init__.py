"""Attacks of a running proxy, and the echo backend that shows what reaches a service behind it."""

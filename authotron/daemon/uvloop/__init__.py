"""Connections, timers and the reactor on uvloop, as Twisted's protocols know them."""

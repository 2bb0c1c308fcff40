"""
The reactor, timers and connections on uvloop, an event loop written in C, for
protocols of Twisted.
"""

"""The Twisted service: compose, listen, reload, drain."""

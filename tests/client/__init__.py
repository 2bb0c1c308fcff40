"""Tests of the library for backends that need neither a framework nor a socket."""

"""Tests of the library for backends with its frameworks, in an environment of their own."""

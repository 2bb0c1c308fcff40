"""Errors of commands that log in at a gateway; the command line prints their messages."""

from __future__ import annotations


class NotLoggedIn(Exception):
    """No token is kept for the gateway that could be used, and no credential is configured."""


class UnsafeFile(Exception):
    """A file or folder in which tokens are kept cannot be used, or other users could change it."""

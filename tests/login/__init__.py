"""Tests of logins at a gateway, from the command line."""

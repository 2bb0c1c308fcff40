"""Tests of the certificates of clients."""

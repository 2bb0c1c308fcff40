"""Tests of the AuthZEN API."""

"""
Helpers to test plugins: contract tests, a L{World} without a network, fake remote services, and a
backend.
"""

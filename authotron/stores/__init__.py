"""Databases for API tokens, one module for each C{type:}, and what these modules share."""

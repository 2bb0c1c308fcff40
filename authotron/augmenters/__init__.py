"""Sources of additional roles and attributes, one module for each C{type:}."""

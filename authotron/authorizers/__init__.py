"""The authorizers: one module for each C{type:} of the section C{authorizer}."""

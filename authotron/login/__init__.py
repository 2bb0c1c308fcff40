"""The login of a person or a script at a gateway, from the command line: kept, renewed, ended."""

"""Identity sources that judge credentials, one module for each C{type:}."""

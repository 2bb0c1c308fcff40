"""The configuration file: every key, its checks, its JSON Schema, and the plugins it names."""

"""Tests of what the repository ships beside the code: pages, examples, schemas and packaging."""

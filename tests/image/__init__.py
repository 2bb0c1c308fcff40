"""Builds the container image from its Dockerfile, and runs it."""

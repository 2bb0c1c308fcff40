# Two commands for a newcomer: `make run` and `make test`. See README.md.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCES = authotron tests setup.py twisted bench

.PHONY: check lint unit clean

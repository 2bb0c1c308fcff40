"""Tests of authotron.proxy_config."""

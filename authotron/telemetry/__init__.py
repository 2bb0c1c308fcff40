"""Logs, metrics and audit events: what operators see."""

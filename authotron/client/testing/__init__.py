"""Test services without a gateway: JWTs of any user, keys, a fake gateway, fixtures for pytest."""

from __future__ import annotations

from authotron.client.testing.signing import ISSUER, SigningKey, mint

__all__ = ["ISSUER", "SigningKey", "mint"]

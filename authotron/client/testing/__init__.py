"""
Tools for testing services without a gateway: JWTs of any user, signing keys, a fake gateway, and
fixtures for pytest.
"""

from __future__ import annotations

from authotron.client.testing.cases import GatewayMixin
from authotron.client.testing.fake_gateway import FakeGateway
from authotron.client.testing.server import serve
from authotron.client.testing.signing import ISSUER, SigningKey, mint

__all__ = ["ISSUER", "FakeGateway", "GatewayMixin", "SigningKey", "mint", "serve"]

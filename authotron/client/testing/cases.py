"""A mixin for C{unittest}: a fake gateway for each test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authotron.client.testing.fake_gateway import FakeGateway
from authotron.client.user import User


class GatewayMixin:
    """
    Gives each test a fake gateway, and the headers of requests of its users.

    Pass C{self.gateway.verifier()} to the service that is tested.

    @cvar gateway_options: the options of the L{FakeGateway} that each test gets.
    """

    gateway_options: Mapping[str, Any] = {}
    gateway: FakeGateway

    def setUp(self) -> None:
        """Start a fake gateway that knows no user."""
        self.gateway = FakeGateway(**self.gateway_options)
        # At run time self is also a TestCase, because test classes inherit from both.
        parent: Any = super()
        parent.setUp()

    def headers_of(self, user: User, **options: Any) -> dict[str, str]:
        """
        Return the headers of a request of a user, as the proxy passes them on.

        @param options: the options of L{authotron.client.testing.mint}.
        """
        return {"Authorization": f"Bearer {self.gateway.mint(user, **options)}"}

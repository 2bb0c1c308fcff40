"""The list of headers that proxies remove from requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.proxy_config import identity_headers


class IdentityHeadersTests(SynchronousTestCase):
    """The list of headers."""

    def test_groups(self) -> None:
        """Names are in groups with a title."""
        first = identity_headers.groups()[0]
        self.assertEqual(first.title, "authotron, and gateways that speak likewise")
        self.assertEqual(first.names[0], "X-Auth-User")

    def test_underscored(self) -> None:
        """Every spelling of a name with an underscore in place of a hyphen is found."""
        self.assertEqual(
            identity_headers.underscored("X-Auth-User"),
            ["X-Auth_User", "X_Auth-User", "X_Auth_User"],
        )
        self.assertEqual(identity_headers.underscored("Proxy"), [])

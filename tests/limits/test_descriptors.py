"""Connections to remotes have a share of the files that the process may open."""

from __future__ import annotations

import resource
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import plugins
from authotron.config.section import read
from authotron.limits.descriptors import connection_limiter, count_connections

LDAP = {"uri": "ldap://a.example", "search_base": "dc=a", "user_dn": "uid={username},dc=a"}
ASKS = {"uri": "https://a.example"}
MONGO = {"uri": "mongodb://a.example", "database": "d"}


def section(kind: str, type_: str, **given: Any) -> Any:
    module = plugins.load(kind, type_, kind)
    name = {} if kind == "stores" else {"name": "n", "realm": "r"}
    return read(module.Config, {"type": type_, **name, **given})


class SharesTests(SynchronousTestCase):
    """Connections to remotes."""

    def files(self, number: int) -> None:
        self.patch(resource, "getrlimit", lambda _: (number, number))

    def test_counted_T85a(self) -> None:
        """Each plugin with connections to a remote counts them; other plugins have none."""
        for kind, type_, given, count in (
            ("providers", "ecmwf-api", ASKS, 32),
            ("providers", "ecmwf-api", {**ASKS, "connections": 5}, 5),
            ("providers", "http", {"url": "https://a.example"}, 32),
            ("providers", "jwt", {"issuer": "https://a.example"}, 4),
            ("providers", "ldap", LDAP, 8),
            ("providers", "ldap", {**LDAP, "connections": 5}, 10),
            ("providers", "plain", {"users": []}, 0),
            ("augmenters", "http", {"url": "https://a.example"}, 32),
            ("stores", "mongo", MONGO, 11),
            ("stores", "redis", {}, 1),
        ):
            with self.subTest(type_, **given):
                self.assertEqual(count_connections([section(kind, type_, **given)]), count)
        self.assertEqual(count_connections([None, object()]), 0)

    def test_scaled_down_T85a(self) -> None:
        """
        If plugins ask for more than an eighth of the files, their connections are scaled
        down.
        """
        asks = [section("providers", "ecmwf-api", **ASKS) for _ in range(3)]
        for files, count in ((-1, 96), (1024, 96), (300, 36), (64, 6), (8, 3)):
            self.files(files)
            with self.subTest(files=files):
                self.assertEqual(count_connections(asks, connection_limiter(asks)), count)

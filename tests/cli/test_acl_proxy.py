"""A configuration is made from the environment variables of an acl-proxy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.cli import acl_proxy
from authotron.config import check
from authotron.model.errors import ConfigError
from authotron.plugin import passwords
from authotron.stores import redis
from tests.passwords import cheap_hash

ENVIRON = {"PEPPER": "old pepper", "REDIS_HOST": "db", "REDIS_PORT": "6380", "REDIS_DB": "2"}
FULL = {
    **ENVIRON,
    "REDIS_USERNAME": "proxy",
    "REDIS_PASSWORD": "canary",
    "REDIS_TLS": "true",
    "REDIS_TLS_SKIP_VERIFY": "true",
    "ADMIN_USER": "root",
    "ADMIN_PASS": "canary",
    "TOKEN_TTL_SECONDS": "3600",
    "RATE_LIMIT_MAX": "5",
}


class ConfigurationTests(SynchronousTestCase):
    """The configuration that C{authotron migrate acl-proxy} prints."""

    def setUp(self) -> None:
        self.patch(passwords, "hash_password", cheap_hash)

    def made(self, environ: dict[str, str]) -> check.Config:
        return check.check(acl_proxy.configuration(environ, "s" * 32, "p" * 32))

    def test_variables_become_a_valid_configuration(self) -> None:
        """
        Every variable that authotron has a key for is translated, and the configuration is
        valid.
        """
        found = self.made(FULL)
        store = found.store
        assert isinstance(store, redis.Config)
        self.assertEqual((store.host, store.port, store.database), ("db", 6380, 2))
        self.assertEqual((store.username, store.tls), ("proxy", True))
        self.assertEqual(store.acl_proxy_peppers(), [b"old pepper"])
        self.assertEqual(found.file.tokens.ttl, 3600)
        self.assertEqual(store.admins, {"administrators": ("token-admin",)})

    def test_required_variables_suffice(self) -> None:
        """A configuration made from the required variables alone is valid."""
        self.assertEqual(self.made(ENVIRON).file.server.port, 8000)

    def test_unsupported_variables_are_remarks_without_secrets(self) -> None:
        """Variables that authotron has no key for are named in remarks, which contain no secret."""
        told = "\n".join(acl_proxy.remarks(FULL))
        for name in ("REDIS_TLS_SKIP_VERIFY", "RATE_LIMIT_MAX", "ADMIN_USER"):
            self.assertIn(name, told)
        self.assertNotIn("canary", told)

    def test_problem_names_the_variable(self) -> None:
        """A variable that is missing or not a number is a problem that names the variable."""
        for environ, name in (
            ({}, "PEPPER"),
            ({**ENVIRON, "REDIS_PORT": "x"}, "REDIS_PORT"),
            ({**ENVIRON, "TOKEN_TTL_SECONDS": "-1"}, "TOKEN_TTL_SECONDS"),
            ({**ENVIRON, "TOKEN_TTL_SECONDS": "999999999"}, "TOKEN_TTL_SECONDS"),
            ({**ENVIRON, "PEPPER": "two\nlines"}, "PEPPER"),
        ):
            error = self.assertRaises(ConfigError, self.made, environ)
            self.assertIn(name, str(error))

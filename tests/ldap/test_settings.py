"""How a directory is reached, and that it is reached as written."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap.servers import Security
from authotron.model.errors import ConfigError
from tests.augmenters.test_ldap import config


class SecurityTests(SynchronousTestCase):
    """What is done before anything is said."""

    def test_scheme_T67(self) -> None:
        """However ldaps is written, it is TLS."""
        for uri in ("ldaps://localhost", "LDAPS://localhost", "LdapS://localhost:636"):
            with self.subTest(uri):
                section = config(uri=uri)
                self.assertEqual([section.security(each) for each in section.uri], [Security.TLS])

    def test_contradiction_T67(self) -> None:
        """So it is no way around a contradiction."""
        for tls in ("none", "starttls"):
            self.assertRaises(ConfigError, config, uri="LDAPS://localhost", tls=tls)

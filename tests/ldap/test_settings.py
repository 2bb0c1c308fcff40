"""How the keys C{uri} and C{tls} select the encryption."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap.servers import Security
from authotron.model.errors import ConfigError
from tests.augmenters.test_ldap import config


class SecurityTests(SynchronousTestCase):
    """The encryption of each address."""

    def test_case_of_the_scheme_T67(self) -> None:
        """The scheme ldaps selects TLS in any case of its letters."""
        for uri in ("ldaps://localhost", "LDAPS://localhost", "LdapS://localhost:636"):
            with self.subTest(uri):
                section = config(uri=uri)
                self.assertEqual([section.security(each) for each in section.uri], [Security.TLS])

    def test_tls_contradicts_ldaps_T67(self) -> None:
        """C{tls: none} and C{tls: starttls} contradict ldaps, in any case of its letters."""
        for tls in ("none", "starttls"):
            self.assertRaises(ConfigError, config, uri="LDAPS://localhost", tls=tls)

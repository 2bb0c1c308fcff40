"""The checks of C{authotron doctor} for LDAP servers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.augmenters import ldap
from authotron.ldap import checks
from authotron.plugin.interfaces import CheckResult
from tests import directories
from tests.augmenters.test_ldap import ADMINS, USERS, config
from tests.directories import BASE, GATE, Server, person


class DoctorTests(SynchronousTestCase):
    """Results of the checks, server by server."""

    def setUp(self) -> None:
        entries = {**person("alice", ADMINS, USERS), BASE: {"objectClass": ["top"]}}
        self.good, self.bad = Server(entries), Server(entries, passwords={})

    def findings(self, section: ldap.Config, username: str | None = None) -> list[CheckResult]:
        world = directories.world(localhost=self.good, other=self.bad)

        async def collect() -> list[CheckResult]:
            return [each async for each in checks.run_checks(section, world, username)]

        found: Any = self.successResultOf(Deferred.fromCoroutine(collect()))
        return list(found)

    def test_every_check_succeeds(self) -> None:
        """
        For a healthy server the connection, the search base and the user are each checked
        once.
        """
        found = self.findings(config(), "alice")
        self.assertEqual([each.good for each in found], [True, True, True])
        self.assertIn(f"in clear, bound as {GATE[0]}", found[0].detail)
        self.assertIn("2 roles", found[2].detail)
        self.assertEqual(self.good.open, [])

    def test_failed_server_is_left_for_the_next(self) -> None:
        """
        After a failed check the other checks of that server are skipped, and the next
        server is checked.
        """
        found = self.findings(config(uri=["ldap://other", "ldap://localhost"]))
        self.assertEqual([each.good for each in found], [False, True, True])
        self.assertIn("invalid credentials", found[0].detail)

    def test_server_that_closes_without_an_answer_fails(self) -> None:
        """
        Without a bind, a connection counts as verified only when the server has answered a
        request.
        """
        self.good.hangs_up = True
        [found] = self.findings(config(bind_dn=None, ldap_password=None))
        self.assertFalse(found.good, found.detail)

    def test_unreadable_search_base_fails(self) -> None:
        """A search base that cannot be read is a failed check."""
        del self.good.entries[BASE]
        self.assertFalse(self.findings(config(), "alice")[-1].good)

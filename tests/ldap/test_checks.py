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
        self.assertEqual([each.good for each in found], [True] * 5)
        self.assertIn(f"in clear, bound as {GATE[0]}", found[0].detail)
        self.assertIn("2 roles", found[2].detail)
        self.assertEqual(self.good.open, [])

    def test_roles_with_their_groups_W_DOCTOR(self) -> None:
        """Each role of the user is listed with the group that it comes from."""
        [*_, one, two] = self.findings(config(role_prefix="x:"), "alice")
        self.assertEqual(
            (one.detail, two.detail), (f"x:Admins from {ADMINS}", f"x:Users from {USERS}")
        )
        many = person("bob", *(f"cn=g{n},{BASE}" for n in range(150)))
        self.good.entries.update(many)
        found = self.findings(config(), "bob")
        self.assertEqual((len(found), found[-1].detail), (104, "50 more roles"))

    def test_many_groups_H_GROUPS(self) -> None:
        """If the roles of a user take much of a JWT, the check says how much."""
        names = [f"cn=group-with-a-long-name-{number:03},{BASE}" for number in range(150)]
        self.good.entries.update(person("bob", *names))
        found = self.findings(config(), "bob")
        details = [each.detail for each in found if "150 roles" in each.detail]
        self.assertEqual(len(details), 1)
        self.assertIn("150 roles: 5800 bytes in a JWT (see jwt.warn_bytes)", details[0])

    def test_unknown_user_W_DOCTOR(self) -> None:
        """A user without an entry is a failed check, and so is another spelling of a user name."""
        search = "(&(objectClass=person)(cn={}))"
        escaped = r"no\2a\28one\29"
        other = (
            f"no entry has the name ALICE letter by letter below {BASE}; "
            f"{search.format('ALICE')} matches uid=alice,ou=people,{BASE}"
        )
        for name, why in (
            ("nobody", f"no entry matches {search.format('nobody')} below {BASE}"),
            ("no*(one)", f"no entry matches {search.format(escaped)} below {BASE}"),
            ("ALICE", other),
        ):
            found = self.findings(config(), name)
            self.assertEqual([each.good for each in found], [True, True, False])
            self.assertIn(why, found[-1].detail)

    def test_filter_that_found_nothing(self) -> None:
        """The check names the configured filter that found no entry."""
        found = self.findings(config(user_filter="(mail={username})"), "alice")
        self.assertIn(f"no entry matches (mail=alice) below {BASE}", found[-1].detail)

    def test_user_of_groups_alone_W_DOCTOR(self) -> None:
        """A user without an entry is found if a search by user name finds groups."""
        self.good.entries[f"cn=Team,{BASE}"] = {"memberUid": ["carol"]}
        found = self.findings(config(filter="(memberUid={username})"), "carol")
        self.assertEqual([each.good for each in found], [True] * 4)
        self.assertIn("no entry, 1 role", found[2].detail)

    def test_why_no_roles_W_DOCTOR(self) -> None:
        """A user without roles gets the reason: no attribute, no group, or a filter."""
        self.good.entries.update(person("bob"))
        for over, username, words in (
            ({}, "bob", "0 roles, the entry has no memberOf, but other entries have"),
            ({"filter": "OU=No"}, "alice", "none of the 2 groups in memberOf is selected"),
            ({"group_attribute": "isMemberOf"}, "alice", f"no entry below {BASE} has isMemberOf"),
        ):
            detail = self.findings(config(**over), username)[-1].detail
            self.assertIn(words, detail)

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

    def test_reason_in_words_W_DOCTOR(self) -> None:
        """An unreachable server is named once, with the reason in words and without classes."""
        self.good.down = True
        [found] = self.findings(config(uri="ldap://localhost:1389"))
        self.assertEqual(found.what, "ldap://localhost:1389: connection")
        self.assertEqual(found.detail, "connection refused")

    def test_unreadable_search_base_fails(self) -> None:
        """A search base that cannot be read is a failed check."""
        del self.good.entries[BASE]
        self.assertFalse(self.findings(config(), "alice")[-1].good)

"""The ldap provider."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.section import read
from authotron.model.authentication import Authentication
from authotron.model.errors import ConfigError, Rejected, Unavailable
from authotron.model.identity import Credential, Identity
from authotron.plugin.interfaces import IProvider, IReachable, IUserLookup
from authotron.providers import ldap
from authotron.testing.contracts import ProviderContract
from authotron.testing.worlds import NOW, as_deferred, clock_at
from tests import directories
from tests.directories import BASE, GATE, Server, person

ADMINS = f"cn=Admins,ou=Groups,{BASE}"
ALICE = f"uid=alice,ou=people,{BASE}"


def basic(username: str, password: str) -> Credential:
    return Credential("basic", b64encode(f"{username}:{password}".encode()).decode())


def config(**over: Any) -> ldap.Config:
    return read(ldap.Config, {**directories.SECTION, **over})


class LdapCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Clock = clock_at(NOW)
        self.server = Server(person("alice", ADMINS, mail=["a@b.org"]))
        self.server.passwords[ALICE] = "alice-secret"

    def made(self, **over: Any) -> IProvider:
        return ldap.make(config(**over), directories.world(self.clock, localhost=self.server))

    def ask(self, judge: IProvider, username: str, password: str) -> Deferred[Authentication]:
        return as_deferred(judge.authenticate, basic(username, password))

    def refused(self, judge: IProvider, username: str, password: str) -> str:
        return str(self.failureResultOf(self.ask(judge, username, password), Rejected).value)


class SlowServer(Server):
    """A server that answers the binds of users when the test says so."""

    def __init__(self, *entries: Any) -> None:
        super().__init__(*entries)
        self.held: list[Any] = []

    def _answer(self, transport: Any, message: Any) -> None:
        dn = getattr(message.value, "dn", GATE[0].encode()).decode()
        if dn == GATE[0]:
            super()._answer(transport, message)
        else:
            self.held.append(lambda: super(SlowServer, self)._answer(transport, message))


class TurnsTests(SynchronousTestCase):
    """A directory that rejects binds slowly."""

    def test_guessers_T84d(self) -> None:
        """Seventy guessers at one address do not keep a user at another from being bound."""
        names = [*(f"user{number}" for number in range(70)), "alice"]
        server = SlowServer({dn: each for name in names for dn, each in person(name).items()})
        server.passwords[ALICE] = "alice-secret"
        for given in ({}, {"user_dn": f"uid={{username}},ou=people,{BASE}"}):
            world = directories.world(clock_at(NOW), localhost=server)
            judge = ldap.make(config(connections=1, **given), world)
            crowd = [
                as_deferred(judge.authenticate, _from("198.51.100.1", name)) for name in names[:-1]
            ]
            alice = as_deferred(judge.authenticate, _from("192.0.2.1", "alice"))
            for _ in range(5):
                server.held.pop(0)()
            self.assertEqual(self.successResultOf(alice).identity.username, "alice")
            for each in crowd:
                each.addErrback(lambda _: None)
                each.cancel()
            server.held.clear()

    def test_impatient_S_LOCK(self) -> None:
        """A client that leaves while its password is with the directory does not send it again."""
        for given in ({}, {"user_dn": f"uid={{username}},ou=people,{BASE}"}):
            clock, server = clock_at(NOW), SlowServer(person("alice"))
            judge = ldap.make(config(**given), directories.world(clock, localhost=server))
            for _ in range(10):
                leaver = as_deferred(judge.authenticate, basic("alice", "wrong"))
                clock.advance(0.1)
                leaver.cancel()
                self.failureResultOf(leaver, CancelledError)
            self.assertEqual(len(server.held), 1)
            server.held.pop()()
            self.failureResultOf(as_deferred(judge.authenticate, basic("alice", "wrong")), Rejected)
            self.assertEqual(
                (server.held, len(server.binds) - server.binds.count(GATE[0])), ([], 1)
            )

    def test_abandoned_bind_T69(self) -> None:
        """A directory that never answers keeps the connection of a client that left for 10 s."""
        for given in ({}, {"user_dn": f"uid={{username}},ou=people,{BASE}"}):
            clock, server = clock_at(NOW), SlowServer(person("alice"))
            world = evolve(directories.world(clock, localhost=server), timeout=60)
            judge = ldap.make(config(answer_timeout=60, **given), world)
            leaver = as_deferred(judge.authenticate, basic("alice", "wrong"))
            leaver.cancel()
            self.failureResultOf(leaver, CancelledError)
            open_before = len(server.open)
            clock.advance(9.9)
            self.assertEqual(len(server.open), open_before)
            clock.advance(0.1)
            self.assertEqual(len(server.open), open_before - 1)

    def test_impatient_outage_S_LOCK(self) -> None:
        """A server that does not answer such a bind in time is asked again."""
        clock, server = clock_at(NOW), SlowServer(person("alice"))
        judge = ldap.make(config(), directories.world(clock, localhost=server))
        for count in (1, 2):
            leaver = as_deferred(judge.authenticate, basic("alice", "wrong"))
            leaver.cancel()
            self.failureResultOf(leaver, CancelledError)
            self.assertEqual(len(server.held), count)
            clock.advance(10)


def _from(client: str, name: str) -> Credential:
    return evolve(basic(name, "alice-secret"), client=client)


class LdapContractTests(ProviderContract, LdapCase):
    """The ldap provider is a provider."""

    def provider(self) -> IProvider:
        return self.made()

    def good(self) -> Credential:
        return basic("alice", "alice-secret")

    def bad(self) -> Credential:
        return basic("alice", "guess")


class ByDnContractTests(LdapContractTests):
    """The ldap provider with `user_dn` is a provider."""

    def provider(self) -> IProvider:
        return self.made(user_dn=f"uid={{username}},ou=people,{BASE}")


class StillKnownTests(LdapCase):
    """Looking a user up without password."""

    def known(self, username: str) -> Deferred[Authentication]:
        return Deferred.fromCoroutine(IUserLookup(self.made()).look_up(username))

    def test_known(self) -> None:
        """A look-up returns the current roles, and until when they are fresh."""
        found = self.successResultOf(self.known("alice"))
        self.assertEqual((found.identity.roles, found.fresh_until), (("Admins",), NOW + 60))

    def test_gone(self) -> None:
        """A removed user is rejected, and so is another spelling of the name."""
        for username in ("bob", "ALICE", "*"):
            self.failureResultOf(self.known(username), Rejected)

    def test_by_dn(self) -> None:
        """A provider with `user_dn` cannot look users up."""
        self.assertFalse(IUserLookup.providedBy(self.made(user_dn=f"uid={{username}},{BASE}")))


class LogonNameTests(LdapCase):
    """Active Directory without a service account: a bind by the name of the account."""

    PRINCIPAL = "alice@example.org"
    DOWN_LEVEL = "EXAMPLE\\alice"
    BY_PRINCIPAL: Mapping[str, Any] = {
        "user_dn": "{username}@example.org",
        "bind_dn": None,
        "ldap_password": None,
    }
    BY_DOWN_LEVEL: Mapping[str, Any] = {**BY_PRINCIPAL, "user_dn": "EXAMPLE\\{username}"}

    def setUp(self) -> None:
        super().setUp()
        self.server.entries = self.account("Alice", "alice", self.PRINCIPAL)
        self.server.passwords = {self.PRINCIPAL: "alice-secret", self.DOWN_LEVEL: "alice-secret"}

    def account(self, name: str, account: str, principal: str) -> dict[str, dict[str, list[str]]]:
        entry = {"objectClass": ["person"], "sAMAccountName": [account], "memberOf": [ADMINS]}
        return {f"CN={name},{BASE}": {**entry, "userPrincipalName": [principal]}}

    def login(self, username: str, **over: Any) -> Deferred[Authentication]:
        return self.ask(self.made(**{**self.BY_PRINCIPAL, **over}), username, "alice-secret")

    def test_bind_and_search_L_UPN(self) -> None:
        """The user binds by name, and then searches for the own entry on the same connection."""
        for over, bound in (
            (self.BY_PRINCIPAL, self.PRINCIPAL),
            (self.BY_DOWN_LEVEL, self.DOWN_LEVEL),
        ):
            self.server.binds.clear()
            found = self.successResultOf(self.login("alice", **over)).identity
            self.assertEqual((found.username, found.roles), ("alice", ("Admins",)))
            self.assertEqual(self.server.binds, [bound])
            self.assertEqual(self.server.open, [])

    def test_one_subject_L_UPN(self) -> None:
        """Whatever form of the name the user writes, the subject and the bind are the same."""
        for over in (self.BY_PRINCIPAL, self.BY_DOWN_LEVEL):
            self.server.binds.clear()
            for written in ("alice", "alice@example.org", "alice@EXAMPLE.ORG", "EXAMPLE\\alice"):
                found = self.successResultOf(self.login(written, **over)).identity
                self.assertEqual(found.username, "alice", written)
            self.assertEqual(len(set(self.server.binds)), 1)

    def test_other_domains_L_UPN(self) -> None:
        """A name of another domain is rejected before the directory is asked."""
        for written in (
            "OTHER\\alice",
            "alice@other.org",
            "a/b",
            "a b",
            "alice@x@example.org",
            "{}",
        ):
            refused = self.login(written)
            self.failureResultOf(refused, Rejected)
        self.assertEqual(self.server.transports, [])
        self.successResultOf(self.login("alice@corp.example", domains=["corp.example"]))

    def test_principal_of_another_account_L_UPN(self) -> None:
        """The account that has the principal name counts, not the one that is called like it."""
        self.server.entries.update(self.account("Asmith", "asmith", self.PRINCIPAL))
        [alice, _] = self.server.entries.values()
        alice["userPrincipalName"] = ["alice@old.example.org"]
        self.assertEqual(self.successResultOf(self.login("alice")).identity.username, "asmith")

    def test_what_the_server_says_L_UPN(self) -> None:
        """
        If the entry does not have the principal name that was bound, it could be that of another
        account; then the server says who was bound, if it knows the question.
        """
        self.server.entries = self.account("Alice", "alice", "alice@old.example.org")
        for whoami, good in (
            ("u:EXAMPLE\\alice", True),
            (f"dn:CN=Alice,{BASE}", True),
            (None, True),
            ("u:EXAMPLE\\asmith", False),
            ("u:OTHER\\alice", False),
            ("dn:CN=Asmith,dc=org", False),
        ):
            self.server.whoami = {self.PRINCIPAL: whoami} if whoami else {}
            result = self.login("alice", domains=["EXAMPLE"])
            if good:
                self.assertEqual(self.successResultOf(result).identity.username, "alice")
            else:
                self.failureResultOf(result, Rejected)

    def test_accepted_as_anonymous_L_UPN(self) -> None:
        """A server that accepts any name as anonymous has verified nothing."""
        self.server.entries = self.account("Alice", "alice", "alice@old.example.org")
        self.server.whoami = {self.PRINCIPAL: ""}
        self.failureResultOf(self.login("alice"), Unavailable)

    def test_no_entry_L_UPN(self) -> None:
        """An account without an entry below the search base is rejected, and so are two entries."""
        self.failureResultOf(self.login("alice", search_base="ou=elsewhere"), Rejected)
        self.server.entries.update(self.account("Other", "alice", self.PRINCIPAL))
        self.failureResultOf(self.login("alice"), Rejected)

    def test_user_filter_L_UPN(self) -> None:
        """C{user_filter} replaces the search, but not the comparison with the bound account."""
        by_mail = {"user_filter": "(mailNickname={username})", "user_attribute": "mailNickname"}
        self.server.entries[f"CN=Alice,{BASE}"]["mailNickname"] = ["Alice"]
        found = self.successResultOf(self.login("alice", **by_mail))
        self.assertEqual(found.identity.username, "Alice")
        self.server.entries[f"CN=Alice,{BASE}"].update(
            {"sAMAccountName": ["bob"], "userPrincipalName": ["bob@example.org"]}
        )
        self.failureResultOf(self.login("alice", **by_mail), Rejected)

    def test_same_wrong_password_L_UPN(self) -> None:
        """The same wrong password is sent once, in whatever form the name is written."""
        judge = self.made(**self.BY_PRINCIPAL)
        for written in ("alice", "ALICE", "alice@example.org", "EXAMPLE\\alice", "\uff41lice"):
            self.refused(judge, written, "guess")
        self.assertEqual(len(self.server.binds), 1)

    def test_reachable_without_an_account_L_UPN(self) -> None:
        """Without a service account the provider is reachable if the directory answers."""
        self.server.result = 1  # what Active Directory answers to searches before a bind
        judge = IReachable(self.made(**self.BY_PRINCIPAL))
        self.successResultOf(Deferred.fromCoroutine(judge.check_reachable()))
        self.server.down = True
        self.server.hang_up()
        self.failureResultOf(Deferred.fromCoroutine(judge.check_reachable()), Unavailable)

    def test_server_of_another_kind_L_UPN(self) -> None:
        """A server that accepts only DNs in a bind is an outage, not a wrong password."""
        self.server.refusals[self.PRINCIPAL] = (34, "invalid DN")
        why = self.failureResultOf(self.login("alice"), Unavailable).value
        self.assertIn("accepts only DNs", str(why))

    def test_domains_of_a_search_L_UPN(self) -> None:
        """With a service account, too, the names of the domain are taken from a user name."""
        self.server.passwords[GATE[0]] = GATE[1]
        self.server.passwords[f"CN=Alice,{BASE}"] = "alice-secret"
        judge = self.made(user_attribute="sAMAccountName", domains=["EXAMPLE", "example.org"])
        for written in ("alice", "EXAMPLE\\alice", "alice@example.org"):
            found = self.successResultOf(self.ask(judge, written, "alice-secret"))
            self.assertEqual(found.identity.username, "alice")
        self.refused(judge, "OTHER\\alice", "alice-secret")


class LdapTests(LdapCase):
    """Rules of the ldap provider."""

    def test_identity(self) -> None:
        """The identity has roles and attributes of the entry, and is fresh for `cache`."""
        judge = self.made(attributes={"mail": "email"})
        found = self.successResultOf(self.ask(judge, "alice", "alice-secret"))
        identity = found.identity
        self.assertEqual((identity.roles, identity.attributes), (("Admins",), {"email": "a@b.org"}))
        self.assertEqual(found.fresh_until, NOW + 60)

    def test_empty_password_T24(self) -> None:
        """An empty password is rejected before the directory is asked."""
        for judge in (self.made(), self.made(user_dn=f"uid={{username}},ou=people,{BASE}")):
            self.refused(judge, "alice", "")
        self.assertEqual(self.server.transports, [])

    def test_one_subject_T25(self) -> None:
        """The user name is that of the entry, however the user spelled it."""
        for username in ("ALICE", "Alice ", "alice"):
            identity = self.successResultOf(
                self.ask(self.made(), username, "alice-secret")
            ).identity
            self.assertEqual(identity.username, "alice")

    def test_names_that_fold_alike_T82e(self) -> None:
        """Of several names that differ in case alone the one that the user wrote counts."""
        self.server.entries[ALICE]["uid"] = ["alice", "ALICE"]
        for username in ("alice", "ALICE"):
            identity = self.successResultOf(
                self.ask(self.made(), username, "alice-secret")
            ).identity
            self.assertEqual(identity.username, username)
        self.refused(self.made(), "Alice", "alice-secret")
        self.server.entries[ALICE]["uid"] = ["alice"]

    def test_groups_of_the_entry_T82e(self) -> None:
        """A search for groups uses the name of the entry, not the one that the user wrote."""
        self.server.entries[f"cn=A,{BASE}"] = {"memberUid": ["alice"]}
        self.server.entries[f"cn=B,{BASE}"] = {"memberUid": ["ALICE"]}
        judge = self.made(filter="(&(cn=A)(memberUid={username}))")
        self.server.entries[f"cn=A,{BASE}"]["cn"] = ["A"]
        identity = self.successResultOf(self.ask(judge, "ALICE", "alice-secret")).identity
        self.assertEqual((identity.username, identity.roles), ("alice", ("A",)))
        self.assertIn("(memberUid=alice)", self.server.asked[-1].filter)

    def test_same_wrong_password_S_LOCK(self) -> None:
        """The same wrong password is tried once a minute, however the user name is spelled."""
        by_dn = f"uid={{username}},ou=people,{BASE}"
        for given in (
            {},
            {"user_dn": by_dn},
            {"user_filter": "(|(uid={username})(mail={username}))"},
        ):
            self.server.binds.clear()
            judge = self.made(**given)
            for username in ("alice", "ALICE", " alice", "alice ", "\uff41lice", "alice"):
                if self.server_finds(username) or given == {"user_dn": by_dn}:
                    self.refused(judge, username, "guess")
                    self.clock.advance(5)
            self.assertEqual([each.lower().strip() for each in self.binds()], [ALICE])
            self.clock.advance(60)
            self.refused(judge, "alice", "guess")
            self.assertEqual(len(self.binds()), 2)
            self.assertEqual(self.good(judge).username, "alice")

    def server_finds(self, username: str) -> bool:
        return username.lower().strip() == "alice"

    def binds(self) -> list[str]:
        return [dn for dn in self.server.binds if dn != GATE[0]]

    def good(self, judge: IProvider) -> Identity:
        return self.successResultOf(self.ask(judge, "alice", "alice-secret")).identity

    def test_other_accounts_S_LOCK(self) -> None:
        """Accounts that differ in an accent are two, those that differ in a soft hyphen are one."""
        spelled = ldap._normalize_dn
        for other in ("uid=zoe,o=x", "uid=zoe\u0301,o=x", "uid=zoe,ou=x", "uid=zoe+cn=a,o=x"):
            self.assertNotEqual(spelled("uid=zoe\u0308,o=x"), spelled(other))
        for same in (
            "UID=ZO\xcb, O=X",
            "uid=zo\u00adë,o=x",
            "uid=zo\\c3\\ab,o=x",
            "uid=\uff5aoë,o=x",
        ):
            self.assertEqual(spelled("uid=zoe\u0308,o=x"), spelled(same))

    def test_other_passwords_S_LOCK(self) -> None:
        """Other passwords are tried, and a success resets the limit."""
        judge = self.made()
        self.refused(judge, "alice", "new")
        self.assertEqual(self.good(judge).username, "alice")
        self.server.passwords[ALICE] = "new"
        self.assertEqual(
            self.successResultOf(self.ask(judge, "alice", "new")).identity.username, "alice"
        )

    def test_outage_S_LOCK(self) -> None:
        """An outage during a bind is not a wrong password."""
        judge = self.made()
        self.server.refusals[ALICE] = (51, "busy")
        self.failureResultOf(self.ask(judge, "alice", "alice-secret"), Unavailable)
        self.server.refusals.clear()
        self.clock.advance(10)
        self.assertEqual(self.good(judge).username, "alice")

    def test_limits_S_LOCK(self) -> None:
        """`retry_wrong_after` is between 10 s and 10 min."""
        for given, message in (("9s", "must be at least 10"), ("11m", "must be at most 600")):
            problem = str(self.assertRaises(ConfigError, config, retry_wrong_after=given))
            self.assertIn(f"retry_wrong_after: {message}", problem)
        self.assertEqual(config().retry_wrong_after, 60)

    def test_several_names_T25(self) -> None:
        """An entry with several names is rejected if the user gave none of them."""
        self.server.entries[ALICE]["uid"] = ["admin", "alice"]
        by_mail = "(mail={username})"
        self.refused(self.made(user_filter=by_mail), "a@b.org", "alice-secret")
        identity = self.successResultOf(self.ask(self.made(), "alice", "alice-secret")).identity
        self.assertEqual(identity.username, "alice")
        self.server.entries[ALICE]["uid"] = ["alice"]
        judge = self.made(user_filter=by_mail)
        identity = self.successResultOf(self.ask(judge, "a@b.org", "alice-secret")).identity
        self.assertEqual(identity.username, "alice")

    def test_several_T67(self) -> None:
        """A name that two entries have is rejected without a bind."""
        self.server.entries["uid=other,dc=example,dc=org"] = {
            "objectClass": ["person"], "uid": ["alice"],
        }  # fmt: skip
        self.assertIn("several", self.refused(self.made(), "alice", "alice-secret"))
        self.assertEqual(self.server.binds, [GATE[0]])

    def test_name_in_dn_T66(self) -> None:
        """A user name is escaped in a DN."""
        judge = self.made(user_dn=f"uid={{username}},{BASE}")
        self.refused(judge, "alice,ou=people", "alice-secret")
        self.assertEqual(self.server.binds, [f"uid=alice\\,ou\\=people,{BASE}"])

    def test_names_that_cannot_be_T66(self) -> None:
        """Control characters and long names are rejected before the directory is asked."""
        for username in ("a\0b", "a\x0bb", "x" * 300):
            self.refused(self.made(), username, "alice-secret")
        self.assertEqual(self.server.transports, [])

    def test_outage(self) -> None:
        """A directory that is unreachable, or rejects the gateway, is an outage."""
        self.server.down = True
        self.failureResultOf(self.ask(self.made(), "alice", "guess"), Unavailable)
        self.server.down, self.server.passwords = False, {}
        self.failureResultOf(self.ask(self.made(), "alice", "guess"), Unavailable)

    def test_abandoned_T69(self) -> None:
        """If the client disconnects, the connection to the directory is closed."""
        self.server.silent = True
        as_deferred = self.ask(self.made(), "alice", "alice-secret")
        as_deferred.cancel()
        self.failureResultOf(as_deferred, CancelledError)
        self.assertEqual(self.server.open, [])

    def test_reach(self) -> None:
        """The provider is reachable while its search base can be read."""
        judge = IReachable(self.made())
        self.failureResultOf(Deferred.fromCoroutine(judge.check_reachable()), Unavailable)
        self.server.entries[BASE] = {"objectClass": ["top"]}
        self.successResultOf(Deferred.fromCoroutine(judge.check_reachable()))

    def test_mistakes(self) -> None:
        """Every mistake in the section is reported."""
        for over, words in (
            ({"user_dn": "uid=alice"}, "does not contain {username}"),
            ({"user_dn": "{username}"}, "equals sign"),
            ({"user_dn": "{username}"}, "nor {username}@example.org"),
            ({"user_dn": "uid={username},ou={ou},dc=org"}, "does not belong to {username}"),
            ({"bind_dn": "", "ldap_password": ""}, "leave bind_dn out"),
            ({"user_dn": "uid={username}", "user_filter": "(uid={username})"}, "not both"),
            ({"user_filter": "(uid=*)"}, "match every user"),
        ):
            self.assertIn(words, str(self.assertRaises(ConfigError, config, **over)))

    def test_in_clear(self) -> None:
        """Passwords sent without TLS get a warning, even if the search is anonymous."""
        section = config(uri="ldap://directory.example.org", bind_dn=None, ldap_password=None)
        self.assertIn("clear", str(section.warnings()))

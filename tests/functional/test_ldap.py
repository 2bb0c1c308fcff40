"""The daemon with a real LDAP server, slapd: healthy and failing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import directory, wire
from tests.functional.daemon import Daemon
from tests.functional.directory import BASE, MANY, PEOPLE, Scissors, Slapd, provider
from tests.functional.proxy import Silence
from tests.functional.wire import Answer
from tests.project import test_directory_recipes
from tests.recipes import recipe
from tests.waiting import DEADLINE, until

PATTERNS = ("*", "a*", "alice)(uid=*", "a)(uid=*))(|(uid=*", "\\28", "\\2a", "(", "é")
"""User names that would find another user if they were pasted into a filter."""


def login(daemon: Daemon, username: str, password: str, realm: str = "corp") -> Answer:
    headers = {"Authorization": wire.basic(username, password), "X-Auth-Realm": realm}
    return wire.ask(daemon.port, "/whoami", headers)


class LdapCase(SynchronousTestCase):
    """A daemon beside a healthy LDAP server."""

    def setUp(self) -> None:
        self.slapd = directory.directory()

    def daemon(self, *providers: dict[str, Any], **over: Any) -> Daemon:
        daemon = Daemon(Path(self.mktemp()))
        over = {"logging": {"level": "debug"}, **over}
        daemon.configure(providers=list(providers), **over).start()
        self.addCleanup(daemon.stop)
        return daemon

    def accepted(self, answer: Answer) -> dict[str, Any]:
        self.assertEqual(answer.status, 200, answer.body)
        identity: dict[str, Any] = answer.json()
        return identity


class DoctorTests(LdapCase):
    """C{authotron doctor} with an LDAP server."""

    def doctor(self, username: str = "alice", **over: Any) -> subprocess.CompletedProcess[str]:
        daemon = Daemon(Path(self.mktemp()))
        daemon.configure(providers=[provider(self.slapd, "corp", **over)])
        command = [sys.executable, "-m", "authotron", "doctor", "--user", username]
        return subprocess.run(
            [*command, "--config", str(daemon.file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )

    def test_well(self) -> None:
        """Doctor checks connection, TLS, bind and search, and counts the roles of a user."""
        done = self.doctor(uri=self.slapd.tls_uri, ca_file=self.slapd.authority)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for told in ("certificate verified", "bound as", "is readable", "uid=alice", "4 roles"):
            self.assertIn(told, done.stdout)

    def test_roles_W_DOCTOR(self) -> None:
        """Each role is listed with its group; a user without an entry is a failed check."""
        done = self.doctor()
        self.assertIn("role: admins from cn=admins,ou=groups,dc=example,dc=org", done.stdout)
        done = self.doctor(username="nobody")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("no entry matches (&(objectClass=person)(uid=nobody)) below", done.stdout)

    def test_another_host_T67(self) -> None:
        """Without a bind, a certificate of another host is still not reported as verified."""
        slapd = directory.another(Path(self.mktemp()), "elsewhere")
        self.addCleanup(slapd.stop)
        ldaps = {"uri": slapd.tls_uri}
        starttls = {"uri": slapd.uri, "tls": "starttls"}
        for connector in (ldaps, starttls):
            anonymous: dict[str, Any] = {"bind_dn": None, "ldap_password": None}
            done = self.doctor(**connector, **anonymous, ca_file=slapd.authority)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn("certificate of another name", done.stdout)
            self.assertNotIn("verified", done.stdout)

    def test_ill(self) -> None:
        """A wrong password of the service account is reported, and doctor exits with 1."""
        done = self.doctor(ldap_password="CANARY")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("invalid credentials", done.stdout)
        self.assertNotIn("CANARY", done.stdout + done.stderr)


class ProviderTests(LdapCase):
    """Users of the directory log in."""

    def test_good(self) -> None:
        """A user with the right password gets an identity with roles and attributes."""
        daemon = self.daemon(provider(self.slapd, "corp", attributes={"mail": "email"}))
        identity = self.accepted(login(daemon, "alice", "alicepw"))
        self.assertEqual(identity["username"], "alice")
        self.assertEqual(set(identity["roles"]), {"admins", "users", "Reader", "Writer"})
        self.assertEqual(identity["attributes"], {"email": "alice@example.org"})

    def test_bad(self) -> None:
        """A wrong password and an unknown user get the same answer."""
        daemon = self.daemon(provider(self.slapd, "corp"))
        wrong, unknown = login(daemon, "alice", "guess"), login(daemon, "nobody", "guess")
        self.assertEqual((wrong.status, unknown.status), (401, 401))
        self.assertEqual(wrong.body, unknown.body)

    def test_empty_password_T24(self) -> None:
        """An empty password is not sent to the directory, which may treat the bind as anonymous."""
        daemon = self.daemon(provider(self.slapd, "corp"))
        before = len(self.slapd.log())
        self.assertEqual(login(daemon, "bob", "").status, 401)
        self.assertNotIn("uid=bob", self.slapd.log()[before:])

    def test_why_not(self) -> None:
        """The log says whether an account is locked or expired; the client always gets 401."""
        daemon = self.daemon(provider(self.slapd, "corp"))
        for username in ("locked", "expired", "reset"):
            self.assertEqual(login(daemon, username, f"{username}pw").status, 401, username)
        for reason in ("account is locked", "password has expired", "password must be changed"):
            self.assertIn(reason, daemon.log())

    def test_one_subject_T25(self) -> None:
        """All spellings of a user name result in the same subject."""
        daemon = self.daemon(provider(self.slapd, "corp"))
        for username in ("alice", "ALICE", "Alice", "alice ", " alice"):
            identity = self.accepted(login(daemon, username, "alicepw"))
            self.assertEqual(identity["username"], "alice", repr(username))

    def test_two_entries_T67(self) -> None:
        """A user name that two entries have is rejected."""
        section = provider(self.slapd, "corp", user_attribute="cn")
        daemon = self.daemon(section)
        self.assertEqual(login(daemon, "dave", "dave1pw").status, 401)
        self.assertIn("several entries", daemon.log())

    def test_patterns_T66(self) -> None:
        """A user name that is a wildcard, or ends a filter, matches no user."""
        daemon = self.daemon(provider(self.slapd, "corp"))
        for username in (*PATTERNS, "\U0001f600", "x\0", "x\x0b"):
            self.assertEqual(login(daemon, username, "alicepw").status, 401, repr(username))

    def test_strange_name_T66(self) -> None:
        """A user whose name contains special characters logs in under exactly that name."""
        daemon = self.daemon(provider(self.slapd, "corp"))
        identity = self.accepted(login(daemon, "mallory*)(", "mallorypw"))
        self.assertEqual(identity["username"], "mallory*)(")

    def test_by_dn(self) -> None:
        """With C{user_dn} the user name is inserted in the DN as one value."""
        section = provider(self.slapd, "corp", user_dn=f"uid={{username}},{PEOPLE}")
        daemon = self.daemon(section)
        identity = self.accepted(login(daemon, "ALICE", "alicepw"))
        self.assertEqual(identity["username"], "alice")
        self.assertIn("admins", identity["roles"])
        forged = f"alice,{PEOPLE}"
        self.assertEqual(login(daemon, forged, "alicepw").status, 401)

    def test_no_secrets(self) -> None:
        """Neither the user's nor the service account's password is in the log."""
        daemon = self.daemon(provider(self.slapd, "corp"))
        login(daemon, "alice", "alicepw")
        login(daemon, "alice", "wrong-guess")
        for secret in ("alicepw", "wrong-guess", "svc"):
            self.assertNotIn(secret, daemon.log())


class LockOutTests(LdapCase):
    """A client that repeats an old password does not lock its user's account."""

    def binds(self, slapd: Slapd) -> int:
        lines = slapd.log().splitlines()
        return sum('BIND dn="uid=bob,' in line and "method=" in line for line in lines)

    def test_same_wrong_password_S_LOCK(self) -> None:
        """Two workers send the same wrong password of a user once, however it is spelled."""
        slapd = directory.another(Path(self.mktemp()))
        self.addCleanup(slapd.stop)
        daemon = self.daemon(
            provider(slapd, "corp"), auth={"cache": {"refusals": 0}}, server={"workers": 2}
        )
        seen = set()
        for turn in range(40):
            realm = ("corp", "CORP", "Corp")[turn % 3]
            username = ("bob", "BOB", "bob ")[turn % 3]
            seen.add(login(daemon, username, "guess", realm).status)
        self.assertEqual(seen, {401})
        self.assertIn(self.binds(slapd), (1, 2))  # two at most, if both are asked at once
        self.accepted(login(daemon, "bob", "bobpw"))

    def test_reload_S_LOCK(self) -> None:
        """After a reload the password is sent again."""
        slapd = directory.another(Path(self.mktemp()))
        self.addCleanup(slapd.stop)
        daemon = self.daemon(provider(slapd, "corp"), auth={"cache": {"refusals": 0}})
        for _ in range(3):
            self.assertEqual(login(daemon, "bob", "guess").status, 401)
        before = self.binds(slapd)
        daemon.tell(signal.SIGHUP)
        until(lambda: "configuration reloaded" in daemon.log(), "reloaded", otherwise=daemon.log)
        self.assertEqual(login(daemon, "bob", "guess").status, 401)
        self.assertEqual((before, self.binds(slapd)), (1, 2))


class TlsTests(LdapCase):
    """Which certificates of LDAP servers are trusted."""

    def shown(self, certificate: str) -> Slapd:
        slapd = directory.another(Path(self.mktemp()), certificate)
        self.addCleanup(slapd.stop)
        return slapd

    def both_ways(self, slapd: Slapd) -> Daemon:
        return self.daemon(
            provider(slapd, "starttls", tls="starttls", ca_file=slapd.authority),
            provider(slapd, "ldaps", uri=slapd.tls_uri, ca_file=slapd.authority),
            provider(slapd, "required", tls="required", ca_file=slapd.authority),
        )

    def test_good(self) -> None:
        """A certificate of a trusted CA for the host name is accepted."""
        daemon = self.both_ways(self.slapd)
        for realm in ("starttls", "ldaps", "required"):
            self.accepted(login(daemon, "alice", "alicepw", realm))

    def refused(self, slapd: Slapd, daemon: Daemon, reason: str) -> None:
        for realm in ("starttls", "ldaps", "required"):
            self.assertEqual(login(daemon, "alice", "alicepw", realm).status, 503, realm)
        self.assertIn(reason, daemon.log())
        self.assertNotIn("cn=authotron", slapd.log())

    def test_expired(self) -> None:
        """With an expired certificate nothing is sent to the server, and the log has the reason."""
        slapd = self.shown("expired")
        self.refused(slapd, self.both_ways(slapd), "certificate expired")

    def test_elsewhere_T67(self) -> None:
        """With a certificate of another host nothing is sent to the server."""
        slapd = self.shown("elsewhere")
        self.refused(slapd, self.both_ways(slapd), "certificate of another name")

    def test_client_certificate(self) -> None:
        """A server that requires a client certificate gets it, and refuses clients without one."""
        slapd = directory.another(Path(self.mktemp()), clients="demand")
        self.addCleanup(slapd.stop)
        known, starttls = slapd.for_clients, {"tls": "starttls", "ca_file": slapd.authority}
        ldaps = {"uri": slapd.tls_uri, "ca_file": slapd.authority}
        daemon = self.daemon(
            provider(slapd, "ldaps", **ldaps, **known),
            provider(slapd, "starttls", **starttls, **known),
            provider(slapd, "ldaps-unknown", **ldaps),
            provider(slapd, "starttls-unknown", **starttls),
        )
        for realm in ("ldaps", "starttls"):
            self.accepted(login(daemon, "alice", "alicepw", realm))
            self.assertEqual(login(daemon, "bob", "bobpw", f"{realm}-unknown").status, 503, realm)

    def test_anonymous_T67(self) -> None:
        """Without a bind, an untrusted certificate still leads to the next server."""
        slapd = self.shown("elsewhere")
        uris = [slapd.tls_uri, self.slapd.tls_uri]
        anonymous = {
            "bind_dn": None,
            "ldap_password": None,
            "user_dn": f"uid={{username}},{PEOPLE}",
        }
        certificates = Path(self.mktemp())
        both = [Path(each.authority).read_text() for each in (slapd, self.slapd)]
        certificates.write_text("".join(both))
        ca_file = str(certificates.absolute())
        daemon = self.daemon(provider(slapd, "corp", uri=uris, ca_file=ca_file, **anonymous))
        self.accepted(login(daemon, "alice", "alicepw"))
        self.assertIn("certificate of another name", daemon.log())

    def test_unknown_authority(self) -> None:
        """With a certificate of an unknown CA nothing is sent to the server."""
        slapd = self.shown("server")
        daemon = self.daemon(
            provider(slapd, "starttls", tls="starttls"),
            provider(slapd, "ldaps", uri=slapd.tls_uri),
            provider(slapd, "required", tls="required"),
        )
        self.refused(slapd, daemon, "certificate of an unknown issuer")


class RecipeTests(LdapCase):
    """The recipe for OpenLDAP, as docs/directories.md shows it."""

    def test_recipe_L_NEST(self) -> None:
        """Direct and nested groups become roles without C{memberOf}; circles end."""
        shown = recipe(test_directory_recipes.PAGE, "OpenLDAP")
        kept = {key: shown[key] for key in ("user_base", "filter", "nested", "attributes")}
        # An attribute that no entry has, as in a directory without the overlay memberof.
        daemon = self.daemon(provider(self.slapd, "corp", **kept, group_attribute="seeAlso"))
        alice = self.accepted(login(daemon, "alice", "alicepw"))
        self.assertEqual(set(alice["roles"]), {"admins", "users", "everybody", "Reader", "Writer"})
        self.assertEqual(len(alice["attributes"]["id"]), len(str(uuid4())))
        bob = self.accepted(login(daemon, "bob", "bobpw"))
        self.assertLess({"chicken", "egg", "users", "everybody"}, set(bob["roles"]))

    def test_attributes_of_the_entry_L_PRIMARY(self) -> None:
        """A search for groups is filled with attributes of the user's entry."""
        text = f"(&(member=uid={{uid}},{PEOPLE})(!(cn={{sn}})))"
        daemon = self.daemon(provider(self.slapd, "corp", filter=text))
        alice = self.accepted(login(daemon, "alice", "alicepw"))
        self.assertEqual(set(alice["roles"]), {"admins", "users", "Reader", "Writer"})


class AugmenterTests(LdapCase):
    """Users of another provider get roles from the directory."""

    def roles(self, username: str, **over: Any) -> list[str]:
        users = [{"username": username, "password": "p"}]
        plain = {"type": "plain", "name": "list", "realm": "corp", "users": users}
        augmenter = provider(self.slapd, "corp", **over)
        daemon = self.daemon(plain, augmenters=[augmenter])
        roles: list[str] = self.accepted(login(daemon, username, "p"))["roles"]
        return roles

    def test_anonymous_bind_L_MOVE(self) -> None:
        """An empty C{bind_dn} binds as anonymous, as in auth-o-tron; slapd then shows no entry."""
        before = len(self.slapd.log())
        self.assertEqual(self.roles("alice", bind_dn="", ldap_password=""), [])
        said = self.slapd.log()[before:]
        self.assertIn('BIND dn="" method=128', said)
        self.assertRegex(said, r"RESULT tag=97 err=0.*\n(.*\n)*.*SRCH base=")

    def test_paths(self) -> None:
        """C{filters} yield paths of units, although slapd writes ou where the file has OU."""
        roles = self.roles("alice", filters=["OU=Projects"])
        self.assertEqual(set(roles), {"/Projects/TeamA/Reader", "/Projects/TeamA/TeamB/Writer"})

    def test_piece(self) -> None:
        """C{filter} matches a part of the DN, and ignores the case of attribute names."""
        self.assertEqual(set(self.roles("alice", filter="OU=TeamA")), {"Reader", "Writer"})

    def test_forged_path_T66(self) -> None:
        """A slash or a comma in the name of a group does not yield the role of another group."""
        self.assertEqual(self.roles("bob", filters=["OU=TeamA"]), ["/TeamA/Reader"])
        self.assertEqual(self.roles("bob", filter="OU=TeamB"), [])
        self.assertEqual(
            set(self.roles("bob")),
            {"users", "chicken", "Smith, Jones + Co", "Reader", "Writer,OU=TeamB,OU=TeamA"},
        )

    def test_nested(self) -> None:
        """Nested groups count, and two groups that contain each other cause no endless loop."""
        self.assertEqual(
            set(self.roles("bob", nested=True, filter="ou=groups,")),
            {
                "users",
                "everybody",
                "chicken",
                "egg",
                "Smith, Jones + Co",
                "Writer,OU=TeamB,OU=TeamA",
            },
        )

    def test_search(self) -> None:
        """A search finds groups by a user name in a DN in a filter."""
        found = self.roles("alice", filter=f"(member=uid={{username}},{PEOPLE})")
        self.assertEqual(set(found), {"admins", "users", "Reader", "Writer"})

    def test_search_paths(self) -> None:
        """Searches in C{filters} yield paths below the search base."""
        base = f"ou=Projects,{BASE}"
        found = self.roles("alice", search_base=base, filters=["(member={dn})"], user_base=BASE)
        self.assertEqual(set(found), {"/TeamA/Reader", "/TeamA/TeamB/Writer"})

    def test_patterns_T66(self) -> None:
        """A user name that is a wildcard gets no roles, by memberOf and by searches."""
        users = [{"username": username, "password": "p"} for username in PATTERNS]
        plain = {"type": "plain", "name": "list", "realm": "corp", "users": users}
        by_entry = provider(self.slapd, "corp", name="by entry")
        template = f"(member=uid={{username}},{PEOPLE})"
        by_search = provider(self.slapd, "corp", name="by search", filter=template)
        daemon = self.daemon(plain, augmenters=[by_entry, by_search])
        for username in PATTERNS:
            identity = self.accepted(login(daemon, username, "p"))
            self.assertEqual(identity["roles"], [], username)

    def test_other_spellings_T82e(self) -> None:
        """Users whose names the directory equates with alice get none of her roles."""
        spellings = ("alice", "ALICE", "Alice", "alice ", " alice", "ali\u00adce", "\uff41lice")
        users = [{"username": each, "password": "p"} for each in (*spellings, "alice  example")]
        plain = {"type": "plain", "name": "list", "realm": "corp", "users": users}
        ways: list[dict[str, Any]] = [
            {},
            {"user_filter": "(uid={username})"},
            {"filter": f"(member=uid={{username}},{PEOPLE})"},
            {"filters": [f"(member=uid={{username}},{PEOPLE})", "OU=TeamA"], "nested": True},
            {"filter": "(member={dn})"},
            {"filter": f"(member=userid={{username}},organizationalUnitName=people,{BASE})"},
            {"filter": f"(member:distinguishedNameMatch:=uid={{username}},{PEOPLE})"},
        ]
        for over in ways:
            over["attributes"] = {"mail": "email"}
            daemon = self.daemon(plain, augmenters=[provider(self.slapd, "corp", **over)])
            for username in (*spellings[1:], "alice  example"):
                answer = login(daemon, username, "p")
                if answer.status == 200:
                    identity = answer.json()
                    if identity["username"] != "alice":  # a gate may have trimmed the name
                        told = (identity["roles"], identity["attributes"])
                        self.assertEqual(told, ([], {}), (username, over))
            identity = self.accepted(login(daemon, "alice", "p"))
            self.assertIn("Reader", str(identity["roles"]))
            self.assertEqual(identity["attributes"], {"email": "alice@example.org"})

    def test_two_entries_T67(self) -> None:
        """A user name that two entries have gets the roles of neither."""
        self.assertEqual(self.roles("dave"), [])

    def test_very_many(self) -> None:
        """An entry with 5,000 groups yields 5,000 roles."""
        self.assertEqual(len(set(self.roles("zelda"))), MANY)

    def test_very_many_by_search(self) -> None:
        """A search that finds 5,000 groups is read page by page."""
        found = self.roles("zelda", filter=f"(member=uid={{username}},{PEOPLE})")
        self.assertEqual(len(set(found)), MANY)


class ReloadTests(LdapCase):
    """A reload of the configuration closes the old connections."""

    def test_closed(self) -> None:
        """The connections of the old configuration are closed when its grace period ends."""
        slapd = directory.another(Path(self.mktemp()))
        self.addCleanup(slapd.stop)
        daemon = self.daemon(provider(slapd, "corp", idle_timeout="1h"), server={"grace": "100ms"})
        self.accepted(login(daemon, "alice", "alicepw"))
        until(lambda: slapd.open_connections() == 1, "only the kept one", otherwise=daemon.log)
        daemon.tell(signal.SIGHUP)
        until(lambda: slapd.open_connections() == 0, "closed", otherwise=daemon.log)
        self.accepted(login(daemon, "bob", "bobpw"))


class OutageTests(LdapCase):
    """A directory that fails."""

    def test_stopped_and_started(self) -> None:
        """While the directory is down, its users get 503 and others 200; later it is used again."""
        slapd = directory.another(Path(self.mktemp()))
        self.addCleanup(slapd.stop)
        users = [{"username": "local", "password": "p"}]
        plain = {"type": "plain", "name": "list", "realm": "corp", "users": users}
        daemon = self.daemon(provider(slapd, "corp"), plain, auth={"cache": {"ttl": 0}})
        self.accepted(login(daemon, "alice", "alicepw"))
        slapd.stop()
        self.assertEqual(login(daemon, "bob", "bobpw", "corp").status, 503)  # it might know bob
        self.accepted(login(daemon, "local", "p"))
        slapd.start()
        until(lambda: login(daemon, "bob", "bobpw").status == 200, "found again")

    def test_under_traffic(self) -> None:
        """During an outage no user is rejected, and users of other providers are not affected."""
        slapd = directory.another(Path(self.mktemp()))
        self.addCleanup(slapd.stop)
        users = [{"username": "local", "password": "p"}]
        plain = {"type": "plain", "name": "list", "realm": "here", "users": users}
        daemon = self.daemon(provider(slapd, "corp"), plain, auth={"cache": {"ttl": 0}})
        over = threading.Event()

        def all_the_time(*who: str) -> set[int]:
            seen = set()
            while not over.is_set():
                seen.add(login(daemon, *who).status)
            return seen

        with ThreadPoolExecutor(6) as pool:
            locals_ = [pool.submit(all_the_time, "local", "p", "here") for _ in range(2)]
            others = [pool.submit(all_the_time, "alice", "alicepw", "corp") for _ in range(4)]
            try:
                for _ in range(2):
                    slapd.stop()
                    until(lambda: login(daemon, "bob", "bobpw").status == 503, "missed")
                    slapd.start()
                    until(lambda: login(daemon, "bob", "bobpw").status == 200, "found again")
            finally:
                over.set()
        self.assertEqual(set().union(*(each.result() for each in locals_)), {200})
        self.assertEqual(set().union(*(each.result() for each in others)), {200, 503})

    def test_alone(self) -> None:
        """If only the directory could know a user, its outage is 503 and not 401."""
        slapd = directory.another(Path(self.mktemp()))
        self.addCleanup(slapd.stop)
        daemon = self.daemon(provider(slapd, "corp"))
        slapd.stop()
        self.assertEqual(login(daemon, "alice", "alicepw").status, 503)

    def test_silent_T69(self) -> None:
        """A server that never answers is 503 alone, and is replaced by the next one of the list."""
        silence = Silence()
        self.addCleanup(silence.stop)
        uri = f"ldap://127.0.0.1:{silence.port}"
        daemon = self.daemon(
            provider(self.slapd, "alone", uri=uri, connect_timeout="1s"),
            provider(self.slapd, "two", uri=[uri, self.slapd.uri], connect_timeout="1s"),
        )
        self.assertEqual(login(daemon, "alice", "alicepw", "alone").status, 503)
        self.accepted(login(daemon, "alice", "alicepw", "two"))

    def test_cut_off(self) -> None:
        """A server that disconnects within an answer is 503, never a part of the roles."""
        scissors = Scissors(self.slapd.port, 14 + 3_000).start()
        self.addCleanup(scissors.stop)
        daemon = self.daemon(provider(self.slapd, "corp", uri=f"ldap://127.0.0.1:{scissors.port}"))
        self.assertEqual(login(daemon, "zelda", "zeldapw").status, 503)
        self.assertGreaterEqual(scissors.cuts, 1)

"""The ldap augmenter."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from authotron.augmenters import ldap
from authotron.config.section import read
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.identity import Addition, Identity
from authotron.plugin.interfaces import IAugmenter
from authotron.testing.contracts import AugmenterContract
from authotron.testing.worlds import NOW, as_deferred, clock_at
from tests import directories
from tests.directories import BASE, GATE, Asked, Server, person

ADMINS, USERS = f"cn=Admins,ou=Groups,{BASE}", f"cn=Users,ou=Groups,{BASE}"


def config(**over: Any) -> ldap.Config:
    return read(ldap.Config, {**directories.SECTION, **over})


class LdapCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Clock = clock_at(NOW)
        self.server = Server({**person("alice", ADMINS, USERS, mail=["a@b.org"]), **person("bob")})

    def made(self, **over: Any) -> IAugmenter:
        return ldap.make(config(**over), directories.world(self.clock, localhost=self.server))

    def ask(self, augmenter: IAugmenter, username: str = "alice") -> Deferred[Addition]:
        return as_deferred(augmenter.augment, Identity("here", username))

    def roles(self, username: str = "alice", **over: Any) -> tuple[str, ...]:
        return self.successResultOf(self.ask(self.made(**over), username)).roles


class LdapContractTests(AugmenterContract, LdapCase):
    """The ldap augmenter is an augmenter."""

    def augmenter(self) -> IAugmenter:
        return self.made()


class LookUpTests(LdapCase):
    """Searches of the ldap augmenter, and the roles that they give."""

    def test_question(self) -> None:
        """The augmenter searches persons by name below the base, and reads only groups."""
        self.assertEqual(self.roles(), ("Admins", "Users"))
        wanted = Asked(BASE, "(&(objectClass=person)(cn=alice))", ("memberOf",))
        self.assertEqual(self.server.asked, [wanted])

    def test_name_T66(self) -> None:
        """A user name that looks like a pattern is escaped."""
        for username in ("*", "a*", "alice)(cn=*", "\\2a", "\0"):
            self.assertEqual(self.roles(username), ())
            self.assertIn(f"(cn={username})", self.server.asked[-1].filter)

    def test_several_T67(self) -> None:
        """If two entries match a name, the user gets no roles."""
        self.server.entries["uid=other,dc=example,dc=org"] = {
            "objectClass": ["person"], "cn": ["alice"], "memberOf": [ADMINS],
        }  # fmt: skip
        augmenter = self.made()
        self.assertEqual(self.successResultOf(self.ask(augmenter)).roles, ())
        self.assertEqual(self.successResultOf(self.ask(augmenter, "bob")).roles, ())
        self.assertEqual(len(self.server.transports), 1)

    def test_attributes(self) -> None:
        """Attributes of the entry become attributes of the identity."""
        augmenter = self.made(attributes={"mail": "email", "telephone": "phone"})
        addition = self.successResultOf(self.ask(augmenter))
        self.assertEqual(addition.attributes, {"email": "a@b.org"})

    def test_time_for_all(self) -> None:
        """A short time limit leaves enough time to ask the second server."""
        silent = Server(silent=True)
        section = config(uri=["ldap://silent", "ldap://localhost"])
        hosts = directories.world(self.clock, silent=silent, localhost=self.server)
        as_deferred = self.ask(ldap.make(section, evolve(hosts, timeout=0.5)))
        self.clock.advance(0.3)
        self.assertEqual(self.successResultOf(as_deferred).roles, ("Admins", "Users"))

    def test_prefix(self) -> None:
        """Roles of groups with a prefix or a path."""
        self.assertEqual(self.roles(role_prefix="ldap:"), ("ldap:Admins", "ldap:Users"))

    def test_prefix_of_a_path_T66(self) -> None:
        """Behind a prefix that makes a path the name of a group is one step, or nothing."""
        self.server.entries.update(person("carol", f"cn=TeamA/Admin,{BASE}", f"cn=Guest,{BASE}"))
        self.assertEqual(self.roles("carol", role_prefix="/Projects/"), ("/Projects/Guest",))
        self.assertEqual(self.roles("carol", role_prefix="x:"), ("x:TeamA/Admin", "x:Guest"))
        paths = self.roles(role_prefix="/corp", filters=["OU=Groups"])
        self.assertEqual(paths, ("/corp/Groups/Admins", "/corp/Groups/Users"))

    def test_nested(self) -> None:
        """Nested groups count once each, even if they contain each other."""
        staff = f"cn=Staff,ou=Groups,{BASE}"
        group = {"objectClass": ["group"]}
        self.server.entries[ADMINS] = {**group, "memberOf": [staff]}
        self.server.entries[staff] = {**group, "memberOf": [ADMINS, USERS.upper()]}
        self.assertEqual(self.roles(nested=True), ("Admins", "Users", "Staff"))
        self.assertEqual(self.roles(), ("Admins", "Users"))

    def test_searches(self) -> None:
        """Searches for groups give their names, or their paths below the base."""
        member = f"uid=alice,ou=people,{BASE}"
        self.server.entries[f"cn=Readers,ou=Team,{BASE}"] = {"member": [member]}
        by_name = f"(member=uid={{username}},ou=people,{BASE})"
        self.assertEqual(self.roles(filter=by_name), ("Readers",))
        self.assertEqual(self.roles(filters=["(member={dn})"]), ("/Team/Readers",))
        self.assertEqual(self.roles("stranger", filters=["(member={dn})"]), ())

    def groups(self, **members: str) -> None:
        """Add groups with one member each, to a directory without C{memberOf}."""
        for name, member in members.items():
            dn = f"cn={name},ou=Groups,{BASE}"
            self.server.entries[dn] = {"objectClass": ["groupOfNames"], "member": [member]}

    def test_nested_by_search_L_NEST(self) -> None:
        """Without C{memberOf}, nested groups are searched level by level; circles end."""
        alice, ou = f"uid=alice,ou=people,{BASE}", f"ou=Groups,{BASE}"
        self.groups(a=alice, b=f"cn=a,{ou}", c=f"cn=b,{ou}", d=f"CN=C,{ou}", other=f"cn=x,{ou}")
        self.server.entries[f"cn=a,{ou}"]["member"].append(f"cn=d,{ou}")
        for text in ("(member={dn})", f"(member=uid={{username}},ou=people,{BASE})"):
            self.assertEqual(self.roles(filter=text, nested=True), ("a", "b", "c", "d"), text)
            self.assertEqual(self.roles(filter=text), ("a",), text)
        paths = self.roles(filters=["(&(objectClass=groupOfNames)(member={dn}))"], nested=True)
        self.assertEqual(paths, tuple(f"/Groups/{name}" for name in "abcd"))

    def test_one_search_for_a_level_L_NEST(self) -> None:
        """The groups of one level are searched in one request."""
        alice, ou = f"uid=alice,ou=people,{BASE}", f"ou=Groups,{BASE}"
        self.groups(**{f"g{each}": alice for each in range(30)}, top=f"cn=g7,{ou}")
        self.assertEqual(len(self.roles(filter="(member={dn})", nested=True)), 31)
        searches = [each for each in self.server.asked if "member=" in each.filter]
        self.assertEqual(len(searches), 3)

    def test_depth_L_NEST(self) -> None:
        """Groups that are nested more than ten levels deep are left out, and the log says so."""
        ou = f"ou=Groups,{BASE}"
        chain = {f"g{n}": f"cn=g{n - 1},{ou}" for n in range(1, 30)}
        self.groups(g0=f"uid=alice,ou=people,{BASE}", **chain)
        with capturedLogs() as events:
            found = self.roles(filter="(member={dn})", nested=True)
        self.assertEqual(found, tuple(f"g{n}" for n in range(11)))
        self.assertEqual([each["event"] for each in events], ["ldap.group.depth"])

    def test_user_name_in_nested_groups_L_NEST(self) -> None:
        """Groups above are searched by the DN of a group, never by another spelling of a name."""
        ou = f"ou=Groups,{BASE}"
        self.groups(a=f"uid=ALICE,ou=people,{BASE}")
        self.server.entries[f"cn=secret,{ou}"] = {"memberUid": ["alice"]}
        text = f"(|(member=uid={{username}},ou=people,{BASE})(memberUid={{username}}))"
        self.assertEqual(self.roles("ALICE", filter=text, nested=True), ("a",))

    def test_nested_without_a_dn_L_NEST(self) -> None:
        """C{nested} with a search that compares no DN gets a warning."""
        warnings = config(filter="(memberUid={username})", nested=True).warnings()
        self.assertIn("finds no nested groups, because it compares no DN", " ".join(warnings))
        for text in ("(member={dn})", "(member=uid={username},dc=org)"):
            warnings = config(filter=text, nested=True).warnings()
            self.assertNotIn("nested", " ".join(warnings))

    def test_no_group_attribute_L_NEST(self) -> None:
        """If none of the first twenty users has the group attribute, the log says so once."""
        with capturedLogs() as events:
            augmenter = self.made(group_attribute="isMemberOf", cache=0)
            for _ in range(50):
                self.successResultOf(self.ask(augmenter))
            known = self.made(cache=0)
            self.successResultOf(self.ask(known))
            for _ in range(50):
                self.successResultOf(self.ask(known, "bob"))
        [remark] = events
        self.assertEqual((remark["event"], remark["attribute"]),
                         ("ldap.group.attribute", "isMemberOf"))  # fmt: skip

    def test_primary_group_L_PRIMARY(self) -> None:
        """A search with an attribute of the entry finds the primary group of a POSIX user."""
        entry = self.server.entries[f"uid=alice,ou=people,{BASE}"]
        entry["gidNumber"] = ["100"]
        self.server.entries[f"cn=staff,ou=Groups,{BASE}"] = {"gidNumber": ["100"]}
        text = "(|(memberUid={username})(gidNumber={gidNumber}))"
        self.assertEqual(self.roles(filter=text), ("staff",))
        self.assertEqual(self.server.asked[0].attributes, ("memberOf", "gidNumber"))

    def test_missing_attribute_L_PRIMARY(self) -> None:
        """A search with an attribute that the entry lacks is not sent, and the log says so once."""
        with capturedLogs() as events:
            augmenter = self.made(filter="(gidNumber={gidNumber})", cache_empty=0)
            for _ in range(3):
                self.assertEqual(self.successResultOf(self.ask(augmenter)).roles, ())
        self.assertNotIn("gidNumber", str([each.filter for each in self.server.asked]))
        [remark] = events
        self.assertEqual((remark["event"], remark["attributes"]),
                         ("ldap.attribute.missing", "gidNumber"))  # fmt: skip

    def test_binary_attributes_L_BIN(self) -> None:
        """An identifier in bytes is written as text; other bytes are left out and logged once."""
        entry: Any = self.server.entries[f"uid=alice,ou=people,{BASE}"]
        entry["objectGUID"], entry["photo"] = [bytes(range(16))], [b"\xff\xd8"]
        given = {"objectGUID": "id", "photo": "photo"}
        with capturedLogs() as events:
            augmenter = self.made(attributes=given, cache=0)
            found = [self.successResultOf(self.ask(augmenter)).attributes for _ in range(3)]
        self.assertEqual(found, [{"id": "03020100-0504-0706-0809-0a0b0c0d0e0f"}] * 3)
        [remark] = events
        self.assertEqual((remark["event"], remark["attribute"]),
                         ("ldap.attribute.binary", "photo"))  # fmt: skip
        stated = self.made(attributes=given, encodings={"Photo": "base64"})
        self.assertEqual(self.successResultOf(self.ask(stated)).attributes["photo"], "/9g=")

    def test_outside_T66(self) -> None:
        """A group above those that a search finds has no path if it stands outside of the base."""
        outside = "cn=Admin,ou=Team,dc=elsewhere,dc=net"
        readers = {"member": [f"uid=alice,ou=people,{BASE}"], "memberOf": [outside]}
        self.server.entries[f"cn=Readers,ou=Team,{BASE}"] = readers
        found = self.roles(filters=["(member={dn})"], nested=True)
        self.assertEqual(found, ("/Team/Readers",))

    def test_anonymous_bind_L_MOVE(self) -> None:
        """An empty C{bind_dn} sends a bind without name and password, as auth-o-tron does."""
        self.server.passwords[""] = ""
        self.assertEqual(self.roles(bind_dn="", ldap_password=""), ("Admins", "Users"))
        self.assertEqual(self.server.binds, [""])
        self.server.passwords[""] = "another"
        refused = self.ask(self.made(bind_dn="", ldap_password=""))
        why = str(self.failureResultOf(refused, Unavailable).value)
        self.assertIn("refused the bind as anonymous", why)

    def test_filters_alone_L_MOVE(self) -> None:
        """A list of C{filters} counts alone, whatever C{filter} is."""
        self.assertEqual(self.roles(filter="Users", filters=["CN=Admins"]), ("/Admins",))
        self.assertEqual(self.roles(filter="Users", filters=[]), ())
        self.assertEqual(self.roles(filter="(member={dn})", filters=["CN=Users"]), ("/Users",))

    def test_root_of_all_names_L_MOVE(self) -> None:
        """With an empty C{search_base} a path begins at the root of all names."""
        self.server.entries[f"cn=Readers,ou=Team,{BASE}"] = {
            "member": [f"uid=alice,ou=people,{BASE}"]
        }
        self.assertEqual(self.roles(search_base=""), ("Admins", "Users"))
        found = self.roles(search_base="", filters=["(member={dn})"])
        self.assertEqual(found, ("/org/example/Team/Readers",))

    def test_broken_piece(self) -> None:
        """
        A filter that is not a part of a DN fails the lookup, and is reported when
        the file is read.
        """
        given = {"filters": ["OU=TeamA", "nonsense"]}
        self.failureResultOf(self.ask(self.made(**given)), Unavailable)
        [warning] = config(**given).warnings()
        self.assertIn("filters[1]", warning)


class SpellingTests(LdapCase):
    """Spellings of a user name that a directory takes as equal."""

    SPELLINGS = ("ALICE", "Alice", " alice", "alice ", "\talice")

    def assert_nobody(self, username: str, **over: Any) -> None:
        addition = self.successResultOf(self.ask(self.made(**over), username))
        self.assertEqual((addition.roles, addition.attributes), ((), {}), repr(username))

    def test_other_spellings_T82e(self) -> None:
        """A user name that differs from the entry in case or blanks gets no roles."""
        for username in self.SPELLINGS:
            self.assert_nobody(username, attributes={"mail": "email"})
            self.assert_nobody(username, user_filter="(uid={username})")
            self.assert_nobody(username, user_filter="(|(mail={username})(uid={username}))")
        self.assertEqual(self.roles(), ("Admins", "Users"))

    def test_name_beside_the_dn_T82e(self) -> None:
        """If the DN does not hold the user name, the attribute of the search is read."""
        entry = {"objectClass": ["person"], "cn": ["Carol Jones", "carol"], "memberOf": [ADMINS]}
        self.server.entries[f"employeeNumber=7,{BASE}"] = entry
        self.assertEqual(self.roles("carol"), ("Admins",))
        for username in ("CAROL", "carol jones", "carol "):
            self.assert_nobody(username)
        self.assertEqual(self.server.asked[-1].attributes, ("cn",))

    def test_one_question_T82e(self) -> None:
        """If C{user_filter} is configured, the name comes with the groups, in one answer."""
        entry = {"objectClass": ["person"], "sAMAccountName": ["carol"], "memberOf": [ADMINS]}
        self.server.entries[f"cn=Carol Jones,{BASE}"] = {**entry, "mail": ["CAROL"]}
        given = {"user_filter": "(sAMAccountName={username})", "attributes": {"mail": "email"}}
        self.assertEqual(self.roles("carol", **given), ("Admins",))
        self.assertEqual(len(self.server.asked), 1)
        self.assert_nobody("CAROL", **given)
        self.assertEqual(len(self.server.asked), 2)

    def test_shown_name_T82e(self) -> None:
        """A DN with the name that a user is shown by proves nothing, unless that is asked for."""
        entry = {"objectClass": ["person"], "cn": ["Carol"], "memberOf": [ADMINS]}
        self.server.entries[f"CN=Carol,{BASE}"] = {**entry, "sAMAccountName": ["carol"]}
        by_account = {"user_filter": "(sAMAccountName={username})"}
        self.assertEqual(self.roles("carol", **by_account), ("Admins",))
        for username in ("Carol", "CAROL"):
            self.assert_nobody(username, **by_account)
        self.assertEqual(self.roles("Carol"), ("Admins",))
        self.assert_nobody("carol")

    def test_names_of_types_T82e(self) -> None:
        """The entry that a directory reads by a DN with other names of types is that of the DN."""
        member = f"uid=alice,ou=people,{BASE}"
        self.server.entries[f"cn=Readers,ou=Team,{BASE}"] = {"cn": ["Readers"], "member": [member]}
        self.server.aliases[f"userid=alice,organizationalUnitName=people,{BASE}"] = member
        self.server.aliases[f"userid=ALICE,organizationalUnitName=people,{BASE}"] = member
        by_name = (
            f"(|(cn=Readers)(member=userid={{username}},organizationalUnitName=people,{BASE}))"
        )
        self.assertEqual(self.roles(filter=by_name), ("Readers",))
        self.assert_nobody("ALICE", filter=by_name)

    def test_without_rights_T82e(self) -> None:
        """If the account may not read users, the members of the groups are compared."""
        member = f"uid=alice,ou=people,{BASE}"
        self.server.entries[f"cn=Readers,ou=Team,{BASE}"] = {"member": [member]}
        del self.server.entries[member]
        by_name = f"(member=uid={{username}},ou=people,{BASE})"
        self.server.base_result = 50
        self.assertEqual(self.roles(filter=by_name), ("Readers",))
        self.assert_nobody("ALICE", filter=by_name)

    def test_part_of_a_value_T82e(self) -> None:
        """If the search puts the user name into a longer value, that value is compared."""
        self.assertEqual(
            self.roles("a", user_filter="(mail={username}@b.org)"), ("Admins", "Users")
        )
        self.assert_nobody("A", user_filter="(mail={username}@b.org)")

    def test_composed_T82e(self) -> None:
        """Two ways to compose one letter in Unicode are one spelling."""
        self.server.entries.update(person("zoe\u0308", ADMINS))
        self.server.entries[f"uid=zoe\u0308,ou=people,{BASE}"]["cn"] = ["zo\xeb"]
        self.assertEqual(self.roles("zo\xeb"), ("Admins",))

    def test_groups_by_dn_T82e(self) -> None:
        """A search for groups by the DN of a user finds none for another spelling of the name."""
        member = f"uid=alice,ou=people,{BASE}"
        self.server.entries[f"cn=Readers,ou=Team,{BASE}"] = {"member": [member]}
        by_name = f"(member=uid={{username}},ou=people,{BASE})"
        for username in self.SPELLINGS:
            self.assert_nobody(username, filter=by_name)
            self.assert_nobody(username, filters=[by_name], nested=True)
        self.assertEqual(self.roles(filter=by_name), ("Readers",))

    def test_groups_of_an_unknown_user_T82e(self) -> None:
        """Groups count for a user without an entry if a member is spelled like the user."""
        self.server.entries[f"cn=A,{BASE}"] = {"member": [f"uid=gone,ou=people,{BASE}"]}
        self.server.entries[f"cn=B,{BASE}"] = {"memberUid": ["gone", "Other"]}
        by_dn = f"(member=uid={{username}},ou=people,{BASE})"
        for given in ({"filter": by_dn}, {"filter": "(memberUid={username})"}):
            self.assertEqual(len(self.roles("gone", **given)), 1)
            self.assert_nobody("GONE", **given)

    def test_posix_groups_T82e(self) -> None:
        """C{memberUid} is compared letter by letter, whatever the directory overlooks."""
        self.server.entries[f"cn=Readers,{BASE}"] = {"memberUid": ["alice", "Bob"]}
        by_name = "(memberUid={username})"
        self.assertEqual(self.roles(filter=by_name), ("Readers",))
        self.assertEqual(self.roles("Bob", filter=by_name), ("Readers",))
        for username in (*self.SPELLINGS, "bob"):
            self.assert_nobody(username, filter=by_name)

    def test_memory_T82e(self) -> None:
        """What is remembered of one spelling is not given to another."""
        augmenter = self.made(stale_if_error=600)
        self.successResultOf(self.ask(augmenter))
        self.assertEqual(self.successResultOf(self.ask(augmenter, "ALICE")).roles, ())
        self.assertEqual(self.successResultOf(self.ask(augmenter)).roles, ("Admins", "Users"))

    def test_searches_that_prove_nothing_T82e(self) -> None:
        """A search that compares no attribute with the user name is a mistake."""
        for text in ("(!(cn={username}))", "(cn>={username})", "(:caseExactMatch:={username})"):
            problem = str(self.assertRaises(ConfigError, config, user_filter=text))
            self.assertIn("user_filter: the filter compares no attribute with {username}", problem)


class RememberTests(LdapCase):
    """How long roles are remembered."""

    def test_two_minutes(self) -> None:
        """The directory is asked again after two minutes, when the addition is stale."""
        augmenter = self.made()
        self.assertEqual(self.successResultOf(self.ask(augmenter)).fresh_until, NOW + 120)
        self.clock.advance(119)
        self.assertEqual(self.successResultOf(self.ask(augmenter)).fresh_until, NOW + 120)
        self.assertEqual(len(self.server.asked), 1)
        self.clock.advance(1)
        self.successResultOf(self.ask(augmenter))
        self.assertEqual(len(self.server.asked), 2)

    def test_nothing(self) -> None:
        """That a user has no roles is remembered for a shorter time."""
        augmenter = self.made()
        self.assertEqual(self.successResultOf(self.ask(augmenter, "bob")).fresh_until, NOW + 30)

    def test_one_flight(self) -> None:
        """Concurrent requests share one search; cancelling one does not affect the others."""
        self.server.silent = True
        augmenter = self.made()
        as_deferred = [self.ask(augmenter) for _ in range(5)]
        self.assertEqual(len(self.server.transports), 1)
        as_deferred[0].cancel()
        self.failureResultOf(as_deferred[0], CancelledError)
        self.assertEqual(len(self.server.open), 1)
        for each in as_deferred[1:]:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.server.open, [])

    def test_outage(self) -> None:
        """An outage is not remembered."""
        augmenter = self.made()
        self.server.down = True
        self.failureResultOf(self.ask(augmenter), Unavailable)
        self.server.down = False
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(self.ask(augmenter)).roles, ("Admins", "Users"))

    def test_stale_in_a_hang_T69(self) -> None:
        """The stale answer is returned before the time limit of the waiting requests."""
        users = [f"user-{number}" for number in range(20)]
        for user in users:
            self.server.entries.update(person(user, ADMINS))
        augmenter = self.made(stale_if_error=600)
        for user in users:
            self.successResultOf(self.ask(augmenter, user))
        self.clock.advance(130)
        self.server.silent = True
        as_deferred = [self.ask(augmenter, user) for user in users]
        for _ in range(49):
            self.clock.advance(0.1)  # 4.9 s of the 5 s that there are
        for each in as_deferred:
            self.assertEqual(self.successResultOf(each).roles, ("Admins",))

    def test_stale(self) -> None:
        """With `stale_if_error` a stale answer is used in an outage, for that time."""
        augmenter, strict = self.made(stale_if_error=600), self.made()
        self.successResultOf(self.ask(augmenter))
        self.successResultOf(self.ask(strict))
        self.clock.advance(130)
        self.server.down = True
        self.server.hang_up()
        stale = self.successResultOf(self.ask(augmenter))
        self.assertEqual((stale.roles, stale.fresh_until), (("Admins", "Users"), NOW + 135))
        self.failureResultOf(self.ask(strict), Unavailable)
        self.clock.advance(600)
        self.failureResultOf(self.ask(augmenter), Unavailable)


class ConfigTests(SynchronousTestCase):
    """The section of the ldap augmenter."""

    def problem(self, **over: Any) -> str:
        return str(self.assertRaises(ConfigError, config, **over))

    def test_hosts_H_IDNA(self) -> None:
        """A host is looked up in ASCII, or is a mistake if it cannot be looked up."""
        made = config(uri="ldaps://verzeichnis.Müller.example:1636")
        self.assertEqual(made.uri, ("ldaps://verzeichnis.xn--mller-kva.example:1636",))
        for host in ("a..b", "a" * 64, "\u2665.example", "[::1%25lo]", "a%62"):
            with self.subTest(host):
                self.assertIn("is not the address", self.problem(uri=f"ldap://{host}:389"))
        for host in ("my_host", "ab--cd.example", "a.example.", "[::1]"):
            with self.subTest(host):
                self.assertEqual(config(uri=f"ldap://{host}").uri, (f"ldap://{host}",))

    def test_mistakes(self) -> None:
        """Every mistake is reported with its path."""
        for over, words in (
            ({"uri": "http://x"}, "uri[0]: 'http://x' is not the address of an LDAP server"),
            ({"uri": "ldap://user@x"}, "must have only a host and a port"),
            ({"uri": []}, "uri"),
            ({"uri": "ldaps://x", "tls": "none"}, "contradicts ldaps://"),
            ({"uri": "ldaps://x", "tls": "starttls"}, "contradicts ldaps://"),
            ({"ldap_password": ""}, "is empty"),
            ({"ldap_password": None}, "bind_dn needs ldap_password"),
            ({"user_filter": "(cn=alice)"}, "the filter does not contain {username}"),
            ({"user_filter": "cn={username}"}, "missing opening parenthesis"),
            ({"user_filter": "(|(cn={username})(uid={uid}))"}, "only {username} is known before"),
            ({"user_filter": "(|(cn={username})(uid={0}))"}, "unknown placeholder {0}"),
            ({"filter": "(member={user_dn})"}, "filter: is not a filter (RFC 4515): unknown"),
            ({"encodings": {"photo": "jpeg"}}, "must be one of 'text', 'guid'"),
            (
                {"filters": ["(cn={username}))"]},
                "filters[0]: is not a filter (RFC 4515): unexpected text",
            ),
            (
                {"filter": "(cn:a:b:={username})"},
                "filter: is not a filter (RFC 4515): missing attribute",
            ),
            ({"user_filter": "(cn={username}"}, "missing closing parenthesis at its end"),
            ({"group_attribute": "member of"}, "group_attribute"),
            ({"search_base": "example.org"}, "is not a DN"),
            ({"base_dn": BASE}, "did you mean 'search_base'?"),
            ({"ca_file": "/nowhere/ca.pem"}, "cannot read /nowhere/ca.pem"),
            ({"client_key": "a key"}, "or neither"),
        ):
            with self.subTest(over=over):
                self.assertIn(words, self.problem(**over))

    def test_search_is_announced(self) -> None:
        """A search grants roles that the file did not grant before, and a warning says so."""
        [warning] = config(filter="(member={username})").warnings()
        self.assertIn("(member={username}) is an LDAP search", warning)

    def test_search_widens_S_LDAPFILTER(self) -> None:
        """Each search gets a warning which says that the search grants roles."""
        given = ["(member={dn})", "OU=TeamA", "(memberUid={username})"]
        warnings = [
            *config(filter="(member={username})").warnings(),
            *config(filters=given).warnings(),
        ]
        places = [each.partition(":")[0] for each in warnings]
        self.assertEqual(places, ["filter", "filters[0]", "filters[2]"])
        for each in warnings:
            self.assertIn("each group that it finds becomes a role", each)

    def test_search_of_a_new_section(self) -> None:
        """
        A section with keys about users and groups that auth-o-tron lacks was not moved, so its
        searches get no warning; other new keys may have been added to a section that was moved.
        """
        search = "(member={dn})"
        for over in (
            {"user_filter": "(uid={username})"},
            {"nested": True},
            {"attributes": {"mail": "email"}},
            {"user_base": BASE},
        ):
            self.assertEqual(config(filter=search, **over).warnings(), (), over)
            self.assertEqual(config(filters=[search], **over).warnings(), (), over)
        for key, value in (("required", True), ("cache", 60), ("tls", "none")):
            self.assertEqual(len(config(**{"filter": search, key: value}).warnings()), 1, key)

    def test_odd_values_L_MOVE(self) -> None:
        """A value that auth-o-tron accepts is accepted, and a warning says what is odd about it."""
        for over, words in (
            ({"filter": ""}, "filter is empty, so every group"),
            ({"filter": "OU=A", "filters": ["OU=B"]}, "filter has no effect if filters is set"),
            ({"filters": [""]}, "filters[0]: '' is not a part of a DN"),
            ({"filters": ["OU=A,"]}, "filters[0]: 'OU=A,' is read as 'OU=A'"),
            ({"search_base": ""}, "search_base is empty"),
            ({"bind_dn": "", "ldap_password": "x"}, "ldap_password is sent without a name"),
            ({"uri": "ldap://localhost/dc=org"}, "only host and port count"),
        ):
            with self.subTest(over=over):
                [warning] = config(**over).warnings()
                self.assertIn(words, warning)
        self.assertEqual(config(bind_dn="", ldap_password="").warnings(), ())
        self.assertEqual(config(bind_dn="", ldap_password=None).warnings(), ())

    def test_half_a_search(self) -> None:
        """A string that only looks like a search gets a warning, too."""
        for text in ("(cn={username}", "(objectClass=group)"):
            [warning] = config(filter=text).warnings()
            self.assertIn(f"{text} is not a search", warning)

    def test_in_clear(self) -> None:
        """Passwords that are sent without TLS get a warning, except to this machine."""
        for uri, tls, clear in (
            ("ldap://directory.example.org", None, True),
            ("ldap://directory.example.org", "none", True),
            ("ldap://directory.example.org", "starttls", False),
            ("ldap://directory.example.org", "required", False),
            ("ldaps://directory.example.org", None, False),
            ("ldap://localhost", None, False),
            ("ldap://127.0.0.1:389", None, False),
            ("ldap://[::1]", None, False),
        ):
            self.assertEqual("clear" in str(config(uri=uri, tls=tls).warnings()), clear, (uri, tls))

    def test_no_secrets(self) -> None:
        """Neither the section nor the augmenter shows the password."""
        augmenter = ldap.make(config(), directories.world())
        self.assertNotIn(GATE[1], repr(config()) + repr(augmenter))

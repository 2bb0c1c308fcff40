"""The recipes of docs/directories.md, with entries of the shapes that the servers document."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, ClassVar
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.section import read
from authotron.ldap import checks
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.plugin.interfaces import CheckResult
from authotron.providers import ldap
from authotron.testing.worlds import NOW, as_deferred, clock_at
from tests import directories
from tests.config.cases import ROOT
from tests.directories import BASE, Server
from tests.recipes import recipe

PAGE = (ROOT / "docs" / "directories.md").read_text(encoding="utf-8")
GUID = UUID("8f4cd21e-8a4c-4d27-9a25-dbc3ce6d0a7e")
DOMAIN = bytes.fromhex("010500000000000515000000") + bytes(range(12))

Entries = dict[str, dict[str, list[Any]]]


def sid(number: int) -> bytes:
    """Return the SID of an account or group of the domain."""
    return DOMAIN + number.to_bytes(4, "little")


class RecipeTestCase(SynchronousTestCase):
    """
    A provider as on the page, and a directory with the entries that the server would have.

    @cvar heading: the heading of the recipe.
    @cvar names: the names that alice may bind as.
    """

    heading: ClassVar[str] = ""
    names: ClassVar[tuple[str, ...]] = ()

    def setUp(self) -> None:
        given = {**recipe(PAGE, self.heading), "uri": "ldap://localhost"}
        given.pop("ca_file", None)
        passwords = dict.fromkeys(self.names, "alice-secret")
        if given.pop("ldap_password_file", None):
            given["ldap_password"] = "svc"
            passwords[given["bind_dn"]] = "svc"
        self.server = Server({BASE: {"objectClass": ["top"]}, **self.entries()}, passwords)
        self.section = read(ldap.Config, given)
        self.world = directories.world(clock_at(NOW), localhost=self.server)
        self.provider = ldap.make(self.section, self.world)

    def check_warnings(self) -> None:
        """Check that C{authotron check --strict} accepts the recipe, apart from its test URI."""
        self.assertEqual(self.section.warnings(), ())

    def entries(self) -> Entries:
        """Return the entries of the directory."""
        return {}

    def login(self, username: str, password: str = "alice-secret") -> Deferred[Authentication]:
        text = b64encode(f"{username}:{password}".encode()).decode()
        return as_deferred(self.provider.authenticate, Credential("basic", text))

    def doctor(self, username: str) -> list[CheckResult]:
        async def collect() -> list[CheckResult]:
            return [each async for each in checks.run_checks(self.section, self.world, username)]

        found: list[CheckResult] = self.successResultOf(Deferred.fromCoroutine(collect()))
        return found

    def check(self, roles: set[str], attributes: dict[str, str], *spellings: str) -> None:
        """Check the identity of alice, in all spellings of the name; others are rejected."""
        self.check_warnings()
        for written in ("alice", *spellings):
            identity = self.successResultOf(self.login(written)).identity
            self.assertEqual((identity.username, set(identity.roles)), ("alice", roles), written)
            self.assertEqual(identity.attributes, attributes)
        self.failureResultOf(self.login("alice", "guess"), Rejected)
        for stranger in ("nobody", "*", "alice)(uid=*", "other"):
            self.failureResultOf(self.login(stranger), Rejected)
        if self.section.searches_alone():
            listed = {each.detail.partition(" from ")[0] for each in self.doctor("alice")[3:]}
            self.assertEqual(listed, roles)
            self.assertFalse(self.doctor("nobody")[-1].good)


PERSON = ["top", "person", "organizationalPerson", "inetOrgPerson"]


class OpenLdapTests(RecipeTestCase):
    """OpenLDAP without the overlay C{memberof}."""

    heading = "OpenLDAP"
    names = (f"uid=alice,ou=people,{BASE}",)

    def entries(self) -> Entries:
        [alice] = self.names
        staff, all_ = f"cn=staff,ou=groups,{BASE}", f"cn=all,ou=groups,{BASE}"
        group = {"objectClass": ["groupOfNames"]}
        return {
            alice: {
                "objectClass": PERSON, "uid": ["alice"], "cn": ["Alice Example"],
                "mail": ["alice@example.org"], "entryUUID": [str(GUID)],
            },
            staff: {**group, "member": [alice]},
            all_: {**group, "member": [staff]},
            f"cn=admins,ou=groups,{BASE}": {**group, "member": [f"uid=bob,ou=people,{BASE}"]},
        }  # fmt: skip

    def test_recipe(self) -> None:
        """Direct and nested groups become roles, without C{memberOf}."""
        self.check({"staff", "all"}, {"email": "alice@example.org", "id": str(GUID)}, "ALICE")


class ActiveDirectoryTests(RecipeTestCase):
    """Active Directory with a service account."""

    heading = "Active Directory"
    names: ClassVar[tuple[str, ...]] = (f"CN=Alice Example,OU=Staff,{BASE}",)
    roles: ClassVar[set[str]] = {"Developers", "Everyone", "Domain Users"}

    def entries(self) -> Entries:
        alice, developers = f"CN=Alice Example,OU=Staff,{BASE}", f"CN=Developers,OU=Groups,{BASE}"
        group = {"objectClass": ["top", "group"]}
        return {
            alice: {
                "objectClass": ["top", "person", "organizationalPerson", "user"],
                "cn": ["Alice Example"], "sAMAccountName": ["alice"],
                "userPrincipalName": ["alice@example.org"], "mail": ["alice@example.org"],
                "memberOf": [developers], "primaryGroupID": ["513"], "objectSid": [sid(1105)],
                "objectGUID": [GUID.bytes_le],
            },
            f"CN=ALICE,OU=Computers,{BASE}": {
                "objectClass": ["top", "person", "organizationalPerson", "user", "computer"],
                "sAMAccountName": ["alice"],
            },
            developers: {
                **group, "member": [alice], "objectSid": [sid(1110)],
                "memberOf": [f"CN=Everyone,OU=Groups,{BASE}"],
            },
            f"CN=Everyone,OU=Groups,{BASE}": {
                **group, "member": [developers], "objectSid": [sid(1111)],
            },
            f"CN=Domain Users,CN=Users,{BASE}": {**group, "objectSid": [sid(513)]},
            f"CN=Domain Admins,CN=Users,{BASE}": {**group, "objectSid": [sid(512)]},
        }  # fmt: skip

    def test_recipe(self) -> None:
        """Direct, nested and primary groups become roles, and C{objectGUID} is the id."""
        spellings = ("EXAMPLE\\alice", "alice@example.org", "Alice")
        self.check(self.roles, {"email": "alice@example.org", "id": str(GUID)}, *spellings)
        self.failureResultOf(self.login("OTHER\\alice"), Rejected)


class WithoutAccountTests(ActiveDirectoryTests):
    """Active Directory without a service account."""

    heading = "Active Directory without a service account"
    names = ("alice@example.org", "Alice@example.org")
    roles: ClassVar[set[str]] = {"Developers"}

    def entries(self) -> Entries:
        return {dn: entry for dn, entry in super().entries().items() if "Computers" not in dn}

    def test_no_account(self) -> None:
        """Only the user is ever bound, and doctor says why no user is looked up."""
        self.successResultOf(self.login("alice"))
        self.assertEqual(self.server.binds, ["alice@example.org"])
        self.assertIn("without bind_dn", self.doctor("alice")[-1].detail)


class FreeIpaTests(RecipeTestCase):
    """FreeIPA."""

    heading = "FreeIPA"
    names = (f"uid=alice,cn=users,cn=accounts,{BASE}",)

    def entries(self) -> Entries:
        [alice] = self.names
        return {
            alice: {
                "objectClass": [*PERSON, "inetuser", "posixaccount", "ipaobject"],
                "uid": ["alice"], "cn": ["Alice Example"], "mail": ["alice@example.org"],
                "ipaUniqueID": [str(GUID)],
                "memberOf": [
                    f"cn=ipausers,cn=groups,cn=accounts,{BASE}",
                    f"cn=editors,cn=groups,cn=accounts,{BASE}",
                    f"cn=helpdesk,cn=roles,cn=accounts,{BASE}",
                    f"cn=Modify Users and Reset passwords,cn=privileges,cn=pbac,{BASE}",
                    f"ipaUniqueID=1b4c,cn=hbac,{BASE}",
                ],
            },
            f"uid=alice,cn=users,cn=compat,{BASE}": {
                "objectClass": ["posixAccount", "top", "person"], "uid": ["alice"],
            },
        }  # fmt: skip

    def test_recipe(self) -> None:
        """User groups become roles; roles, privileges and rules of FreeIPA do not."""
        self.check({"ipausers", "editors"}, {"email": "alice@example.org", "id": str(GUID)})


class LldapTests(RecipeTestCase):
    """A small server, lldap."""

    heading = "lldap"
    names = (f"uid=alice,ou=people,{BASE}",)

    def entries(self) -> Entries:
        [alice] = self.names
        family = f"cn=family,ou=groups,{BASE}"
        return {
            alice: {
                "objectClass": ["inetOrgPerson", "posixAccount", "mailAccount", "person"],
                "uid": ["alice"], "cn": ["Alice"], "mail": ["alice@example.org"],
                "memberOf": [family],
            },
            family: {
                "objectClass": ["groupOfUniqueNames", "groupOfNames"], "cn": ["family"],
                "member": [alice], "uniqueMember": [alice],
            },
        }  # fmt: skip

    def test_recipe(self) -> None:
        """The groups of C{memberOf} become roles."""
        self.check({"family"}, {"email": "alice@example.org"})


class DirectoryServerTests(OpenLdapTests):
    """389 Directory Server without the plugin for C{memberOf}."""

    heading = "389 Directory Server"

    def entries(self) -> Entries:
        entries = super().entries()
        [alice] = self.names
        entries[alice] = {
            **entries[alice],
            "objectClass": [*PERSON, "nsPerson", "nsAccount", "posixAccount"],
            "nsUniqueId": [str(GUID)],
        }
        return entries

    def test_inactivated(self) -> None:
        """An inactivated account is rejected, not an outage."""
        said = "Account inactivated. Contact system administrator."
        self.server.refusals[self.names[0]] = (53, said)
        self.assertIn("inactivated", str(self.failureResultOf(self.login("alice"), Rejected)))

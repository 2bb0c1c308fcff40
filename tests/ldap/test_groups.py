"""Which groups count, and what roles they become."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap import groups
from authotron.ldap.dn import escape_value

ADMIN = "CN=Admin,OU=TeamB,OU=TeamA,DC=example,DC=org"


def roles(dn: str, text: str | None = None, texts: list[str] | None = None) -> list[str]:
    return [each.role for each in groups.group_rules(text, texts).of_memberships([dn])]


class NameTests(SynchronousTestCase):
    """Roles by common name: without a filter, and with C{filter}."""

    def test_common_name(self) -> None:
        """The role is the first common name of the DN; without one there is no role."""
        self.assertEqual(roles("OU=First,CN=Second,DC=org"), ["Second"])
        self.assertEqual(roles("OU=Nobody,DC=org"), [])

    def test_rdn_with_several_values(self) -> None:
        """An RDN with several values is named by its common name."""
        self.assertEqual(roles("UID=x+cn=Admin,DC=org"), ["Admin"])

    def test_name_like_a_path_T66(self) -> None:
        """A name that begins with a slash is ignored; a slash inside a name is allowed."""
        self.assertEqual(roles("CN=/TeamA/Admin,DC=org"), [])
        self.assertEqual(roles("CN=a/b,DC=org"), ["a/b"])

    def test_unprintable_name_T66(self) -> None:
        """A name with a line feed is ignored."""
        self.assertEqual(roles("CN=a\\0Ab,DC=org"), [])

    def test_invalid_dn_is_ignored(self) -> None:
        """An invalid DN is ignored, and the other groups count."""
        found = groups.group_rules(None, None).of_memberships(["nonsense", ADMIN])
        self.assertEqual(found, [groups.Grant("Admin", ADMIN)])

    def test_case_of_filter(self) -> None:
        """
        C{filter} ignores the case of attribute names, but not of values, and matches any
        part of the DN.
        """
        self.assertEqual(roles(ADMIN, "ou=TeamA"), ["Admin"])
        self.assertEqual(roles(ADMIN, "OU=teama"), [])
        self.assertEqual(roles(ADMIN, "eamB,OU=Team"), ["Admin"])

    def test_value_like_an_rdn_T66(self) -> None:
        """A value that looks like an RDN does not match C{filter}."""
        for dn in (
            "CN=x OU=TeamA,DC=org",
            "CN=x\\,OU=TeamA,DC=org",
            "CN=x+SN=\\2COU\\3DTeamA,DC=org",
        ):
            self.assertEqual(roles(dn, "OU=TeamA"), [], dn)

    def test_separator_first_L_MOVE(self) -> None:
        """A C{filter} that begins with a separator is compared as it stands, as in auth-o-tron."""
        self.assertEqual(roles(ADMIN, ",OU=TeamA,"), ["Admin"])
        self.assertEqual(roles(ADMIN, ",CN=Admin"), [])
        self.assertEqual(roles("CN=x\\,OU=TeamA,DC=org", ",OU=TeamA,"), [])


class PathTests(SynchronousTestCase):
    """Roles by path: with C{filters}."""

    def test_partial_dns(self) -> None:
        """
        C{filters} match consecutive RDNs in either direction and any case; the path begins
        at the top.
        """
        for piece, path in {
            "OU=TeamA": "/TeamA/TeamB/Admin",
            "OU=TeamA,OU=TeamB": "/TeamA/TeamB/Admin",
            " ou=teamb , OU=teama ": "/TeamA/TeamB/Admin",
            "OU=TeamB": "/TeamB/Admin",
            "CN=Admin": "/Admin",
            "DC=example": "/example/TeamA/TeamB/Admin",
        }.items():
            self.assertEqual(roles(ADMIN, None, [piece]), [path], piece)

    def test_incomplete_pieces_L_MOVE(self) -> None:
        """A piece of C{filters} without an attribute or a value is left out, as in auth-o-tron."""
        for piece in ("OU=TeamB,", "OU=TeamB,nonsense", "OU=TeamB,OU=", ",OU=TeamB", "=x,OU=TeamB"):
            self.assertEqual(roles(ADMIN, None, [piece]), ["/TeamB/Admin"], piece)

    def test_rdns_must_be_consecutive(self) -> None:
        """RDNs with another RDN between them do not match."""
        self.assertEqual(roles(ADMIN, None, ["CN=Admin,OU=TeamA"]), [])

    def test_slash_or_comma_forges_no_path_T66(self) -> None:
        """A slash or an escaped comma in a name does not move a group to another path."""
        for dn in ("CN=TeamA/Admin,OU=Other,DC=org", "CN=Admin\\,OU=TeamA,OU=Other,DC=org"):
            self.assertEqual(roles(dn, None, ["OU=TeamA"]), [], dn)
        for dn in ("CN=x/Admin,OU=TeamA,DC=org", "CN=Admin,OU=x/y,OU=TeamA,DC=org"):
            self.assertEqual(roles(dn, None, ["OU=TeamA"]), [], dn)

    def test_entry_below_a_group_T66(self) -> None:
        """An entry below a group does not get the role of that group."""
        self.assertEqual(roles("OU=mine,CN=Admin,OU=TeamA,DC=org", None, ["OU=TeamA"]), [])

    def test_empty_rdn_T66(self) -> None:
        """A group with an empty RDN in its path is ignored."""
        self.assertEqual(roles("CN=Admin,OU=\\20,OU=TeamA,DC=org", None, ["OU=TeamA"]), [])

    @given(some.text(some.characters(exclude_categories=["Cs"]), min_size=1))
    def test_path_has_as_many_steps_as_the_dn_T66(self, name: str) -> None:
        """For any name of a group, the path has as many steps as the DN."""
        for role in roles(f"CN={escape_value(name)},OU=TeamA,DC=org", None, ["OU=TeamA"]):
            self.assertEqual(role, f"/TeamA/{name}")
            self.assertEqual(role.count("/"), 2)

"""Which groups count, and what they are called."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap import groups
from authotron.ldap.dn import escape_value

ADMIN = "CN=Admin,OU=TeamB,OU=TeamA,DC=example,DC=org"


def roles(dn: str, text: str | None = None, texts: list[str] | None = None) -> list[str]:
    return groups.group_rules(text, texts).roles_of_memberships([dn])


class NameTests(SynchronousTestCase):
    """Without a filter, and with a piece of text."""

    def test_common_name(self) -> None:
        """The first common name, wherever it stands; without one there is no role."""
        self.assertEqual(roles("OU=First,CN=Second,DC=org"), ["Second"])
        self.assertEqual(roles("OU=Nobody,DC=org"), [])

    def test_several_values(self) -> None:
        """A step of several values is called by its common name."""
        self.assertEqual(roles("UID=x+cn=Admin,DC=org"), ["Admin"])

    def test_looks_like_a_path_T66(self) -> None:
        """A name that begins like a path is left out; a slash inside of it is no harm."""
        self.assertEqual(roles("CN=/TeamA/Admin,DC=org"), [])
        self.assertEqual(roles("CN=a/b,DC=org"), ["a/b"])

    def test_unprintable_T66(self) -> None:
        """So is one with a line end."""
        self.assertEqual(roles("CN=a\\0Ab,DC=org"), [])

    def test_unreadable(self) -> None:
        """So is a DN that is none, and it harms no other."""
        self.assertEqual(
            groups.group_rules(None, None).roles_of_memberships(["nonsense", ADMIN]), ["Admin"]
        )

    def test_text(self) -> None:
        """Values mind case, the names of attributes do not; any piece of the text fits."""
        self.assertEqual(roles(ADMIN, "ou=TeamA"), ["Admin"])
        self.assertEqual(roles(ADMIN, "OU=teama"), [])
        self.assertEqual(roles(ADMIN, "eamB,OU=Team"), ["Admin"])

    def test_forged_text_T66(self) -> None:
        """A value that looks like a step of a DN is none."""
        for dn in (
            "CN=x OU=TeamA,DC=org",
            "CN=x\\,OU=TeamA,DC=org",
            "CN=x+SN=\\2COU\\3DTeamA,DC=org",
        ):
            self.assertEqual(roles(dn, "OU=TeamA"), [], dn)


class PathTests(SynchronousTestCase):
    """With pieces of a DN."""

    def test_windows(self) -> None:
        """A run of neighbours in either direction, in any case; the path begins at its top."""
        for piece, path in {
            "OU=TeamA": "/TeamA/TeamB/Admin",
            "OU=TeamA,OU=TeamB": "/TeamA/TeamB/Admin",
            " ou=teamb , OU=teama ": "/TeamA/TeamB/Admin",
            "OU=TeamB": "/TeamB/Admin",
            "CN=Admin": "/Admin",
            "DC=example": "/example/TeamA/TeamB/Admin",
        }.items():
            self.assertEqual(roles(ADMIN, None, [piece]), [path], piece)

    def test_no_neighbours(self) -> None:
        """Steps with others between them do not fit."""
        self.assertEqual(roles(ADMIN, None, ["CN=Admin,OU=TeamA"]), [])

    def test_forged_path_T66(self) -> None:
        """Neither a slash nor an escaped comma puts a group where it is not."""
        for dn in ("CN=TeamA/Admin,OU=Other,DC=org", "CN=Admin\\,OU=TeamA,OU=Other,DC=org"):
            self.assertEqual(roles(dn, None, ["OU=TeamA"]), [], dn)
        for dn in ("CN=x/Admin,OU=TeamA,DC=org", "CN=Admin,OU=x/y,OU=TeamA,DC=org"):
            self.assertEqual(roles(dn, None, ["OU=TeamA"]), [], dn)

    def test_own_name_T66(self) -> None:
        """What stands below a group is not that group."""
        self.assertEqual(roles("OU=mine,CN=Admin,OU=TeamA,DC=org", None, ["OU=TeamA"]), [])

    def test_empty_step_T66(self) -> None:
        """A step without a name has no place in a path."""
        self.assertEqual(roles("CN=Admin,OU=\\20,OU=TeamA,DC=org", None, ["OU=TeamA"]), [])

    @given(some.text(some.characters(exclude_categories=["Cs"]), min_size=1))
    def test_as_many_steps_T66(self, name: str) -> None:
        """Whatever a group is called, its path has as many steps as its DN."""
        for role in roles(f"CN={escape_value(name)},OU=TeamA,DC=org", None, ["OU=TeamA"]):
            self.assertEqual(role, f"/TeamA/{name}")
            self.assertEqual(role.count("/"), 2)

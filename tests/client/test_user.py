"""The user whom a JWT describes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError

from twisted.trial.unittest import SynchronousTestCase

from authotron.client import Forbidden, User
from authotron.client.user import as_names, user_from_claims

CLAIMS = {
    "realm": "internal",
    "username": "alice",
    "roles": ["reader", "lister"],
    "scopes": {"archive": ["read", "write"], "web": ["read"]},
    "attributes": {"text": "hello", "number": 42, "none": None, "list": [1, "é"], "yes": True},
}


class UserTests(SynchronousTestCase):
    """A frozen value."""

    def test_frozen(self) -> None:
        """Neither a user nor the mappings of a user can be changed."""
        user = user_from_claims(CLAIMS)
        self.assertRaises(FrozenInstanceError, setattr, user, "realm", "x")
        for mapping in (user.scopes, user.attributes, user.claims):
            self.assertFalse(hasattr(mapping, "__setitem__"))

    def test_copies(self) -> None:
        """Users can be hashed, pickled and copied."""
        user = user_from_claims(CLAIMS)
        self.assertEqual(pickle.loads(pickle.dumps(user)).claims, CLAIMS)
        self.assertEqual({copy.deepcopy(user), copy.copy(user)}, {user})

    def test_scopes(self) -> None:
        """Scopes are asked for by service, or for any service."""
        user = user_from_claims(CLAIMS)
        self.assertTrue(user.has_scope("write"))
        self.assertTrue(user.has_scope("read", "web"))
        self.assertFalse(user.has_scope("write", "web"))
        self.assertFalse(user.has_scope("read", "other"))
        self.assertEqual(user.all_scopes, ("read", "write"))

    def test_require(self) -> None:
        """A user needs one of the roles, and all of the scopes."""
        user = user_from_claims(CLAIMS)
        user.require("admin", "reader", scopes=["read", "write"])
        error = self.assertRaises(Forbidden, user.require, "admin", "owner", scopes=["read"])
        self.assertEqual((error.roles, error.scopes), (("admin", "owner"), ()))
        error = self.assertRaises(Forbidden, user.require, "reader", scopes=["read", "delete"])
        self.assertEqual((error.roles, error.scopes), ((), ("delete",)))

    def test_names(self) -> None:
        """A string is one name, an iterator is read once, and anything else is a mistake."""
        self.assertEqual(as_names("read"), ("read",))
        self.assertEqual(as_names(iter(["read", "write"])), ("read", "write"))
        self.assertRaises(TypeError, as_names, [print])
        user = user_from_claims(CLAIMS)
        user.require(scopes="write")
        self.assertRaises(Forbidden, user.require, scopes="delete")

    def test_original_rules(self) -> None:
        """By the original's rules each user has the role default once, and texts as attributes."""
        user = user_from_claims(CLAIMS, original_rules=True)
        self.assertEqual(user.roles, ("reader", "lister", "default"))
        self.assertEqual(
            dict(user.attributes),
            {"text": "hello", "number": "42", "none": "null", "list": '[1,"é"]', "yes": "true"},
        )
        again = user_from_claims({**CLAIMS, "roles": ["default"]}, original_rules=True)
        self.assertEqual(again.roles, ("default",))

    def test_as_they_are(self) -> None:
        """Without the original's rules nothing is added and nothing is changed."""
        user = user_from_claims(CLAIMS)
        self.assertEqual(user.roles, ("reader", "lister"))
        self.assertEqual(dict(user.attributes), CLAIMS["attributes"])
        self.assertEqual(user, User("internal", "alice", user.roles, user.scopes, user.attributes))

"""What is read out of the databases of other services, however odd it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from authotron import foreign_stores
from authotron.foreign_stores import Found, LeftOut, OwnerRule

TOKEN = "0b0e8ab1-5b1c-4f0e-9d5e-0e6f0c3f7a11"
USER = {"user_id": "1", "realm": "here", "username": "alice"}


class Collection:
    """Documents, of which each batch has one, and all are found by everything."""

    def __init__(self, *documents: Any) -> None:
        self._documents = list(documents)

    def find(self, **_: Any) -> Collection:
        return self

    async def batches(self) -> AsyncIterator[list[Any]]:
        for document in self._documents:
            yield [document]

    def find_one(self, _: Any) -> Deferred[Any]:
        return succeed(self._documents[0])


class Moving:
    """A Redis with two tokens, of which the first ends while it is read."""

    async def ask(self, *words: Any) -> Any:
        if words[0] == "SCAN":
            return b"0", [b"tokens:" + b"a" * 64, b"tokens:" + b"b" * 64]
        return [] if b"aa" in words[1] else [b"email", b"m@x", b"hosts", b"*"]

    async def ask_all(self, asked: Any) -> Any:
        return (b"none", -2) if b"aa" in asked[0][1] else (b"hash", -1)


class AclProxyTests(SynchronousTestCase):
    """Keys of a Redis that is in use."""

    def test_over_meanwhile_T55(self) -> None:
        """A token that has ended since it was listed is nothing that was left out."""
        redis: Any = Moving()

        async def all_() -> list[Found | LeftOut]:
            rule = OwnerRule("r", "{email}")
            return [each async for each in foreign_stores.of_acl_proxy(redis, rule, 0)]

        [found] = self.successResultOf(Deferred.fromCoroutine(all_()))
        assert isinstance(found, Found)
        self.assertEqual(found.token.grant.hosts, ("*",))


class AuthOTronTests(SynchronousTestCase):
    """Documents of a database that somebody else could write to."""

    def read(self, token: Any = TOKEN, user: Any = None, id_: Any = 1) -> Found | LeftOut:
        document = {"_id": id_, "user_id": "1", "token": {"token_string": token}}
        found = foreign_stores.of_auth_o_tron(Collection(document), Collection(user or USER))

        async def first() -> Found | LeftOut:
            return await anext(found)

        return self.successResultOf(Deferred.fromCoroutine(first()))

    def test_good(self) -> None:
        """An owner may stand in the document itself or one step below."""
        for user in (USER, {"user_id": "1", "user": USER}):
            found = self.read(user=user)
            assert isinstance(found, Found)
            self.assertEqual(found.token.owner.username, "alice")

    def test_odd_owners_T54(self) -> None:
        """Of an owner that is none one hears, and the next token is read."""
        for user in (
            {"user_id": "1", "user": "alice"},
            {"user_id": "1", "user": ["alice"]},
            {**USER, "username": {"$ne": None}},
            {**USER, "username": "ali\x1b[2Jce"},
            {**USER, "realm": "he\nre"},
            {**USER, "roles": "admin"},
        ):
            self.assertIsInstance(self.read(user=user), LeftOut, str(user))

    def test_odd_tokens_T54(self) -> None:
        """What nobody could present, or what another would judge, is not copied for nothing."""
        jwt = "eyJhbGciOiJub25lIn0.e30."
        texts = ("short", "long-token word", "one,two-three", "t\xf6ken-token", f"aot_{TOKEN}", jwt)
        for token in (7, None, *texts):
            self.assertIsInstance(self.read(token), LeftOut, token)
        self.assertIsInstance(self.read("hs256:0123:4567"), LeftOut)

    def test_names_on_a_terminal(self) -> None:
        """What a document is called does nothing to the terminal it is told on."""
        left = self.read(7, id_="\x1b]0;owned\x07\n")
        assert isinstance(left, LeftOut)
        self.assertTrue(left.which.isprintable(), left)


class OwnerRuleTests(SynchronousTestCase):
    """Who owns tokens that had no owner."""

    def test_rule(self) -> None:
        """Fields of the source take their places; nothing else is done with them."""
        fields = {"email": "a@b.org", "comment": "{hash}", "hash": "01234567"}
        for rule, name in {
            "{email}": "a@b.org",
            "{comment}-{hash}": "{hash}-01234567",
            "robot": "robot",
        }.items():
            self.assertEqual(OwnerRule("r", rule).of(fields).username, name)

    def test_missing(self) -> None:
        """A field that is not there is no name, nor is one that cannot be printed."""
        self.assertRaises(ValueError, OwnerRule("r", "{email}").of, {"comment": "x"})
        self.assertRaises(ValueError, OwnerRule("r", "{comment}").of, {"comment": "a\nb"})

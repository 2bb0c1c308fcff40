"""Tokens are read from the databases of other services, even if documents are malformed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli import token_sources
from authotron.cli.token_sources import ImportableToken, OwnerRule, SkippedToken

TOKEN = "0b0e8ab1-5b1c-4f0e-9d5e-0e6f0c3f7a11"
USER = {"user_id": "1", "realm": "here", "username": "alice"}


class Collection:
    """A collection that returns all its documents for every query, one in each batch."""

    def __init__(self, *documents: Any) -> None:
        self._documents = list(documents)

    def find(self, *_: Any, limit: int = 0, **__: Any) -> Any:
        return succeed(self._documents[:limit]) if limit else self

    async def batches(self) -> AsyncIterator[list[Any]]:
        for document in self._documents:
            yield [document]


class Moving:
    """A Redis with two tokens, of which the first expires while it is read."""

    async def ask(self, *words: Any) -> Any:
        if words[0] == "SCAN":
            return b"0", [b"tokens:" + b"a" * 64, b"tokens:" + b"b" * 64]
        return [] if b"aa" in words[1] else [b"email", b"m@x", b"hosts", b"*"]

    async def ask_all(self, asked: Any) -> Any:
        return (b"none", -2) if b"aa" in asked[0][1] else (b"hash", -1)


class AclProxyTests(SynchronousTestCase):
    """Tokens of an acl-proxy are read from a Redis that is in use."""

    def test_token_that_expires_while_scanning_is_ignored_T55(self) -> None:
        """A token that expires after SCAN returned its key is not counted as skipped."""
        redis: Any = Moving()

        async def all_() -> list[ImportableToken | SkippedToken]:
            rule = OwnerRule("r", "{email}")
            return [each async for each in token_sources.acl_proxy_tokens(redis, rule, 0)]

        [found] = self.successResultOf(Deferred.fromCoroutine(all_()))
        assert isinstance(found, ImportableToken)
        self.assertEqual(found.token.grant.hosts, ("*",))

    def test_field_that_is_not_utf8_skips_the_token_T102(self) -> None:
        """A token with a field that is not UTF-8 is skipped."""
        redis: Any = Moving()
        redis.ask = lambda *words: succeed(
            (b"0", [b"tokens:" + b"b" * 64])
            if words[0] == "SCAN"
            else [b"email", b"\xff@x", b"hosts", b"*"]
        )

        async def first() -> ImportableToken | SkippedToken:
            found = token_sources.acl_proxy_tokens(redis, OwnerRule("r", "{email}"), 0)
            return await anext(found)

        left = self.successResultOf(Deferred.fromCoroutine(first()))
        assert isinstance(left, SkippedToken)
        self.assertEqual(left.why, "the token has a field that is not UTF-8")


class AuthOTronTests(SynchronousTestCase):
    """Tokens of an auth-o-tron are read from documents that another account may have written."""

    def read(
        self, token: Any = TOKEN, user: Any = None, id_: Any = 1
    ) -> ImportableToken | SkippedToken:
        document = {"_id": id_, "user_id": "1", "token": {"token_string": token}}
        found = token_sources.auth_o_tron_tokens(Collection(document), Collection(user or USER))

        async def first() -> ImportableToken | SkippedToken:
            return await anext(found)

        return self.successResultOf(Deferred.fromCoroutine(first()))

    def test_owner_in_the_document_or_its_user(self) -> None:
        """The owner is read from the document or from its C{user}."""
        for user in (USER, {"user_id": "1", "user": USER}):
            found = self.read(user=user)
            assert isinstance(found, ImportableToken)
            self.assertEqual(found.token.owner.username, "alice")

    def test_contradicting_owners_skip_the_token_T102(self) -> None:
        """A token whose documents name two different owners is skipped."""
        root = {"realm": "here", "username": "root"}
        mine = {"token_string": TOKEN, "scopes": {}}
        given: tuple[dict[str, Any], ...] = (
            {"user": {**USER, "user": root}},
            {"user": {**USER, "user": {"username": "root"}}},
            {"user": {**USER, "user": {"realm": "there"}}},
            {"user": {**USER, "user": {"user_id": "2"}}},
            {"user": {**USER, "id": "1", "user": {"id": "2"}}},
            {"user": {**USER, "roles": ["reader"], "user": {"roles": ["admin"]}}},
            {"user": {**USER, "scopes": {}, "user": {"scopes": {"all": ["all"]}}}},
            {"user": {**USER, "user": {**USER, "user": root}}},
            {"user": {**USER, "user": "root"}},
            {"user": {**USER, "user": [root]}},
            {"user": {**USER, "user": {"user": {"user": {"user": {"user": root}}}}}},
            {"user": USER, "other": {**USER, **root}},
            {"username": "root"},
            {"realm": "there"},
            {"user_": root},
            {"user_": [root]},
            {"token_string": "another-token"},
            {"scopes": {"data": ["get"]}, "token_": mine},
            {"token_": {**mine, "user_id": "2"}},
            {"token_": {**mine, "username": "root"}},
            {"token_": {**mine, "user": root}},
        )
        for each in given:
            over = {name.removesuffix("_"): value for name, value in each.items()}
            with self.subTest(str(each)):
                user, other = each.get("user"), over.pop("other", None)
                if user is not None:
                    del over["user"]
                left = self.read_document(over, user or USER, other)
                assert isinstance(left, SkippedToken)
                self.assertIn("different values", left.why)

    def read_document(
        self, over: dict[str, Any], user: Any, other: Any
    ) -> ImportableToken | SkippedToken:
        """Read a token whose document has further or other keys."""
        document = {"_id": 1, "user_id": "1", "token": {"token_string": TOKEN}, **over}
        users = Collection(*(each for each in (user, other) if each))

        async def first() -> ImportableToken | SkippedToken:
            return await anext(token_sources.auth_o_tron_tokens(Collection(document), users))

        return self.successResultOf(Deferred.fromCoroutine(first()))

    def test_equal_values_do_not_contradict_T102(self) -> None:
        """Equal values in several places, and keys of the token alone, are not a contradiction."""
        only = {"token_string": TOKEN, "scopes": {"data": ["get"]}}
        for over, user, other in (
            ({}, {**USER, "user": USER}, None),
            ({}, {**USER, "version": 1, "user": {"version": 2}}, None),
            ({}, {**USER, "scopes": None, "user": {"scopes": {}}}, None),
            ({}, {**USER, "_id": 1}, {**USER, "_id": 2}),
            ({"token": only}, {**USER, "scopes": {"data": ["put"]}}, None),
            ({"username": "alice", "realm": "here"}, USER, None),
        ):
            found = self.read_document(over, user, other)
            assert isinstance(found, ImportableToken)
            self.assertEqual(found.token.owner.username, "alice")

    def test_invalid_owner_skips_the_token_T54(self) -> None:
        """A token with an invalid owner is skipped with a reason, and the next token is read."""
        for user in (
            {"user_id": "1", "user": "alice"},
            {"user_id": "1", "user": ["alice"]},
            {**USER, "username": {"$ne": None}},
            {**USER, "username": "ali\x1b[2Jce"},
            {**USER, "realm": "he\nre"},
            {**USER, "roles": "admin"},
        ):
            self.assertIsInstance(self.read(user=user), SkippedToken, str(user))

    def test_unusable_token_is_skipped_T54(self) -> None:
        """
        A token that cannot be sent in a header, or that another provider would verify, is
        skipped.
        """
        jwt = "eyJhbGciOiJub25lIn0.e30."
        texts = ("short", "long-token word", "one,two-three", "t\xf6ken-token", f"aot_{TOKEN}", jwt)
        for token in (7, None, *texts):
            self.assertIsInstance(self.read(token), SkippedToken, token)
        self.assertIsInstance(self.read("hs256:0123:4567"), SkippedToken)

    def test_name_of_a_skipped_document_is_printable(self) -> None:
        """The name of a skipped document is printable."""
        left = self.read(7, id_="\x1b]0;owned\x07\n")
        assert isinstance(left, SkippedToken)
        self.assertTrue(left.which.isprintable(), left)


class OwnerRuleTests(SynchronousTestCase):
    """An owner is derived for tokens without one."""

    def test_rule_replaces_placeholders_literally(self) -> None:
        """Placeholders of the owner rule are replaced by fields of the token, literally."""
        fields = {"email": "a@b.org", "comment": "{hash}", "hash": "01234567"}
        for rule, name in {
            "{email}": "a@b.org",
            "{comment}-{hash}": "{hash}-01234567",
            "robot": "robot",
        }.items():
            self.assertEqual(OwnerRule("r", rule).of(fields).username, name)

    def test_missing_or_unprintable_field_is_an_error(self) -> None:
        """A missing or unprintable field is an error."""
        self.assertRaises(ValueError, OwnerRule("r", "{email}").of, {"comment": "x"})
        self.assertRaises(ValueError, OwnerRule("r", "{comment}").of, {"comment": "a\nb"})

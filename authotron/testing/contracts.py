"""
Contract tests, which every provider, augmenter and token store must pass.

The test case of a plugin inherits from the class of a contract, and overrides the method that
builds the plugin.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from types import ModuleType
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.unittest import TestCase as AsynchronousTestCase
from zope.interface.verify import verifyObject

from authotron.gateway.identity_check import IdentityCheck
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, TokenExists, TooMany
from authotron.model.identity import Addition, Credential, Identity
from authotron.model.policy_document import PolicyDocument
from authotron.model.token import (
    HTTP,
    IMPORT,
    TERMINAL,
    Grant,
    Token,
    generate,
    mark_of,
)
from authotron.plugin.interfaces import (
    Affinity,
    IAugmenter,
    IChecksPepper,
    IJudge,
    IKeepsPolicies,
    IProvider,
    ITokenStore,
    TokenQuery,
)
from authotron.plugin.token_rows import REVOKED_FOR
from authotron.testing.issuers import forged_jwt
from authotron.testing.worlds import NOW, as_deferred


class ProviderContract:
    """
    Tests of a provider, for a L{SynchronousTestCase} that also inherits from this class, and
    overrides L{provider}.

    If the provider does not accept the bearer token C{good}, the test case overrides L{good} and
    L{bad}, too.
    """

    interface: type[IJudge] = IProvider

    def provider(self) -> IJudge:
        """Build the provider to test, with the realm C{here} and the name C{it}."""
        raise NotImplementedError

    def good(self) -> Credential:
        """Return a credential that the provider accepts."""
        return Credential("bearer", "good")

    def bad(self) -> Credential:
        """
        Return a credential that has the authentication scheme of the provider, and that the
        provider rejects.
        """
        return Credential("bearer", "bad-token")

    def settle(self, deferred: Deferred[Any]) -> Any:
        """
        Return the result of C{deferred}. A subclass may override this method, to advance a clock or
        to let a fake remote service answer first.
        """
        assert isinstance(self, SynchronousTestCase)
        return self.successResultOf(deferred)

    def test_interface(self: Any) -> None:
        """A provider has all attributes and methods of its interface."""
        verifyObject(self.interface, self.provider())

    def test_names(self: Any) -> None:
        """
        Name and realm of a provider are as configured; its authentication
        scheme is in lower case.
        """
        provider = self.provider()
        self.assertEqual((provider.name, provider.realm), ("it", "here"))
        self.assertEqual(provider.scheme, provider.scheme.lower())

    def test_accepts(self: Any) -> None:
        """
        For a valid credential a provider returns an identity with a user name, in the provider's
        realm.
        """
        found = self.settle(as_deferred(self.provider().authenticate, self.good()))
        self.assertIsInstance(found, Authentication)
        self.assertEqual(found.identity.realm, "here")
        self.assertTrue(found.identity.username)

    def test_admitted_T82(self: Any) -> None:
        """
        If a provider returns an identity for a valid credential, the gateway's check of identities
        accepts it, and does not have to change it.
        """
        identity = self.settle(as_deferred(self.provider().authenticate, self.good())).identity
        self.assertEqual(IdentityCheck().admit(identity), identity)

    def test_refuses(self: Any) -> None:
        """
        For an invalid credential a provider raises L{Rejected}, and the message of the exception
        does not contain the credential.
        """
        bad = self.bad()
        deferred = as_deferred(self.provider().authenticate, bad)
        outcome = self.settle(deferred.addErrback(lambda failure: failure.value))
        self.assertIsInstance(outcome, Rejected)
        self.assertNotIn(bad.value, str(outcome))

    def test_possible(self: Any) -> None:
        """
        If a provider accepts a credential, its method C{affinity} does not return C{FOREIGN} for
        that credential.
        """
        self.assertIsNot(self.provider().affinity(self.good()), Affinity.FOREIGN)

    def test_odd_tokens_T81a(self: Any) -> None:
        """
        The method C{affinity} of a provider does not fail, whatever JSON an unverified JWT
        contains.
        """
        provider = self.provider()
        members = ("alg", "typ", "kid", "iss", "azp", "events", "token_use", "at_hash", "enc")
        odd: tuple[Any, ...] = ([], {}, ["x"], {"x": []}, 5, -0.5, True, None, "", "\0", 10**100)
        for value in odd:
            for name in members:
                for token in (
                    forged_jwt({"alg": "RS256", name: value}),
                    forged_jwt({"alg": "RS256"}, {"iss": "https://idp.example", name: value}),
                ):
                    credential = Credential(provider.scheme, token)
                    self.assertIsInstance(provider.affinity(credential), Affinity)

    def test_no_secrets(self: Any) -> None:
        """The representation of a provider does not contain its secrets."""
        self.assertNotIn("secret", repr(self.provider()))


class AugmenterContract:
    """
    Tests of an augmenter, for a L{SynchronousTestCase} that also inherits from this class, and
    overrides L{augmenter}.
    """

    def augmenter(self) -> IAugmenter:
        """Build the augmenter to test, with the realm C{here} and the name C{it}."""
        raise NotImplementedError

    def settle(self, deferred: Deferred[Any]) -> Any:
        """
        Return the result of C{deferred}. A subclass may override this method, for example to
        advance a clock or to let a fake remote service answer before the result is read.
        """
        assert isinstance(self, SynchronousTestCase)
        return self.successResultOf(deferred)

    def test_interface(self: Any) -> None:
        """An augmenter has all attributes and methods of its interface."""
        verifyObject(IAugmenter, self.augmenter())

    def test_names(self: Any) -> None:
        """Name and realm of an augmenter are as configured."""
        augmenter = self.augmenter()
        self.assertEqual((augmenter.name, augmenter.realm), ("it", "here"))

    def test_unknown_user(self: Any) -> None:
        """For an unknown user an augmenter returns an empty addition, and does not fail."""
        stranger = Identity("here", "stranger")
        addition = self.settle(as_deferred(self.augmenter().augment, stranger))
        self.assertIsInstance(addition, Addition)
        self.assertEqual(
            (addition.roles, dict(addition.attributes)),
            ((), {}),
            "the augmenter adds to a user that it cannot know; if it adds to every user, build it "
            "in the method augmenter() so that it adds nothing to the user 'stranger'",
        )


def make_token(
    username: str = "alice", *, realm: str = "here", age: float = 0, **over: Any
) -> Token:
    """Build an API token, which was created C{age} seconds before L{NOW}, to put into a store."""
    presented = generate(NOW - age)
    owner = Identity(realm, username, ("reader",), {"a.b": "$c\u2603"}, {"data": ("get",)})
    return Token(presented.id, f"hash of {presented.id}", owner, NOW - age, **over)


def module_of(store: ITokenStore) -> ModuleType:
    """
    Return the module of a token store, or of the C{backend} that it wraps, so that a test can patch
    its limits.
    """
    return sys.modules[type(getattr(store, "backend", store)).__module__]


class EmptyStoreContract(AsynchronousTestCase):
    """
    Tests of every token store, also of one that stores nothing, for test cases that override
    L{make}.
    """

    async def make(self) -> ITokenStore:
        """Build an empty token store, and open it."""
        raise NotImplementedError

    async def opened(self) -> ITokenStore:
        store = await self.make()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        return store

    async def test_interface(self) -> None:
        """An open token store has all methods of its interface, and can be reached."""
        store = await self.opened()
        verifyObject(ITokenStore, store)
        await store.check_reachable()

    async def test_unknown(self) -> None:
        """A token store does not find, change or remove a token that is not in the store."""
        store, stranger = await self.opened(), make_token()
        self.assertIsNone(await store.get(stranger.id))
        self.assertFalse(await store.change(stranger.id, {"name": "x"}))
        self.assertFalse(await store.remove(stranger.id, NOW))
        self.assertIsNone(await store.find_revoked(stranger.id))
        self.assertEqual(list(await store.list_tokens(TokenQuery())), [])
        self.assertEqual(await store.delete_expired(NOW), 0)


class PolicyStoreContract(EmptyStoreContract):
    """Contract tests of token stores that keep policies, for test cases that override L{make}."""

    def document(self, version: int, content: bytes = b"content") -> PolicyDocument:
        return PolicyDocument(f"{version}-{content.hex()[:32]}", content)

    async def keeping(self) -> Any:
        store = await self.opened()
        verifyObject(IKeepsPolicies, store)
        return store

    async def test_no_policies(self) -> None:
        """A new token store contains no policies, so a replacement of earlier policies fails."""
        store = await self.keeping()
        self.assertEqual((await store.policy_state(), await store.policies()), (None, None))
        self.assertFalse(await store.replace_policies(self.document(2), "1-x"))
        self.assertIsNone(await store.policies())

    async def test_policies(self) -> None:
        """A token store returns the policies that were stored last, for any bytes as content."""
        store, before = await self.keeping(), None
        for version, content in enumerate((b"", bytes(range(256)), b"x" * 300_000, b"$1{}\r\n"), 1):
            stored = self.document(version, content)
            self.assertTrue(await store.replace_policies(stored, before))
            before = await store.policy_state()
            self.assertEqual((before, await store.policies()), (stored.state, stored))

    async def test_other_state_Q_APPLY(self) -> None:
        """A token store does not replace policies whose state is not the expected one."""
        store, stored = await self.keeping(), self.document(1)
        self.assertTrue(await store.replace_policies(stored, None))
        for earlier in (None, "", "0", "1", "2-x", f"{stored.state}x"):
            self.assertFalse(await store.replace_policies(self.document(2, b"other"), earlier))
        self.assertEqual(await store.policies(), stored)

    async def test_one_replaces_Q_APPLY(self) -> None:
        """If several callers replace the same policies at once, only one of them succeeds."""
        store, before = await self.keeping(), None
        for version in (1, 2):
            tries = [
                Deferred.fromCoroutine(
                    store.replace_policies(self.document(version, b"%d" % number), before)
                )
                for number in range(10)
            ]
            outcomes = await gatherResults(tries)
            self.assertEqual(sorted(outcomes), [False] * 9 + [True])
            before = await store.policy_state()
            winner = self.document(version, b"%d" % outcomes.index(True))
            self.assertEqual(await store.policies(), winner)

    async def test_policies_stay(self) -> None:
        """
        Stored policies do not count as an API token or a revocation, and are kept when expired
        tokens are deleted.
        """
        store, stored = await self.keeping(), self.document(1)
        self.assertTrue(await store.replace_policies(stored, None))
        await store.delete_expired(NOW * 2)
        self.assertEqual(await store.policies(), stored)
        self.assertEqual(list(await store.list_tokens(TokenQuery())), [])
        self.assertIsNone(await store.find_revoked("policies"))
        self.assertIsNone(await store.get("policies"))


class StoreContract(EmptyStoreContract):
    """Contract tests of token stores that keep API tokens, for test cases that override L{make}."""

    async def test_pepper_check_Q_PEPPER(self) -> None:
        """
        A check value is replaced only if the stored value still equals the one that the caller
        read.
        """
        store = await self.opened()
        if not IChecksPepper.providedBy(store):
            return
        await store.add(make_token())
        self.assertIsNone(await store.pepper_check())
        for value, earlier, left in (
            ("one", "another", None),
            ("one", None, "one"),
            ("two", None, "one"),
            ("two", "another", "one"),
            ("two", "one", "two"),
        ):
            await store.set_pepper_check(value, earlier)
            self.assertEqual(await store.pepper_check(), left)
        self.assertEqual(len(await store.list_tokens(TokenQuery())), 1)
        self.assertIsNone(await store.find_revoked("pepper"))
        await store.delete_expired(NOW)
        self.assertEqual(await store.pepper_check(), "two")

    async def test_no_secrets(self) -> None:
        """The representation of a token store does not contain the hashes of tokens."""
        store = await self.opened()
        await store.add(make_token())
        self.assertNotIn("hash of", repr(store))

    async def test_kept(self) -> None:
        """
        A token store returns a stored token unchanged, whatever its name, comment and owner
        contain.
        """
        store = await self.opened()
        grant = Grant(("reader",), {"data": ("get",)}, ("*.example.org",), ("::/64",), NOW + 0.5)
        for kept in (
            make_token(),
            make_token("bo'b", name="\u2603", used=1.5, email="b@b.b", grant=grant),
        ):
            await store.add(kept)
            self.assertEqual(await store.get(kept.id), kept)

    async def test_large_T84a(self) -> None:
        """
        A token store returns large tokens that an earlier version stored, one alone and several in
        a list.
        """
        store, scopes = await self.opened(), {f"service-{number}": () for number in range(1500)}
        kept = [make_token(age=9 - age, grant=Grant(scopes=scopes)) for age in range(2)]
        for each in kept:
            await store.add(each)
        self.assertEqual(await store.get(kept[0].id), kept[0])
        self.assertEqual(list(await store.list_tokens(TokenQuery("here", "alice"))), kept)

    async def test_text_T54(self) -> None:
        """
        A token store stores and compares a string that looks like a database query like any other
        string.
        """
        store = await self.opened()
        await store.add(make_token())
        for text in ("$ne", '{"$ne": null}', "' OR 1=1 --", "*", "\x00", "a\r\nDEL b"):
            await store.add(make_token(text, name=text, comment=text))
            [found] = await store.list_tokens(TokenQuery("here", text))
            self.assertEqual((found.owner.username, found.name, found.comment), (text,) * 3)
            self.assertIsNone(await store.get(text))
            self.assertFalse(await store.remove(text, NOW))
            self.assertIsNone(await store.find_revoked(text))

    async def test_duplicate_id(self) -> None:
        """
        A token store rejects a second token with the same id, and leaves the
        first one unchanged.
        """
        store, first = await self.opened(), make_token()
        await store.add(first)
        second = evolve(make_token("bob"), id=first.id)
        failure = await Deferred.fromCoroutine(store.add(second)).addErrback(lambda f: f.value)
        self.assertIsInstance(failure, TokenExists)
        self.assertEqual(await store.get(first.id), first)

    async def test_listed(self) -> None:
        """
        Tokens can be listed by owner (realm and user name), by realm, or all,
        the oldest first.
        """
        store = await self.opened()
        mine, other = [make_token(age=9), make_token(age=5)], make_token(realm="there", age=7)
        for each in (*reversed(mine), other, make_token("al", realm="ice", age=2)):
            await store.add(each)
        self.assertEqual(list(await store.list_tokens(TokenQuery("here", "alice"))), mine)
        self.assertEqual(list(await store.list_tokens(TokenQuery("there"))), [other])
        self.assertEqual(
            list(await store.list_tokens(TokenQuery(None, "alice"))), [mine[0], other, mine[1]]
        )
        self.assertEqual(len(await store.list_tokens(TokenQuery())), 4)

    async def test_pages(self) -> None:
        """
        A list of API tokens can be read in pages, each of which begins after the last token of the
        previous page.
        """
        store = await self.opened()
        made = [make_token(age=9 - place) for place in range(5)]
        for each in made:
            await store.add(each)
        self.assertEqual(
            list(await store.list_tokens(TokenQuery("here", "alice", most=2))), made[:2]
        )
        behind = TokenQuery("here", "alice", made[1].id, 2)
        self.assertEqual(list(await store.list_tokens(behind)), made[2:4])

    async def test_changed(self) -> None:
        """
        Name, comment, expiry and last use of a stored token can be changed, and nothing else
        changes.
        """
        store, before = await self.opened(), make_token(grant=Grant(expires=NOW + 9))
        await store.add(before)
        changes: dict[str, str | float | None] = {"name": "n", "comment": "c"}
        changes |= {"expires": NOW + 5.5, "used": NOW + 1.0}
        self.assertTrue(await store.change(before.id, changes))
        after = evolve(
            before, name="n", comment="c", used=NOW + 1.0, grant=Grant(expires=NOW + 5.5)
        )
        self.assertEqual(await store.get(before.id), after)

    async def test_one_remover(self) -> None:
        """
        If several callers remove the same token at once, the store returns its id to only one of
        them.
        """
        store, victim = await self.opened(), make_token()
        await store.add(victim)
        removals = [Deferred.fromCoroutine(store.remove(victim.id, NOW)) for _ in range(10)]
        self.assertEqual(sorted(await gatherResults(removals)), [[]] * 9 + [[victim.id]])
        self.assertIsNone(await store.get(victim.id))
        self.assertEqual(list(await store.list_tokens(TokenQuery("here", "alice"))), [])

    async def test_change_after_removal(self) -> None:
        """A token store does not restore a removed token when the token is changed."""
        store, victim = await self.opened(), make_token()
        await store.add(victim)
        await store.remove(victim.id, NOW)
        self.assertFalse(await store.change(victim.id, {"used": NOW}))
        self.assertIsNone(await store.get(victim.id))

    async def test_swept(self) -> None:
        """
        Deleting expired tokens deletes those whose expiry is now or in the past, and none without
        an expiry.
        """
        store = await self.opened()
        ends = (NOW - 1, NOW, NOW + 1, None)
        made = [make_token(age=9 - n, grant=Grant(expires=end)) for n, end in enumerate(ends)]
        for each in made:
            await store.add(each)
        self.assertEqual(await store.delete_expired(NOW), 2)
        self.assertEqual(list(await store.list_tokens(TokenQuery())), made[2:])

    async def family(self, store: ITokenStore) -> list[Token]:
        """Add a token, its child, its grandchild, another child, and an unrelated token."""
        root = make_token(age=9)
        child = make_token(age=8, lineage=(root.id,), origin=HTTP)
        grandchild = make_token(age=7, lineage=(root.id, child.id))
        made = [root, child, grandchild, make_token("alias", age=6, lineage=(root.id,))]
        for each in (*made, make_token(age=5)):
            await store.add(each)
        return made

    async def test_remove_tree_T86a(self) -> None:
        """
        Removing a token also removes all its descendants, of every owner,
        and no other tokens.
        """
        store = await self.opened()
        family = await self.family(store)
        self.assertEqual([await store.get(each.id) for each in family], family)
        ended = await store.remove(family[0].id, NOW)
        self.assertEqual(ended[0], family[0].id)
        self.assertEqual(sorted(ended), [each.id for each in family])
        self.assertEqual([await store.get(each.id) for each in family], [None] * 4)
        self.assertEqual(len(await store.list_tokens(TokenQuery())), 1)
        self.assertEqual(len(await store.list_tokens(TokenQuery("here", "alice"))), 1)
        self.assertEqual(list(await store.remove(family[0].id, NOW)), [])

    async def test_remove_branch_T86a(self) -> None:
        """
        Removing a child token also removes its descendants, but not its parent or other children of
        the parent.
        """
        store = await self.opened()
        root, child, grandchild, other = await self.family(store)
        self.assertEqual(list(await store.remove(child.id, NOW)), [child.id, grandchild.id])
        self.assertEqual([await store.get(root.id), await store.get(other.id)], [root, other])
        self.assertEqual(list(await store.remove(root.id, NOW)), [root.id, other.id])

    async def test_list_tree_T86b(self) -> None:
        """A list of API tokens can be limited to a token and its descendants, and read in pages."""
        store = await self.opened()
        family = await self.family(store)
        self.assertEqual(list(await store.list_tokens(TokenQuery(below=family[0].id))), family)
        behind = TokenQuery(below=family[0].id, after=family[0].id, most=2)
        self.assertEqual(list(await store.list_tokens(behind)), family[1:3])
        self.assertEqual(list(await store.list_tokens(TokenQuery(below=family[1].id))), family[1:3])
        self.assertEqual(list(await store.list_tokens(TokenQuery(below=make_token().id))), [])

    async def test_limit_per_owner_T86c(self) -> None:
        """Only unexpired tokens that were created over HTTP count towards the limit per owner."""
        store = await self.opened()
        others = [
            make_token(origin=TERMINAL),
            make_token(origin=IMPORT),
            make_token("bob", origin=HTTP),
            make_token(realm="there", origin=HTTP),
            make_token(origin=HTTP, age=9, grant=Grant(expires=NOW)),
        ]
        for each in others:
            await store.add(each)
        live = Grant(expires=NOW + 1)
        for each in (
            make_token(origin=HTTP),
            make_token(grant=live),
            make_token(origin=HTTP, grant=live),
        ):
            self.assertIs(await self.failed(store.add(each, 3)), None)
        last = make_token(origin=HTTP)
        self.assertIsInstance(await self.failed(store.add(last, 3)), TooMany)
        self.assertIsNone(await store.get(last.id))
        self.assertEqual(len(await store.list_tokens(TokenQuery("here", "alice", most=20))), 6)
        await store.remove(each.id, NOW)
        await store.add(last, 3)
        await store.add(make_token(origin=TERMINAL))

    async def test_limit_at_once_T86c(self) -> None:
        """
        If several tokens of an owner are added at once, the store keeps no more than the limit per
        owner.
        """
        store = await self.opened()
        adding = [self.failed(store.add(make_token(origin=HTTP), 3)) for _ in range(9)]
        outcomes = await gatherResults([Deferred.fromCoroutine(each) for each in adding])
        kept = [each for each in outcomes if each is None]
        self.assertLessEqual(len(kept), 3)
        self.assertEqual(len(await store.list_tokens(TokenQuery())), len(kept))
        self.assertTrue(all(isinstance(each, TooMany) for each in outcomes if each is not None))

    async def failed(self, work: Coroutine[Any, Any, None]) -> object:
        return await Deferred.fromCoroutine(work).addErrback(lambda failure: failure.value)

    async def test_remember_revoked_S_AUDIT(self) -> None:
        """
        A token store keeps the owner of a revoked token, and the mark of its hash (L{mark_of}), for
        L{REVOKED_FOR} seconds.
        """
        store = await self.opened()
        family = await self.family(store)
        await store.remove(family[0].id, NOW)
        for each in family:
            found = await store.find_revoked(each.id)
            assert found is not None
            self.assertEqual((found.id, found.realm), (each.id, "here"))
            self.assertEqual(found.username, each.owner.username)
            self.assertEqual(found.mark, mark_of(each.hashed))
            self.assertNotIn(each.hashed, repr(found))
        await store.delete_expired(NOW + REVOKED_FOR - 1)
        self.assertIsNotNone(await store.find_revoked(family[0].id))
        await store.delete_expired(NOW + REVOKED_FOR)
        self.assertIsNone(await store.find_revoked(family[0].id))

    async def test_remember_few_S_AUDIT(self) -> None:
        """
        A token store keeps the records of a limited number of revoked tokens,
        those revoked last.
        """
        store = await self.opened()
        module = module_of(store)
        self.patch(module, "MOST_REVOKED", 2)
        made = [make_token(age=9 - place) for place in range(4)]
        for place, each in enumerate(made):
            await store.add(each)
            await store.remove(each.id, NOW + place)
        await store.delete_expired(NOW + 4)
        known = [await store.find_revoked(each.id) is not None for each in made]
        self.assertEqual(known, [False, False, True, True])

    async def test_share_memory_S_AUDIT(self) -> None:
        """
        The records of very many revoked tokens of one owner do not displace the records of other
        owners.
        """
        store = await self.opened()
        module = module_of(store)
        self.patch(module, "MOST_REVOKED_OF_OWNER", 2)
        made = [make_token("bob", age=9), *(make_token(age=8 - place) for place in range(3))]
        for place, each in enumerate(made):
            await store.add(each)
            await store.remove(each.id, NOW + place)
        known = [await store.find_revoked(each.id) is not None for each in made]
        self.assertEqual(known, [True, False, True, True])

    async def test_remember_imported_T86a(self) -> None:
        """
        A token store keeps the records of all revoked imported tokens for ten years, whatever their
        number.
        """
        store = await self.opened()
        module = module_of(store)
        self.patch(module, "MOST_REVOKED_OF_OWNER", 1)
        self.patch(module, "MOST_REVOKED", 1)
        copied = [make_token(age=9 - place, origin=IMPORT) for place in range(3)]
        for place, each in enumerate([*copied, make_token(age=5), make_token(age=4)]):
            await store.add(each)
            await store.remove(each.id, NOW + place)
        for later in (5, REVOKED_FOR + 9, 9 * 366 * 86_400):
            await store.delete_expired(NOW + later)
            known = [await store.find_revoked(each.id) is not None for each in copied]
            self.assertEqual(known, [True] * 3)
        await store.delete_expired(NOW + 9 + 10 * 366 * 86_400)
        self.assertIsNone(await store.find_revoked(copied[0].id))

    async def test_forget_expired_quietly_S_AUDIT(self) -> None:
        """
        A token store does not report a token as revoked if the token has expired but was never
        revoked.
        """
        store, expired = await self.opened(), make_token(grant=Grant(expires=NOW))
        await store.add(expired)
        await store.delete_expired(NOW)
        self.assertIsNone(await store.find_revoked(expired.id))

    async def test_opened_twice(self) -> None:
        """Opening a token store that is open already changes nothing."""
        store, kept = await self.opened(), make_token()
        await store.add(kept)
        await store.open()
        self.assertEqual(await store.get(kept.id), kept)

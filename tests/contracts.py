"""What every implementation of an interface must do, to be run against each of them."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.unittest import TestCase as AsynchronousTestCase
from zope.interface.verify import verifyObject

from authotron.gateway.gate import Gate
from authotron.model.errors import Rejected, TokenExists, TooMany
from authotron.model.identity import Addition, Credential, Identity
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
    IJudge,
    IProvider,
    ITokenStore,
    TokenQuery,
)
from authotron.stores.rows import REVOKED_FOR
from tests.issuers import made_up
from tests.worlds import NOW, asked


class ProviderContract:
    """
    Mixed into a L{SynchronousTestCase} that says how to make one.

    One that does not accept the bearer token C{good} says what it does accept.
    """

    interface: type[IJudge] = IProvider

    def provider(self) -> IJudge:
        """The provider to test, of realm C{here} and name C{it}."""
        raise NotImplementedError

    def good(self) -> Credential:
        """A credential that it accepts."""
        return Credential("bearer", "good")

    def bad(self) -> Credential:
        """A credential of its scheme that it refuses."""
        return Credential("bearer", "bad-token")

    def settle(self, deferred: Deferred[Any]) -> Any:
        """The result of C{deferred}; where remotes must be moved on, this does it."""
        assert isinstance(self, SynchronousTestCase)
        return self.successResultOf(deferred)

    def test_interface(self: Any) -> None:
        """It provides all of the interface."""
        verifyObject(self.interface, self.provider())

    def test_names(self: Any) -> None:
        """Name, realm and scheme are as configured, the scheme in lower case."""
        provider = self.provider()
        self.assertEqual((provider.name, provider.realm), ("it", "here"))
        self.assertEqual(provider.scheme, provider.scheme.lower())

    def test_accepts(self: Any) -> None:
        """A good credential gives an identity with a name, in the provider's realm."""
        identity = self.settle(asked(self.provider().authenticate, self.good()))
        self.assertIsInstance(identity, Identity)
        self.assertEqual(identity.realm, "here")
        self.assertTrue(identity.username)

    def test_admitted_T82(self: Any) -> None:
        """The gate for identities lets pass what a good credential gives, as it is."""
        identity = self.settle(asked(self.provider().authenticate, self.good()))
        self.assertEqual(Gate().admit(identity), identity)

    def test_refuses(self: Any) -> None:
        """A bad credential is L{Rejected}, whose text does not repeat it."""
        bad = self.bad()
        deferred = asked(self.provider().authenticate, bad)
        outcome = self.settle(deferred.addErrback(lambda failure: failure.value))
        self.assertIsInstance(outcome, Rejected)
        self.assertNotIn(bad.value, str(outcome))

    def test_possible(self: Any) -> None:
        """It does not call foreign what it accepts."""
        self.assertIsNot(self.provider().affinity(self.good()), Affinity.FOREIGN)

    def test_odd_tokens_T81a(self: Any) -> None:
        """Whatever a token says of itself, its shape alone is no reason to fail."""
        provider = self.provider()
        members = ("alg", "typ", "kid", "iss", "azp", "events", "token_use", "at_hash", "enc")
        odd: tuple[Any, ...] = ([], {}, ["x"], {"x": []}, 5, -0.5, True, None, "", "\0", 10**100)
        for value in odd:
            for name in members:
                for token in (
                    made_up({"alg": "RS256", name: value}),
                    made_up({"alg": "RS256"}, {"iss": "https://idp.example", name: value}),
                ):
                    credential = Credential(provider.scheme, token)
                    self.assertIsInstance(provider.affinity(credential), Affinity)

    def test_no_secrets(self: Any) -> None:
        """Its representation does not show what it knows."""
        self.assertNotIn("secret", repr(self.provider()))


class AugmenterContract:
    """Mixed into a L{SynchronousTestCase} that says how to make one."""

    def augmenter(self) -> IAugmenter:
        """The augmenter to test, of realm C{here} and name C{it}."""
        raise NotImplementedError

    def settle(self, deferred: Deferred[Any]) -> Any:
        """The result of C{deferred}; where remotes must be moved on, this does it."""
        assert isinstance(self, SynchronousTestCase)
        return self.successResultOf(deferred)

    def test_interface(self: Any) -> None:
        """It provides all of the interface."""
        verifyObject(IAugmenter, self.augmenter())

    def test_names(self: Any) -> None:
        """Name and realm are as configured."""
        augmenter = self.augmenter()
        self.assertEqual((augmenter.name, augmenter.realm), ("it", "here"))

    def test_stranger(self: Any) -> None:
        """Of somebody it does not know it has nothing to say, which is no failure."""
        stranger = Identity("here", "stranger")
        addition = self.settle(asked(self.augmenter().augment, stranger))
        self.assertEqual((addition.roles, dict(addition.attributes)), ((), {}))
        self.assertIsInstance(addition, Addition)


def token(username: str = "alice", *, realm: str = "here", age: float = 0, **over: Any) -> Token:
    """A token that was made C{age} seconds before L{NOW}."""
    presented = generate(NOW - age)
    owner = Identity(realm, username, ("reader",), {"a.b": "$c\u2603"}, {"data": ("get",)})
    return Token(presented.id, f"hash of {presented.id}", owner, NOW - age, **over)


class NoTokens(AsynchronousTestCase):
    """What holds for every store, even for one that keeps nothing."""

    async def make(self) -> ITokenStore:
        """An empty store, open."""
        raise NotImplementedError

    async def opened(self) -> ITokenStore:
        store = await self.make()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        return store

    async def test_interface(self) -> None:
        """It provides all of the interface, and can be reached."""
        store = await self.opened()
        verifyObject(ITokenStore, store)
        await store.reach()

    async def test_unknown(self) -> None:
        """Of a token it does not have there is nothing to tell, to change or to remove."""
        store, stranger = await self.opened(), token()
        self.assertIsNone(await store.get(stranger.id))
        self.assertFalse(await store.change(stranger.id, {"name": "x"}))
        self.assertFalse(await store.remove(stranger.id, NOW))
        self.assertIsNone(await store.revoked(stranger.id))
        self.assertEqual(list(await store.listed(TokenQuery())), [])
        self.assertEqual(await store.delete_expired(NOW), 0)


class StoreContract(NoTokens):
    """What holds for every store that keeps tokens."""

    async def test_no_secrets(self) -> None:
        """Its representation does not show what it knows."""
        store = await self.opened()
        await store.add(token())
        self.assertNotIn("hash of", repr(store))

    async def test_kept(self) -> None:
        """A token comes back as it was, whatever is in it."""
        store = await self.opened()
        grant = Grant(("reader",), {"data": ("get",)}, ("*.example.org",), ("::/64",), NOW + 0.5)
        for kept in (token(), token("bo'b", name="\u2603", used=1.5, email="b@b.b", grant=grant)):
            await store.add(kept)
            self.assertEqual(await store.get(kept.id), kept)

    async def test_large_T84a(self) -> None:
        """Large tokens that an earlier version has kept are read, alone and in lists."""
        store, scopes = await self.opened(), {f"service-{number}": () for number in range(1500)}
        kept = [token(age=9 - age, grant=Grant(scopes=scopes)) for age in range(2)]
        for each in kept:
            await store.add(each)
        self.assertEqual(await store.get(kept[0].id), kept[0])
        self.assertEqual(list(await store.listed(TokenQuery("here", "alice"))), kept)

    async def test_text_T54(self) -> None:
        """What looks like a query is a text like any other."""
        store = await self.opened()
        await store.add(token())
        for text in ("$ne", '{"$ne": null}', "' OR 1=1 --", "*", "\x00", "a\r\nDEL b"):
            await store.add(token(text, name=text, comment=text))
            [found] = await store.listed(TokenQuery("here", text))
            self.assertEqual((found.owner.username, found.name, found.comment), (text,) * 3)
            self.assertIsNone(await store.get(text))
            self.assertFalse(await store.remove(text, NOW))
            self.assertIsNone(await store.revoked(text))

    async def test_taken(self) -> None:
        """An id is given once; the token that has it stays as it is."""
        store, first = await self.opened(), token()
        await store.add(first)
        second = evolve(token("bob"), id=first.id)
        failure = await Deferred.fromCoroutine(store.add(second)).addErrback(lambda f: f.value)
        self.assertIsInstance(failure, TokenExists)
        self.assertEqual(await store.get(first.id), first)

    async def test_listed(self) -> None:
        """Those of one owner, of one realm, or all, oldest first; an owner is realm and name."""
        store = await self.opened()
        mine, other = [token(age=9), token(age=5)], token(realm="there", age=7)
        for each in (*reversed(mine), other, token("al", realm="ice", age=2)):
            await store.add(each)
        self.assertEqual(list(await store.listed(TokenQuery("here", "alice"))), mine)
        self.assertEqual(list(await store.listed(TokenQuery("there"))), [other])
        self.assertEqual(
            list(await store.listed(TokenQuery(None, "alice"))), [mine[0], other, mine[1]]
        )
        self.assertEqual(len(await store.listed(TokenQuery())), 4)

    async def test_pages(self) -> None:
        """A list goes on where the one before ended."""
        store = await self.opened()
        made = [token(age=9 - place) for place in range(5)]
        for each in made:
            await store.add(each)
        self.assertEqual(list(await store.listed(TokenQuery("here", "alice", most=2))), made[:2])
        behind = TokenQuery("here", "alice", made[1].id, 2)
        self.assertEqual(list(await store.listed(behind)), made[2:4])

    async def test_changed(self) -> None:
        """Name, comment, end and last use change; all else stays."""
        store, before = await self.opened(), token(grant=Grant(expires=NOW + 9))
        await store.add(before)
        changes: dict[str, str | float | None] = {"name": "n", "comment": "c"}
        changes |= {"expires": NOW + 5.5, "used": NOW + 1.0}
        self.assertTrue(await store.change(before.id, changes))
        after = evolve(
            before, name="n", comment="c", used=NOW + 1.0, grant=Grant(expires=NOW + 5.5)
        )
        self.assertEqual(await store.get(before.id), after)

    async def test_one_remover(self) -> None:
        """Of many who remove a token at once one alone is told that it did."""
        store, victim = await self.opened(), token()
        await store.add(victim)
        removals = [Deferred.fromCoroutine(store.remove(victim.id, NOW)) for _ in range(10)]
        self.assertEqual(sorted(await gatherResults(removals)), [[]] * 9 + [[victim.id]])
        self.assertIsNone(await store.get(victim.id))
        self.assertEqual(list(await store.listed(TokenQuery("here", "alice"))), [])

    async def test_no_ghost(self) -> None:
        """A token that is changed while it is removed does not come back."""
        store, victim = await self.opened(), token()
        await store.add(victim)
        await store.remove(victim.id, NOW)
        self.assertFalse(await store.change(victim.id, {"used": NOW}))
        self.assertIsNone(await store.get(victim.id))

    async def test_swept(self) -> None:
        """Those that have ended are forgotten, at the very second; those without an end never."""
        store = await self.opened()
        ends = (NOW - 1, NOW, NOW + 1, None)
        made = [token(age=9 - n, grant=Grant(expires=end)) for n, end in enumerate(ends)]
        for each in made:
            await store.add(each)
        self.assertEqual(await store.delete_expired(NOW), 2)
        self.assertEqual(list(await store.listed(TokenQuery())), made[2:])

    async def family(self, store: ITokenStore) -> list[Token]:
        """A token, a child of it, a child of that one, and another child of the first."""
        root = token(age=9)
        child = token(age=8, lineage=(root.id,), origin=HTTP)
        grandchild = token(age=7, lineage=(root.id, child.id))
        made = [root, child, grandchild, token("alias", age=6, lineage=(root.id,))]
        for each in (*made, token(age=5)):
            await store.add(each)
        return made

    async def test_remove_tree_T86a(self) -> None:
        """With a token its descendants of every owner are removed, and no other tokens."""
        store = await self.opened()
        family = await self.family(store)
        self.assertEqual([await store.get(each.id) for each in family], family)
        ended = await store.remove(family[0].id, NOW)
        self.assertEqual(ended[0], family[0].id)
        self.assertEqual(sorted(ended), [each.id for each in family])
        self.assertEqual([await store.get(each.id) for each in family], [None] * 4)
        self.assertEqual(len(await store.listed(TokenQuery())), 1)
        self.assertEqual(len(await store.listed(TokenQuery("here", "alice"))), 1)
        self.assertEqual(list(await store.remove(family[0].id, NOW)), [])

    async def test_remove_branch_T86a(self) -> None:
        """With a child its own descendants are removed; its parent and the others stay."""
        store = await self.opened()
        root, child, grandchild, other = await self.family(store)
        self.assertEqual(list(await store.remove(child.id, NOW)), [child.id, grandchild.id])
        self.assertEqual([await store.get(root.id), await store.get(other.id)], [root, other])
        self.assertEqual(list(await store.remove(root.id, NOW)), [root.id, other.id])

    async def test_list_tree_T86b(self) -> None:
        """A list can be limited to a token and those that descend from it, in pages."""
        store = await self.opened()
        family = await self.family(store)
        self.assertEqual(list(await store.listed(TokenQuery(below=family[0].id))), family)
        behind = TokenQuery(below=family[0].id, after=family[0].id, most=2)
        self.assertEqual(list(await store.listed(behind)), family[1:3])
        self.assertEqual(list(await store.listed(TokenQuery(below=family[1].id))), family[1:3])
        self.assertEqual(list(await store.listed(TokenQuery(below=token().id))), [])

    async def test_limit_per_owner_T86c(self) -> None:
        """An owner has as many live tokens that count as is allowed; others are not counted."""
        store = await self.opened()
        others = [
            token(origin=TERMINAL),
            token(origin=IMPORT),
            token("bob", origin=HTTP),
            token(realm="there", origin=HTTP),
            token(origin=HTTP, age=9, grant=Grant(expires=NOW)),
        ]
        for each in others:
            await store.add(each)
        live = Grant(expires=NOW + 1)
        for each in (token(origin=HTTP), token(grant=live), token(origin=HTTP, grant=live)):
            self.assertIs(await self.failed(store.add(each, 3)), None)
        last = token(origin=HTTP)
        self.assertIsInstance(await self.failed(store.add(last, 3)), TooMany)
        self.assertIsNone(await store.get(last.id))
        self.assertEqual(len(await store.listed(TokenQuery("here", "alice", most=20))), 6)
        await store.remove(each.id, NOW)
        await store.add(last, 3)
        await store.add(token(origin=TERMINAL))

    async def test_limit_at_once_T86c(self) -> None:
        """Of many that are added at once no more are kept than are allowed."""
        store = await self.opened()
        adding = [self.failed(store.add(token(origin=HTTP), 3)) for _ in range(9)]
        outcomes = await gatherResults([Deferred.fromCoroutine(each) for each in adding])
        kept = [each for each in outcomes if each is None]
        self.assertLessEqual(len(kept), 3)
        self.assertEqual(len(await store.listed(TokenQuery())), len(kept))
        self.assertTrue(all(isinstance(each, TooMany) for each in outcomes if each is not None))

    async def failed(self, work: Coroutine[Any, Any, None]) -> object:
        return await Deferred.fromCoroutine(work).addErrback(lambda failure: failure.value)

    async def test_remember_revoked_S_AUDIT(self) -> None:
        """Of each token that was revoked owner and mark are remembered, for a limited time."""
        store = await self.opened()
        family = await self.family(store)
        await store.remove(family[0].id, NOW)
        for each in family:
            found = await store.revoked(each.id)
            assert found is not None
            self.assertEqual((found.id, found.realm), (each.id, "here"))
            self.assertEqual(found.username, each.owner.username)
            self.assertEqual(found.mark, mark_of(each.hashed))
            self.assertNotIn(each.hashed, repr(found))
        await store.delete_expired(NOW + REVOKED_FOR - 1)
        self.assertIsNotNone(await store.revoked(family[0].id))
        await store.delete_expired(NOW + REVOKED_FOR)
        self.assertIsNone(await store.revoked(family[0].id))

    async def test_remember_few_S_AUDIT(self) -> None:
        """The number of revoked tokens that are remembered is bounded; the latest stay."""
        store = await self.opened()
        module = sys.modules[type(getattr(store, "backend", store)).__module__]
        self.patch(module, "MOST_REVOKED", 2)
        made = [token(age=9 - place) for place in range(4)]
        for place, each in enumerate(made):
            await store.add(each)
            await store.remove(each.id, NOW + place)
        await store.delete_expired(NOW + 4)
        known = [await store.revoked(each.id) is not None for each in made]
        self.assertEqual(known, [False, False, True, True])

    async def test_share_memory_S_AUDIT(self) -> None:
        """An owner who revokes very many tokens pushes out none that others have revoked."""
        store = await self.opened()
        module = sys.modules[type(getattr(store, "backend", store)).__module__]
        self.patch(module, "MOST_REVOKED_OF_OWNER", 2)
        made = [token("bob", age=9), *(token(age=8 - place) for place in range(3))]
        for place, each in enumerate(made):
            await store.add(each)
            await store.remove(each.id, NOW + place)
        known = [await store.revoked(each.id) is not None for each in made]
        self.assertEqual(known, [True, False, True, True])

    async def test_remember_imported_T86a(self) -> None:
        """The revocation of imported tokens is remembered for years, and however many there are."""
        store = await self.opened()
        module = sys.modules[type(getattr(store, "backend", store)).__module__]
        self.patch(module, "MOST_REVOKED_OF_OWNER", 1)
        self.patch(module, "MOST_REVOKED", 1)
        copied = [token(age=9 - place, origin=IMPORT) for place in range(3)]
        for place, each in enumerate([*copied, token(age=5), token(age=4)]):
            await store.add(each)
            await store.remove(each.id, NOW + place)
        for later in (5, REVOKED_FOR + 9, 9 * 366 * 86_400):
            await store.delete_expired(NOW + later)
            known = [await store.revoked(each.id) is not None for each in copied]
            self.assertEqual(known, [True] * 3)
        await store.delete_expired(NOW + 9 + 10 * 366 * 86_400)
        self.assertIsNone(await store.revoked(copied[0].id))

    async def test_forget_expired_quietly_S_AUDIT(self) -> None:
        """A token that has expired was not revoked."""
        store, expired = await self.opened(), token(grant=Grant(expires=NOW))
        await store.add(expired)
        await store.delete_expired(NOW)
        self.assertIsNone(await store.revoked(expired.id))

    async def test_opened_twice(self) -> None:
        """To open it again changes nothing."""
        store, kept = await self.opened(), token()
        await store.add(kept)
        await store.open()
        self.assertEqual(await store.get(kept.id), kept)

"""A 200 means an identity and a JWT, whichever plugins fail at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import inf
from typing import Any

import jwt
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.model.authentication import Authentication
from authotron.model.errors import (
    NotConfigured,
    Rejected,
    TimedOut,
    Unavailable,
)
from authotron.model.identity import Addition, Credential, Identity
from authotron.plugin.interfaces import Affinity, IAugmenter, IProvider
from tests.config.cases import BASE
from tests.web.conversations import ALICE, Answer, InMemoryGateway

WHO = Authentication(Identity("internal", "tess", ("reader",)))
MORE = Addition(("writer",))

EXCEPTIONS: list[Callable[[], BaseException]] = [
    Rejected,
    Unavailable,
    TimedOut,
    NotConfigured,
    CancelledError,
    ValueError,
    RecursionError,
    MemoryError,
    AssertionError,
    lambda: StopIteration(WHO),
    lambda: StopAsyncIteration(WHO),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "canary"),
]

NONSENSE: list[Any] = [None, "tess", 5, True, {}, [], (), ("internal", "tess"), object(), b"tess"]


class BrokenMinter:
    """A minter with a defect."""

    max_lifetime = 3600.0
    signs_until = inf
    first_read = None

    def mint(self, _: Authentication) -> str:
        return str(1 / 0)


@define
class Behaviour:
    """How a plugin answers."""

    manner: str
    outcome: Any

    def answer(self) -> Any:
        if self.manner == "plain":
            return self._end()
        if self.manner == "deferred":
            return fail(self.outcome()) if callable(self.outcome) else succeed(self.outcome)
        return self._later() if self.manner == "later" else self._soon()

    async def _soon(self) -> Any:
        return self._end()

    async def _later(self) -> Any:
        waited: Deferred[None] = Deferred()
        waited.callback(None)
        await waited
        return self._end()

    def _end(self) -> Any:
        if callable(self.outcome):
            raise self.outcome()
        return self.outcome


@implementer(IProvider)
@define(eq=False)
class Scripted:
    """A provider that answers by a script."""

    name: str
    behaviour: Behaviour
    local: bool
    realm: str = "internal"
    scheme: str = "basic"
    type: str = "scripted"

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    def authenticate(self, credential: Credential) -> Any:
        return self.behaviour.answer()

    @property
    def accepts(self) -> bool:
        return self.behaviour.outcome is WHO


@implementer(IAugmenter)
@define(eq=False)
class Adding:
    """An augmenter that answers by a script."""

    name: str
    behaviour: Behaviour
    required: bool
    realm: str = "internal"
    runs_last: bool = False
    timeout: float | None = None
    type: str = "adding"
    asked: list[Identity] = field(factory=list)

    def augment(self, identity: Identity) -> Any:
        self.asked.append(identity)
        return self.behaviour.answer()


def behaviours(good: Any) -> some.SearchStrategy[Behaviour]:
    outcomes = some.sampled_from([good, good, *EXCEPTIONS, *NONSENSE])
    return some.builds(
        Behaviour, some.sampled_from(["plain", "soon", "later", "deferred"]), outcomes
    )


PROVIDERS = some.lists(
    some.builds(Scripted, some.just("p"), behaviours(WHO), some.booleans()), max_size=3
)
AUGMENTERS = some.lists(
    some.builds(Adding, some.just("a"), behaviours(MORE), some.booleans()), max_size=3
)


ODD: list[Any] = [
    None,
    True,
    5,
    -1,
    10**30,
    float("nan"),
    float("inf"),
    b"x",
    "text",
    "\ud800",
    ["a"],
    (5,),
    ("a", None),
    {"a": None},
    {5: "a"},
    {"a": ("b", 5)},
    object(),
]
"""What has no place in an identity, or not in every field of it."""


class FailureTests(SynchronousTestCase):
    """Any failures of any plugins together."""

    def answers(self, gateway: InMemoryGateway, times: int = 2) -> list[Answer]:
        """Return the answers on both paths, twice each: the second may come from the cache."""
        sites = (gateway.entrance, gateway.public) * times
        return [gateway.ask("GET /authenticate", site, Authorization=ALICE) for site in sites]

    @settings(suppress_health_check=list(HealthCheck))
    @given(providers=PROVIDERS, augmenters=AUGMENTERS, signs=some.booleans())
    def test_any_failure_T60(
        self, *, providers: list[Scripted], augmenters: list[Adding], signs: bool
    ) -> None:
        """A 200 has a JWT for an identity from a provider, and no required augmenter failed."""
        gateway = InMemoryGateway({"include_legacy_headers": True})
        composed = gateway.serving.gateway
        composed.authenticator.providers = providers
        composed.authenticator._rounds = {"internal": [augmenters]}
        if not signs:
            composed.decisions._minter = BrokenMinter()
        answers = self.answers(gateway)
        self.flushLoggedErrors()
        good = (
            signs
            and any(each.accepts for each in providers)
            and all(each.behaviour.outcome is MORE for each in augmenters if each.required)
        )
        if good and all(each.accepts for each in providers):
            self.assertEqual({answer.status for answer in answers}, {200})
        for answer in answers:
            if answer.status != 200:
                self.assertIn(answer.status, {401, 500, 503})
                self.assertNotIn("authorization", answer.headers)
                self.assertFalse([name for name in answer.headers if name.startswith("x-auth")])
                self.assertNotIn(b"canary", answer.body)
                continue
            self.assertTrue(good, (providers, augmenters, signs))
            token = answer.headers["authorization"].removeprefix("Bearer ")
            claims = jwt.decode(
                token, BASE["jwt"]["secret"], ["HS256"], {"verify_exp": False, "verify_iat": False}
            )
            self.assertEqual(claims["sub"], "internal-tess")
            self.assertEqual(answer.headers["x-auth-username"], "tess")
            self.assertLessEqual(set(claims["roles"]), {"reader", "writer"})

    def test_odd_identities_T60(self) -> None:
        """Whatever an authentication contains, the claims of a 200 have the documented types."""
        gateway = InMemoryGateway({"auth": {"cache": {"ttl": 0}}})
        tess = Authentication(Identity("internal", "tess"))
        fields = (*Identity._fields, *Authentication._fields)
        for name, odd in product(fields, ODD):
            if name in Identity._fields:
                found = tess._replace(identity=tess.identity._replace(**{name: odd}))
            else:
                found = tess._replace(**{name: odd})
            provider = Scripted("p", Behaviour("soon", found), local=True)
            gateway.serving.gateway.authenticator.providers = [provider]
            with self.subTest(f"{name}: {odd!r}"):
                for answer in self.answers(gateway, times=1):
                    self.check_types(answer)
        self.flushLoggedErrors()

    def check_types(self, answer: Answer) -> None:
        if answer.status != 200:
            self.assertIn(answer.status, {401, 403, 500, 503})
            self.assertNotIn("authorization", answer.headers)
            return
        token = answer.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, options={"verify_signature": False})
        texts = [claims["sub"], claims["username"], claims["realm"], *claims["roles"]]
        texts += [*claims["attributes"], *claims["attributes"].values(), *claims["scopes"]]
        texts += [scope for scopes in claims["scopes"].values() for scope in scopes]
        self.assertEqual({type(text) for text in texts}, {str})
        self.assertIsInstance(claims["roles"], list)
        self.assertGreater(claims["exp"], claims["iat"])

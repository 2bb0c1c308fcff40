"""
Random trees of exchanged tokens, compared with a naive model: no token ever allows more than the
credential from which it was derived, and none outlives it or its revocation.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.config import schema, section
from authotron.config.exchange import ExchangeConfig
from authotron.jose import keys, minter
from authotron.jose.hidden_claims import hidden_claims
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.errors import ExceedsGrant, Rejected
from authotron.model.identity import Credential, Identity
from authotron.model.request import Facts
from authotron.model.token import Grant
from authotron.plugin.interfaces import Affinity, IProvider, IUserLookup
from authotron.policy import permissions
from authotron.policy.rules import Request
from authotron.testing.worlds import NOW, clock_at
from authotron.tokens.exchange import Bounds, ExchangeRequest
from authotron.tokens.exchanged_tokens import ExchangedTokens
from authotron.tokens.owners import Owners
from authotron.tokens.restriction_sets import from_json
from tests import STREAMS
from tests.policy import naive

ROLES = ("a", "b", "c")
SCOPES: Mapping[str, tuple[str, ...]] = {"s": ("x", "y"), "t": ("z",)}
ATTRIBUTES = {"team": "blue", "site": "here", "mail": "alice@example.org"}
AUDIENCE = ("p", "q")
USER = Identity("r", "alice", ROLES, ATTRIBUTES, SCOPES)
PEM = keys.generate("EdDSA")
MINTER_CONFIG = section.read(
    schema.JwtConfig,
    {"iss": "gate", "alg": "EdDSA", "key": PEM, "aud": [*AUDIENCE], "emit_aud": True},
    "jwt",
)
HIDDEN = hidden_claims([PEM], b"test")
LONGEST, LONGEST_UNCHECKED = 1000, 500

PATHS = ("/", "/x", "/x/", "/x/y", "/x/y/z", "/secret")
VERBS = ("GET", "PUT")
HOSTS = ("one.example.org", "two.example.org", "example.org")
NAMESPACES = ("/", "/n", "/n/m", "/nn")
ADDRESSES = ("10.0.0.1", "10.1.0.1", "192.0.2.1", "2001:db8::1")

resources = some.sampled_from(["/x", "/x/", "/x/*", "/x/**", "/**", "*", "/*/y", "/secret"])
permission_texts = some.builds(
    lambda sign, resource, verbs: f"{sign}{resource}:{verbs}",
    some.sampled_from(["", "", "-"]),
    resources,
    some.sampled_from(["*", "GET", "PUT", "GET,PUT"]),
)
sets = some.fixed_dictionaries(
    {},
    optional={
        "namespace": some.sampled_from(NAMESPACES),
        "permissions": some.lists(permission_texts, min_size=1, max_size=3),
        "hosts": some.lists(
            some.sampled_from([*HOSTS, "*.example.org", "*"]), min_size=1, max_size=2
        ),
        "networks": some.lists(
            some.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32"]),
            min_size=1,
            max_size=2,
        ),
        "methods": some.lists(some.sampled_from(VERBS), min_size=1, max_size=2),
    },
)


def subset(of: Sequence[str]) -> some.SearchStrategy[tuple[str, ...]]:
    return some.lists(some.sampled_from(of), unique=True).map(tuple)


scopes = some.dictionaries(some.sampled_from(["s", "t"]), subset(["x", "y", "z"]), max_size=2)
wishes = some.fixed_dictionaries(
    {},
    optional={
        "validity": some.integers(1, LONGEST + 50),
        "audience": subset(["p", "q", "other"]),
        "roles": subset([*ROLES, "d"]),
        "scopes": scopes,
        "cloak": subset([*ATTRIBUTES, "*", "unknown"]),
        "restrictions": some.lists(sets, max_size=2),
    },
)
requests = some.builds(
    Request,
    some.sampled_from(PATHS),
    some.sampled_from(VERBS),
    some.none(),
    some.sampled_from(NAMESPACES),
    some.sampled_from(HOSTS),
    some.sampled_from(ADDRESSES),
)
grants = some.builds(
    Grant,
    some.none() | subset(ROLES),
    some.none() | scopes,
    some.lists(some.sampled_from(["*.example.org", "example.org"]), max_size=1).map(tuple),
    some.lists(some.sampled_from(["10.0.0.0/8", "192.0.2.0/24"]), max_size=1).map(tuple),
    some.none() | some.integers(NOW + 1, NOW + 700),
    lineage=some.sampled_from([("api-1",), ("api-1", "api-2")]),
)
roots = some.tuples(
    some.none() | grants,
    some.sampled_from(["directory", "sso"]),
    some.none() | some.integers(NOW + 1, NOW + 700),
    some.none() | some.sampled_from(["jti-1"]),
)
steps = some.lists(some.tuples(some.integers(0, 5), wishes, some.integers(0, 120)), max_size=5)


@implementer(IProvider)
@define(eq=False)
class Sso:
    """A provider that cannot look users up."""

    name: str = "sso"
    realm: str = "r"
    type: str = "sso"
    scheme: str = "bearer"
    local: bool = False

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.FOREIGN

    async def authenticate(self, credential: Credential) -> Authentication:
        raise Rejected("none of mine")


@implementer(IProvider, IUserLookup)
@define(eq=False)
class Directory(Sso):
    """A provider that can look users up."""

    name: str = "directory"

    async def look_up(self, username: str) -> Authentication:
        return Authentication(USER)


@define
class ApiTokens:
    """The API tokens that are valid; revoking one revokes those that were created with it."""

    revoked: set[str] = field(factory=set)
    lineages: Mapping[str, tuple[str, ...]] = field(
        factory=lambda: {"api-1": ("api-1",), "api-2": ("api-1", "api-2")}
    )

    async def check_valid(self, id_: str) -> None:
        if not self.revoked.isdisjoint(self.lineages[id_]):
            raise Rejected("revoked")


@frozen
class Model:
    """What a credential allows, as the steps that led to it say."""

    ends: float | None
    roles: frozenset[str]
    scopes: Mapping[str, frozenset[str]]
    attributes: frozenset[str]
    audience: frozenset[str]
    sets: tuple[Mapping[str, Any], ...]
    ids: tuple[str, ...]

    def takes(self, wish: Mapping[str, Any], longest: int, now: float) -> bool:
        """Return whether a client with the credential may get what it requests."""
        asked = wish.get("validity")
        ends = self.ends
        is_timely = ends is None or (int(now) < int(ends))
        if asked is not None:
            is_timely = is_timely and asked <= longest
            is_timely = is_timely and (ends is None or int(now) + asked <= int(ends))
        audience = wish.get("audience")
        return (
            is_timely
            and set(wish.get("roles", ())) <= self.roles
            and all(
                set(each) <= self.scopes.get(name, frozenset())
                for name, each in wish.get("scopes", {}).items()
            )
            and (audience is None or (bool(audience) and set(audience) <= self.audience))
        )

    def child(self, wish: Mapping[str, Any], longest: int, now: float, id_: str) -> Model:
        """Return what a token allows that the client gets."""
        life = int(now) + min(wish.get("validity") or 300, longest)
        own = {name: frozenset(each) for name, each in wish.get("scopes", {}).items()}
        hidden = set(wish.get("cloak", ()))
        return Model(
            life if self.ends is None else min(life, int(self.ends)),
            self.roles & set(wish["roles"]) if "roles" in wish else self.roles,
            {name: self.scopes.get(name, frozenset()) & each for name, each in own.items()}
            if "scopes" in wish
            else self.scopes,
            frozenset() if "*" in hidden else self.attributes - hidden,
            self.audience & set(wish["audience"]) if "audience" in wish else self.audience,
            (*self.sets, *(each for each in wish.get("restrictions", ()) if each)),
            (*self.ids, id_),
        )

    def allows(self, request: Request) -> bool:
        return all(fits(each, request) for each in self.sets)


def fits(stated: Mapping[str, Any], request: Request) -> bool:
    """Return whether a request meets all parts of a restriction set, read one by one."""
    address = ipaddress.ip_address(request.address or "")
    parsed = [permissions.parse(each) for each in stated.get("permissions", ())]
    said = [each for each in parsed if naive.fits(each, request)]
    return (
        naive.within(request.namespace, stated.get("namespace", "/"))
        and (not parsed or (bool(said) and not any(each.denies for each in said)))
        and ("hosts" not in stated or any(is_host(each, request.host) for each in stated["hosts"]))
        and (
            "networks" not in stated
            or any(address in ipaddress.ip_network(each) for each in stated["networks"])
        )
        and ("methods" not in stated or request.verb in stated["methods"])
    )


def is_host(pattern: str, host: str) -> bool:
    if pattern == "*":
        return True
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def facts(request: Request) -> Facts:
    return Facts(
        method=request.verb,
        path=request.resource,
        host=request.host,
        port=None,
        address=request.address or "",
        namespace=request.namespace,
    )


@define
class Gate:
    """A gateway that issues and accepts exchanged tokens."""

    clock: Clock = field(factory=lambda: clock_at(NOW))
    api_tokens: ApiTokens = field(factory=ApiTokens)
    judge: ExchangedTokens = field(init=False)

    def __attrs_post_init__(self) -> None:
        config = section.read(ExchangeConfig, {"validity": 300, "max_validity": LONGEST})
        owners = Owners([Sso(), Directory()], self.clock, 60)
        signer = minter.make(MINTER_CONFIG, self.clock)
        tokens: Any = self.api_tokens
        self.judge = ExchangedTokens(
            Bounds(config, LONGEST_UNCHECKED, AUDIENCE),
            signer,
            "gate",
            HIDDEN,
            owners,
            self.clock,
            300,
            5,
            tokens,
        )

    def exchange(self, parent: Authentication, wish: Mapping[str, Any]) -> str | None:
        """Return the token that a client gets, or C{None} if the request is refused."""
        given = {**wish, "restrictions": tuple(map(from_json, wish.get("restrictions", ())))}
        work = ensureDeferred(self.judge.issue(parent, ExchangeRequest(**given)))
        found: list[Any] = []
        work.addBoth(found.append)
        if isinstance(found[0], Exception) or hasattr(found[0], "trap"):
            found[0].trap(ExceedsGrant)
            return None
        return str(found[0].text)

    def authenticate(self, text: str) -> Authentication | None:
        """Return the authentication by a token, or C{None} if the token is rejected."""
        found: list[Any] = []
        work = ensureDeferred(self.judge.authenticate(Credential("bearer", text)))
        work.addBoth(found.append)
        if hasattr(found[0], "trap"):
            found[0].trap(Rejected)
            return None
        authentication: Authentication = found[0]
        return authentication.restricted()


def root_of(
    grant: Grant | None, provider: str, ends: float | None, jti: str | None
) -> tuple[Authentication, Model]:
    """Return the first credential of a tree, and what it allows."""
    everything = {name: frozenset(each) for name, each in SCOPES.items()}
    names = frozenset(ATTRIBUTES)
    roles, whole = frozenset(ROLES), frozenset(AUDIENCE)
    if grant is None:
        token = None if jti is None else PresentedToken(jti, NOW - 5)
        found = Authentication(USER, provider, ends, token=token)
        ids = () if jti is None else (jti,)
        return found, Model(ends, roles, everything, names, whole, (), ids)
    found = Authentication(
        USER,
        provider,
        grant.expires,
        conditions=(grant,) if grant.is_limited else (),
        restriction=grant,
        token=PresentedToken(grant.lineage[-1], NOW - 5, grant.lineage[:-1]),
    ).restricted()
    limits = {"hosts": [*grant.hosts], "networks": [*grant.networks]}
    stated = {name: each for name, each in limits.items() if each}
    model = Model(
        grant.expires,
        roles if grant.roles is None else frozenset(grant.roles),
        everything
        if grant.scopes is None
        else {n: everything.get(n, frozenset()) & set(each) for n, each in grant.scopes.items()},
        names,
        whole,
        (stated,) if stated else (),
        grant.lineage,
    )
    return found, model


class ChainTests(SynchronousTestCase):
    """Random trees of tokens."""

    @settings(max_examples=STREAMS)
    @given(roots, steps, some.lists(requests, min_size=6, max_size=10), some.integers(0, 400))
    def test_narrowing_T52(self, root: Any, taken: Any, asked: list[Request], pause: int) -> None:
        """A token allows exactly what the naive model says, and never more than its parent."""
        gate = Gate()
        longest = LONGEST if root[1] == "directory" else LONGEST_UNCHECKED
        parent, model = root_of(*root)
        nodes: list[tuple[str, Model, int]] = []
        known: list[tuple[Authentication, Model]] = [(parent, model)]
        for place, wish, wait in taken:
            at = place % len(known)
            parent, model = known[at]
            now = gate.clock.seconds()
            if at and gate.authenticate(nodes[at - 1][0]) is None:
                self.assertLessEqual(model.ends or 0, now)
                continue
            text = gate.exchange(parent, wish)
            self.assertEqual(text is not None, model.takes(wish, longest, now), (wish, model))
            if text is None:
                continue
            found = gate.authenticate(text)
            assert found is not None
            assert found.token is not None
            assert found.token.id is not None
            child = model.child(wish, longest, now, found.token.id)
            self.check(found, child, model, asked)
            nodes.append((text, child, at))
            known.append((found, child))
            gate.clock.advance(wait)
        gate.clock.advance(pause)
        now = gate.clock.seconds()
        for text, child, _ in nodes:
            is_alive = child.ends is not None and now < child.ends
            self.assertEqual(gate.authenticate(text) is not None, is_alive)

    def check(
        self, found: Authentication, child: Model, parent: Model, asked: Sequence[Request]
    ) -> None:
        """Compare a token with its model, and its model with that of its parent."""
        identity, token, restriction = found.identity, found.token, found.restriction
        assert token is not None
        self.assertEqual(set(identity.roles), child.roles)
        left = {name: frozenset(each) for name, each in identity.scopes.items() if each}
        self.assertEqual(left, {name: each for name, each in child.scopes.items() if each})
        self.assertEqual(identity.attributes.keys(), child.attributes)
        audience = AUDIENCE if token.audience is None else token.audience
        self.assertEqual(set(audience), child.audience)
        self.assertEqual(getattr(restriction, "expires", None), child.ends)
        self.assertEqual((*token.ancestors, token.id), child.ids)
        self.assertLessEqual(found.expires or 0, child.ends or 0)
        self.assertLessEqual(child.roles, parent.roles)
        self.assertLessEqual(child.attributes, parent.attributes)
        self.assertLessEqual(child.audience, parent.audience)
        if parent.ends is not None:
            self.assertLessEqual(child.ends or 0, parent.ends)
        for request in asked:
            is_allowed = all(each.holds(facts(request)) for each in found.conditions)
            self.assertEqual(is_allowed, child.allows(request), (request, child.sets))
            if is_allowed:
                self.assertTrue(parent.allows(request))

    @settings(max_examples=STREAMS)
    @given(roots, steps, some.integers(0, 20), some.booleans())
    def test_revoked_parents(self, root: Any, taken: Any, place: int, is_api: bool) -> None:  # noqa: FBT001 - hypothesis passes it by position
        """Revoking a token revokes exactly those that were derived from it, over any number of
        exchanges.
        """
        gate = Gate()
        parent, model = root_of(*root)
        known: list[tuple[Authentication, tuple[str, ...]]] = [(parent, model.ids)]
        texts: list[tuple[str, tuple[str, ...]]] = []
        for at, wish, _ in taken:
            above, ids = known[at % len(known)]
            text = gate.exchange(above, {"restrictions": wish.get("restrictions", ())})
            found = None if text is None else gate.authenticate(text)
            if text is None or found is None:
                continue
            assert found.token is not None
            known.append((found, (*ids, str(found.token.id))))
            texts.append((text, known[-1][1]))
        every = sorted({each for _, ids in known for each in ids})
        if not every:
            return
        revoked = every[place % len(every)]
        for found, ids in known[1:]:
            assert found.token is not None
            named = {*found.token.ancestors, found.token.id}
            self.assertEqual(revoked in named, revoked in ids)
            self.assertEqual(set(getattr(found.restriction, "lineage", ())), named)
        if is_api and revoked in gate.api_tokens.lineages:
            gate.api_tokens.revoked.add(revoked)
            for text, ids in texts:
                self.assertEqual(gate.authenticate(text) is None, revoked in ids)

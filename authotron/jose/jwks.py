"""Published keys: fetched, kept, looked at again for a new one; and tokens verified with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jwt
from attrs import define, field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.concurrency.single_flight import SingleFlight
from authotron.jose.keys import PUBLIC_MEMBERS, PublicKey, check_strength
from authotron.model.errors import Rejected, Unavailable
from authotron.net.http import RemoteConfig, WebClient, check_url
from authotron.net.world import World

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""Signatures that a published key can check. A shared secret is never published."""

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA = ALGORITHMS[:6]
_LARGEST_RSA = 8192
_MOST_KEYS = 200
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_LIMIT = 1_048_576

_LIFE = 600.0
"""Seconds after which keys are fetched again."""

_LAST_RESORT = 86_400.0
"""Seconds that the last good ones serve on where that fails."""

_COOLDOWN = 10.0
"""Seconds between two attempts."""

_PATIENCE = 10.0
"""Seconds that one may take."""

_DISCOVERED = 3600.0
"""Seconds that an issuer's word is believed about where its keys are."""


_log = Logger()


@frozen
class Key:
    """A key, and the only algorithms it may be used with."""

    public: PublicKey | bytes = field(repr=False)
    algorithms: Sequence[str]


KeysByName = Mapping[str, Sequence[Key]]


class UnsafeKey(ValueError):
    """A key that signatures could be made with by others than its owner."""


def read(document: Mapping[str, Any], place: str) -> KeysByName:
    """
    The usable keys of a set (RFC 7517); what is of no use here is passed over.

    A key that is not safe to use is passed over with a warning.

    @raise Unavailable: it is no key set.
    """
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise Unavailable(f"{place} is no key set")
    found: dict[str, list[Key]] = {}
    for each in listed[:_MOST_KEYS]:
        try:
            key = _key(each) if isinstance(each, dict) else None
        except UnsafeKey as unsafe:
            _log.warn(
                "key {kid} published at {place} is not used: it {reason}",
                kid=repr(each["kid"][:100]),
                place=place,
                reason=str(unsafe),
                event="jwks.key.unsafe",
            )
            continue
        if key is not None:
            found.setdefault(each["kid"], []).append(key)
    return found


def _key(jwk: dict[str, Any]) -> Key | None:
    """
    The key in a JSON Web Key, if it is one for signatures that are known here.

    @raise UnsafeKey: it is, but signatures made with it prove nothing.
    """
    named = isinstance(jwk.get("kid"), str) and jwk["kid"]
    operations = jwk.get("key_ops")
    for_signatures = jwk.get("use") in (None, "sig") and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )
    if not (named and for_signatures):
        return None
    try:
        public, algorithms = _public(jwk)
    except UnsafeKey:
        raise
    except (jwt.InvalidKeyError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    if jwk.get("alg") is not None:
        algorithms = [each for each in algorithms if each == jwk["alg"]]
    return Key(public, algorithms) if algorithms else None


def _public(jwk: dict[str, Any]) -> tuple[PublicKey, Sequence[str]]:
    """
    The key and all it could do.

    @raise UnsafeKey: it is published whole, or too weak.
    @raise ValueError: it is malformed, or of a kind that is not used; or another exception of the
        libraries, see L{_key}.
    """
    members: dict[str, Any] = {name: value for name, value in jwk.items() if name in PUBLIC_MEMBERS}
    if not all(isinstance(value, str) for value in members.values()):
        raise ValueError("a member that is not a string")
    key: Any  # of the kind of C{kty}, and public, as no private member is read
    algorithms: Sequence[str]
    match jwk.get("kty"):
        case "RSA":
            key, algorithms = jwt.algorithms.RSAAlgorithm.from_jwk(members), _RSA
            if key.key_size > _LARGEST_RSA:
                raise ValueError("a size that is not used")
        case "EC":
            key = jwt.algorithms.ECAlgorithm.from_jwk(members)
            algorithms = [_CURVES[members["crv"]]]
        case "OKP" if members.get("crv") == "Ed25519":
            key = jwt.algorithms.OKPAlgorithm.from_jwk(members)
            algorithms = ["EdDSA"]
        case _:
            raise ValueError("a kind that is not used")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise UnsafeKey("is published together with its private part")
    try:
        check_strength(key)
    except ValueError as weakness:
        raise UnsafeKey(str(weakness)) from None
    return key, algorithms


# --- where keys are ---


class Source(Protocol):
    """Where a key set is published."""

    async def __call__(self) -> KeysByName:
        """
        Fetch it.

        @raise Unavailable: it cannot be had.
        """


@define(eq=False)
class FixedUrl:
    """A key set at an address of its own."""

    _web: WebClient
    _url: str

    async def __call__(self) -> KeysByName:
        return await fetch(self._web, self._url)


@define(eq=False)
class Discovery:
    """The key set of an issuer, found through its own description (OpenID Discovery 1.0)."""

    _web: WebClient
    _clock: IReactorTime
    _issuer: str
    _url: str | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)

    async def __call__(self) -> KeysByName:
        if self._url is None or self._clock.seconds() >= self._until:
            self._url = await self._discover()
            self._until = self._clock.seconds() + _DISCOVERED
        try:
            return await fetch(self._web, self._url)
        except Unavailable:
            self._url = None
            raise

    async def _discover(self) -> str:
        place = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        answer = await self._web.get(place, limit=_LIMIT, timeout=_PATIENCE)
        if not answer.good:
            raise answer.unexpected()
        described = answer.mapping()
        if described.get("issuer") != self._issuer:
            raise Unavailable(f"{place} describes another issuer")
        found = described.get("jwks_uri")
        schemes = ("https://",) if self._issuer.startswith("https://") else ("https://", "http://")
        try:
            if isinstance(found, str) and found.startswith(schemes):
                return check_url(found)
        except ValueError:
            pass
        raise Unavailable(f"{place} names no usable jwks_uri")


async def fetch(web: WebClient, url: str) -> KeysByName:
    """
    The keys published at C{url}.

    @raise Unavailable: they cannot be had.
    """
    answer = await web.get(url, limit=_LIMIT, timeout=_PATIENCE)
    if not answer.good:
        raise answer.unexpected()
    return read(answer.mapping(), answer.place)


@define(eq=False)
class KeySet:
    """
    Keys by their names, as fresh as need be.

    They are fetched when first needed and, in the background, again after ten minutes. For a name
    that is not known they are fetched once more, but not more often than every ten seconds: a flood
    of made-up names costs the issuer nothing. Where a fetch fails the last good set serves on, for
    a day at most.
    """

    _clock: IReactorTime
    _source: Source
    _keys: KeysByName | None = field(default=None, init=False, repr=False)
    _fetched: float = field(default=0.0, init=False)
    _tried: float = field(default=0.0, init=False)
    _searched: float = field(default=float("-inf"), init=False)
    _fetching: bool = field(default=False, init=False)
    _failed: bool = field(default=False, init=False)
    _is_due: bool = field(default=False, init=False)
    _flights: SingleFlight[KeysByName] = field(
        factory=lambda: SingleFlight(outlives_callers=True), init=False
    )
    _refreshing: Deferred[None] | None = field(default=None, init=False, repr=False)
    _log = Logger()

    async def named(self, kid: str) -> Sequence[Key]:
        """
        The keys of this name.

        @raise Rejected: there are none.
        @raise Unavailable: that could not be found out.
        """
        before = self._keys
        keys = await self._current()
        if kid not in keys and keys is before:
            keys = await self._searched_for()
        if kid not in keys:
            raise Rejected("signed with a key that is not published")
        return keys[kid]

    async def _searched_for(self) -> KeysByName:
        """
        Look again for a name that is not known.

        @raise Unavailable: that failed now, or so short a while ago that it is not tried again.
        """
        now = self._clock.seconds()
        if self._fetching:
            return await self._refreshed()
        if now >= self._searched + _COOLDOWN:
            self._searched = now
            return await self._refreshed()
        if self._failed or self._keys is None:
            raise Unavailable("the key set could not be searched for a new key")
        return self._keys

    async def check_reachable(self) -> None:
        """
        Fetch the keys if there are none.

        @raise Unavailable: they cannot be had.
        """
        await self._current()

    def renew(self) -> None:
        """Fetch the keys anew when they are needed next, in the background."""
        self._is_due = True

    @property
    def is_at_hand(self) -> bool:
        """Whether there are keys, so that the issuer need not be asked for one of those."""
        return self._keys is not None and self._clock.seconds() < self._fetched + _LAST_RESORT

    def knows(self, kid: str) -> bool:
        """Whether L{named} returns a key, or refuses, without asking the issuer."""
        if not self.is_at_hand or self._keys is None:
            return False
        may_search = self._fetching or self._clock.seconds() >= self._searched + _COOLDOWN
        return kid in self._keys or not may_search

    async def _current(self) -> KeysByName:
        now = self._clock.seconds()
        if self._keys is None or now >= self._fetched + _LAST_RESORT:
            return await self._refreshed()
        due = self._is_due or now >= self._fetched + _LIFE
        if due and now >= self._tried + _COOLDOWN:
            self._refreshing = Deferred.fromCoroutine(self._refresh_in_background())
        return self._keys

    async def _refresh_in_background(self) -> None:
        """Fetch the keys anew; no request waits for that, as the old keys are good meanwhile."""
        try:
            await self._refreshed()
        except Unavailable as unavailable:
            self._log.warn(
                "refreshing a key set failed, its keys of {age} s ago remain in use: {reason}",
                age=round(self._clock.seconds() - self._fetched),
                reason=str(unavailable),
                event="jwks.refresh.failed",
            )
        except Exception:  # noqa: BLE001 - a defect; it is the failure of no request
            self._log.failure("refreshing a key set failed", event="jwks.refresh.broken")

    async def _refreshed(self) -> KeysByName:
        return await self._flights.result("keys", self._refresh)

    async def _refresh(self) -> KeysByName:
        self._tried, self._fetching, self._failed = self._clock.seconds(), True, True
        try:
            keys = await self._source()
        finally:
            self._fetching = False
        self._keys, self._fetched, self._failed = keys, self._clock.seconds(), False
        self._is_due = False
        return keys


def key_set(
    config: RemoteConfig, world: World, web: WebClient, *, url: str | None, issuer: str
) -> KeySet:
    """
    The key set at C{url}, or that of C{issuer}.

    After a reload it is the same as before, with its keys, unless what it was made of has changed:
    an issuer that cannot be reached just then would make all its tokens useless otherwise. Keys
    that the issuer has removed are gone as soon as it answers.
    """
    connections = world.narrow(config.connections)
    place = (url, None) if url is not None else (None, issuer)
    name = (KeySet, place, config.trust(), config.timeout, world.patience, connections)
    known = world.lasting.get(name)
    if isinstance(known, KeySet):
        known.renew()
        return known
    source = Discovery(web, world.clock, issuer) if url is None else FixedUrl(web, url)
    world.lasting[name] = made = KeySet(world.clock, source)
    return made


# --- tokens ---

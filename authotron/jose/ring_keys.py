"""The keys of a gateway that shares its signing keys with other gateways through a token store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from attrs import define, field, frozen

from authotron.concurrency.waiters import Waiters
from authotron.config.schema import JwtConfig
from authotron.jose import key_ring
from authotron.jose.key_ring import KeyPair, KeyRing, Plan, SigningKey
from authotron.jose.keys import PrivateKey, PublicKey, as_jwk, generate, private_key, thumbprint
from authotron.jose.signing import Signer, published
from authotron.model.errors import KeysUnknown

_UNKNOWN = "the signing keys in the token store have not been read yet"
_OUTDATED = (
    "the token store has not been reached since the last known signing key was due to be replaced"
)


@frozen
class _View:
    """
    The signing keys of a key ring between two moments at which a key changes its state.

    @ivar begin: the moment of the last change before.
    @ivar end: the moment of the first change after.
    @ivar signs_until: when the key of C{signer} ceases to sign.
    """

    begin: float
    end: float
    signer: Signer
    signs_until: float
    public: Mapping[str, PublicKey]
    jwks: Mapping[str, Any]


@define(eq=False)
class RingKeys:
    """
    The signing keys of a key ring, which change their states as time passes.

    No method of L{RingKeys} needs the token store, so an outage of the token store does not delay a
    change from one signing key to the next.

    @ivar plan: how the gateways rotate the signing keys.
    @ivar ring: the key ring in use, or C{None} before the ring is known.
    @ivar confirmed: when the token store was last seen to contain the ring in use, in seconds since
        the epoch.
    @ivar first_read: the requests that wait for the first attempt to read the ring.
    @ivar _further: keys that are published too, and are not in the ring, by their ids.
    """

    plan: Plan
    _further: Mapping[str, PublicKey] = field(factory=dict)
    ring: KeyRing | None = field(default=None, init=False)
    confirmed: float = field(default=-inf, init=False)
    first_read: Waiters[None] | None = field(default=None, init=False)
    _view: _View | None = field(default=None, init=False)
    _loaded: dict[str, tuple[Signer, PublicKey]] = field(factory=dict, init=False, repr=False)

    def use(self, ring: KeyRing, confirmed: float) -> None:
        """
        Use a ring.

        @param confirmed: when the token store was last seen to contain the key ring.
        """
        if ring != self.ring:
            kids = {key.kid for key in ring.keys}
            self._loaded = {kid: each for kid, each in self._loaded.items() if kid in kids}
            self.ring, self._view = ring, None
        self.confirmed = confirmed

    def use_temporary(self, now: float) -> None:
        """Use a new key that no gateway knows, to measure the JWTs of this gateway."""
        self.use(key_ring.first(new_pair(self.plan), now, self.plan), now)

    def signer(self, now: float) -> Signer:
        view = self._view_at(now)
        if now >= self._outdated_from():
            raise KeysUnknown(_OUTDATED)
        return view.signer

    def signs_until(self, now: float) -> float:
        view = self._view_at(now)
        return min(view.signs_until, self._outdated_from())

    def _outdated_from(self) -> float:
        """
        Return the time from which this gateway does not sign, because the other gateways may have
        replaced all keys that this gateway knows; if only operators promote keys, there is no such
        time.
        """
        if self.ring is None or self.plan.rotation is None:
            return inf
        return self.ring.known_until(self.confirmed, self.plan)

    def verification_key(self, kid: str, now: float) -> tuple[str | PublicKey, str] | None:
        """
        Return the key that verifies the JWTs with a key id, and its algorithm, or C{None} if no
        gateway has a key with this id.

        @raise KeysUnknown: the ring is not known, or another gateway may have a key with this id.
        """
        key = self._view_at(now).public.get(kid)
        if key is not None:
            return key, as_jwk(key)["alg"]
        if now >= self._certain_until():
            raise KeysUnknown(_OUTDATED)
        return None

    def jwks(self, now: float) -> Mapping[str, Any]:
        """
        Return the published keys.

        @raise KeysUnknown: the ring is not known, or other gateways may have replaced all keys that
            this gateway knows.
        """
        view = self._view_at(now)
        if now >= self._outdated_from() - self.plan.most_skew:
            raise KeysUnknown(_OUTDATED)
        return view.jwks

    def max_age(self, now: float) -> int:
        """
        Return for how many seconds clients may cache the published keys: as configured, but only as
        long as this gateway is certain to know all keys that may sign.
        """
        left = self._certain_until() - now
        return int(max(0.0, min(self.plan.caching, left)))

    def _certain_until(self) -> float:
        """Return until when no gateway, whatever its clock, signs with a key that is not known."""
        if self.ring is None:
            return -inf
        return self.ring.known_until(self.confirmed, self.plan) - self.plan.most_skew

    def algorithms(self, now: float) -> Sequence[str]:
        return sorted({as_jwk(key)["alg"] for key in self._view_at(now).public.values()})

    def _view_at(self, now: float) -> _View:
        view = self._view
        if view is not None and view.begin <= now < view.end:
            return view
        if self.ring is None:
            raise KeysUnknown(_UNKNOWN)
        found = self._view = self._make_view(self.ring, now)
        return found

    def _make_view(self, ring: KeyRing, now: float) -> _View:
        active = ring.active(now)
        public = {key.kid: self._load(key)[1] for key in ring.published(now, self.plan)}
        public.update({kid: key for kid, key in self._further.items() if kid not in public})
        begin, end = ring.unchanged(now, self.plan)
        signer = self._load(active)[0]
        return _View(begin, end, signer, ring.ends(active), public, published(public))

    def _load(self, key: SigningKey) -> tuple[Signer, PublicKey]:
        found = self._loaded.get(key.kid)
        if found is None:
            private = load(key.pair)
            signer = Signer(key.pair.algorithm, key.kid, private)
            found = self._loaded[key.kid] = signer, private.public_key()
        return found


def load(pair: KeyPair) -> PrivateKey:
    """
    Return the private key of a pair.

    @raise ConfigError: the private key is malformed or unsafe.
    """
    return private_key(pair.algorithm, pair.pem.encode(), "the token store")


def new_pair(plan: Plan) -> KeyPair:
    """Generate a key pair; for RS256 this takes up to a second."""
    pem = generate(plan.algorithm)
    key = private_key(plan.algorithm, pem.encode(), "the new key")
    return KeyPair(thumbprint(key.public_key()), plan.algorithm, pem)


def configured_pair(config: JwtConfig) -> KeyPair | None:
    """
    Return the key pair that a configuration names, which becomes the first key of an empty token
    store, or C{None} if the configuration names no key.
    """
    if config.key is None:
        return None
    pem = config.key.get_secret_value()
    key = private_key(config.alg, pem.encode(), "jwt.key")
    return KeyPair(config.kid or thumbprint(key.public_key()), config.alg, pem)


def plan_of(config: JwtConfig, longest: int) -> Plan:
    """
    Return how the keys of a configuration are rotated.

    @param longest: the maximum lifetime in seconds of any JWT that the gateway signs.
    """
    return Plan(config.alg, config.rotation, config.key_set_lifetime, config.key_spread, longest)

"""Mint the signed JWT that tells backends about an identity."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

import jwt
from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.concurrency.waiters import Waiters
from authotron.config.schema import Algorithm, JwtConfig
from authotron.jose.keys import (
    PrivateKey,
    PublicKey,
    base64url,
    private_key,
    public_key,
    thumbprint,
)
from authotron.jose.signing import Keys, Signer, StaticKeys
from authotron.model.authentication import Acting, Authentication
from authotron.model.errors import ConfigError, Problem, Rejected
from authotron.model.identity import Identity

_ID_BYTES, _ID_LETTERS = 12, 16
"""Number of random bytes in a C{jti}, and the length of the C{jti} in base64url."""

_WARNING_INTERVAL = 3600
"""Seconds between two warnings of a large JWT of one user."""

_MAX_WARNED = 1000
"""Maximum number of users whose last warning of a large JWT is remembered."""


LIMITED, SOURCE = "limited", "source"
"""
The claims by which a provider of type C{own-jwt} knows for which credential a JWT was minted:
whether the credential has limits that the JWT does not state, and which provider verified it.
"""


PARENTS, ORIGIN = "parents", "origin"
"""
The claims by which a provider of type C{own-jwt} knows for which token a JWT was minted: the ids of
the token and of its ancestors, and the time at which the token was issued (C{null} if that is not
known).
"""


ClaimsOf = Callable[[Authentication], Sequence[str]]
"""A function that returns the claims C{key=value} of an identity, to which policies are applied."""


StatusOf = Callable[[Authentication, str, float], Mapping[str, Any]]
"""
A function that returns the claim C{status} for a JWT, given its C{jti} and the time at which it
expires.
"""


@define(eq=False)
class Minter:
    """
    Mints JWTs, and publishes the keys that verify them.

    @ivar max_lifetime: the maximum number of seconds for which a JWT is valid.
    @ivar warn_bytes: length of a JWT above which the log warns.
    @ivar _profile: the profile that the claims of the JWTs follow, if one is configured.
    @ivar keys: the keys that sign and verify.
    @ivar _claims_of: a function that returns the claims of an identity, if the JWTs contain them.
    @ivar _states_source: whether JWTs state for which credential they were minted.
    @ivar _status_of: a function that returns the place of a JWT in a Token Status List, or C{None}
        if the JWTs refer to no list.
    """

    _clock: IReactorTime
    _issuer: str
    _audience: str | list[str] | None
    max_lifetime: int
    warn_bytes: int
    keys: Keys = field(repr=False)
    _claims_of: ClaimsOf | None = None
    _states_source: bool = False
    _profile: str | None = None
    _status_of: StatusOf | None = None
    _next_warnings: dict[tuple[str, str], int] = field(factory=dict, init=False, repr=False)
    _log = Logger()
    _ids: Iterator[str] = field(init=False, repr=False)
    _has_further_claims: bool = field(init=False, repr=False)
    _has_fixed_keys: bool = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._ids = _ids()
        further = self._claims_of, self._profile, self._status_of
        self._has_further_claims = self._states_source or further != (None, None, None)
        self._has_fixed_keys = isinstance(self.keys, StaticKeys)

    @property
    def algorithm(self) -> Algorithm:
        """
        The algorithm of the key that signs now.

        @raise KeysUnknown: the gateway does not know which key signs.
        """
        return self.keys.signer(self._clock.seconds()).algorithm

    @property
    def algorithms(self) -> Sequence[str]:
        """
        The algorithms of the JWTs of this gateway, now or after the next change of the keys.

        @raise KeysUnknown: the keys are not known.
        """
        return self.keys.algorithms(self._clock.seconds())

    @property
    def signs_until(self) -> float:
        """
        The moment from which JWTs are signed by another key than now, in seconds since the epoch;
        infinite if the keys change only with the configuration.
        """
        return inf if self._has_fixed_keys else self.keys.signs_until(self._clock.seconds())

    @property
    def first_read(self) -> Waiters[None] | None:
        """The requests that wait until the keys have been read for the first time, if any."""
        return self.keys.first_read

    @property
    def jwks(self) -> Mapping[str, Any]:
        """
        The published key set.

        @raise KeysUnknown: the keys are not known.
        """
        return self.keys.jwks(self._clock.seconds())

    @property
    def jwks_max_age(self) -> int:
        """The number of seconds for which clients may cache the published key set."""
        return self.keys.max_age(self._clock.seconds())

    def sign(self, claims: Mapping[str, Any], typ: str = "JWT") -> str:
        """
        Return a signed JWT with the given claims.

        @param typ: the type of the JWT, which its header states (RFC 8725 section 3.11).

        @raise KeysUnknown: the gateway does not know which key signs.
        """
        return self.keys.signer(self._clock.seconds()).sign(claims, typ)

    def mint(self, authentication: Authentication) -> str:
        """
        Return a signed JWT for an authenticated identity.

        The JWT is valid for the configured lifetime, but does not outlive the credential of the
        client.

        @raise Rejected: the identity has expired.
        @raise BadIdentity: JWTs are configured to contain the claims of identities, and the
            identity has a claim that only the gateway may set.
        @raise KeysUnknown: the gateway does not know which key signs.
        """
        seconds = self._clock.seconds()
        now = int(seconds)
        token = self.keys.signer(seconds).sign(
            self.claims(authentication, now), self._profile or "JWT"
        )
        if len(token) > self.warn_bytes:
            self._note_size(authentication.identity, len(token), now)
        return token

    def _note_size(self, identity: Identity, size: int, now: int) -> None:
        """Warn of a large JWT, once an hour for each of up to 1000 users."""
        user = (identity.realm, identity.username)
        if now < self._next_warnings.get(user, 0):
            return
        if len(self._next_warnings) >= _MAX_WARNED:
            self._next_warnings.clear()
        self._next_warnings[user] = now + _WARNING_INTERVAL
        self._log.warn(
            "the JWT of {username} in realm {realm} has {bytes} bytes, more than jwt.warn_bytes "
            "({limit}): {roles} roles, {attributes} attributes; backends or the proxy may refuse "
            "it",
            username=identity.username,
            realm=identity.realm,
            bytes=size,
            limit=self.warn_bytes,
            roles=len(identity.roles),
            attributes=len(identity.attributes),
            event="auth.jwt.large",
        )

    def claims(self, authentication: Authentication, now: int) -> dict[str, Any]:
        """
        Return the claims of a JWT that is minted at C{now}.

        @raise Rejected: the identity has expired.
        """
        identity, ends = authentication.identity, authentication.expires_at()
        longest = now + self.max_lifetime
        expires = longest if ends is None else min(longest, int(ends))
        if expires <= now:
            raise Rejected("the identity has expired")
        claims = {
            "sub": f"{identity.realm}-{identity.username}",
            "iss": self._issuer,
            "exp": expires,
            "iat": now,
            "jti": next(self._ids),
            **identity_as_json(identity),
        }
        if self._has_further_claims:
            self._add_further_claims(claims, authentication)
        token, audience = authentication.token, self._audience
        if token is not None:
            if token.actors:
                claims["act"] = actors_as_claim(token.actors)
            if token.audience is not None:
                audience = [*token.audience]
        return {"aud": audience, **claims} if audience is not None else claims

    def _add_further_claims(self, claims: dict[str, Any], authentication: Authentication) -> None:
        """Add the claims that JWTs contain only with some configurations."""
        if self._claims_of is not None:
            claims["identity"] = self._claims_of(authentication)
        if self._states_source:
            claims[SOURCE] = authentication.provider
            claims.update(_descent(authentication))
            if _is_limited(authentication):
                claims[LIMITED] = True
        if self._profile is not None:
            from authotron.jose.access_tokens import profile_claims  # noqa: PLC0415 - only needed here

            claims.update(profile_claims(authentication, str(claims["sub"])))
        if self._status_of is not None:
            claims["status"] = self._status_of(authentication, str(claims["jti"]), claims["exp"])

    @property
    def audience(self) -> tuple[str, ...]:
        """The audiences that minted JWTs name; empty if they name none."""
        named = self._audience
        if named is None:
            return ()
        return (named,) if isinstance(named, str) else tuple(named)

    def emitting(self, claims_of: ClaimsOf) -> Minter:
        """
        Return a copy of this minter whose JWTs also contain the claims of identities, in the JWT
        claim C{identity}.
        """
        return evolve(self, claims_of=claims_of)

    def stating_source(self) -> Minter:
        """
        Return a copy of this minter whose JWTs also state for which credential they were minted, so
        that they can be accepted as credentials themselves.
        """
        return evolve(self, states_source=True)

    def referring(self, status_of: StatusOf) -> Minter:
        """
        Return a copy of this minter whose JWTs also refer to a place in a Token Status List, in the
        JWT claim C{status}.
        """
        return evolve(self, status_of=status_of)

    def verify(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        Verify a JWT that this minter signed, and return its header and its claims.

        @raise jwt.InvalidTokenError: the JWT has expired, or was not signed by this minter.
        @raise KeysUnknown: the keys are not known.
        """
        header = jwt.get_unverified_header(token)
        found = self.keys.verification_key(header.get("kid", ""), self._clock.seconds())
        if found is None:
            raise jwt.InvalidSignatureError("the JWT is signed with none of the configured keys")
        key, algorithm = found
        options = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, key, [algorithm], options, issuer=self._issuer)  # type: ignore[arg-type] # some of the options
        if not self._clock.seconds() < claims.get("exp", 0):
            raise jwt.ExpiredSignatureError("the JWT has expired")
        return header, claims


def actors_as_claim(actors: Sequence[Acting]) -> dict[str, Any]:
    """
    Return the claim C{act} of a JWT: the identity that acts in the name of the user, and nested in
    it those that have passed the right to act on to it (RFC 8693 section 4.1).

    @param actors: the identities, of which there must be one, as in L{PresentedToken}.
    """
    claim: dict[str, Any] = {}
    for each in reversed(actors):
        realm, username = each.identity[:2]
        claim = {"sub": f"{realm}-{username}", **({"act": claim} if claim else {})}
    return claim


def _is_limited(authentication: Authentication) -> bool:
    """Return whether a credential has limits that a JWT which is minted for it does not state."""
    token = authentication.token
    is_bound = token is not None and (
        token.audience is not None or bool(token.actors) or token.binding is not None
    )
    return bool(authentication.conditions) or authentication.restriction is not None or is_bound


def _descent(authentication: Authentication) -> dict[str, Any]:
    """Return the claims that state from which token a JWT comes, so that it is revoked with it."""
    token = authentication.token
    if token is None or (token.id is None and token.issued is None):
        return {}
    parents = [*([] if token.id is None else [token.id]), *token.ancestors]
    origin = None if token.issued is None else int(token.issued)
    return {**({PARENTS: parents} if parents else {}), ORIGIN: origin}


def identity_as_json(identity: Identity) -> dict[str, Any]:
    """Return an identity as a mapping, in the form of JWTs and of C{/whoami}."""
    return {
        "username": identity.username,
        "realm": identity.realm,
        "roles": identity.roles,
        "attributes": dict(identity.attributes) if identity.attributes else {},
        "scopes": dict(identity.scopes) if identity.scopes else {},
    }


def make(config: JwtConfig, clock: IReactorTime, longest: int | None = None) -> Minter:
    """
    Build the minter from the C{jwt} section of a configuration.

    @param longest: the maximum lifetime in seconds of any JWT that the gateway signs, if it is
        longer than that of the JWTs for backends.

    @raise ConfigError: a key file cannot be read, or its key does not fit the algorithm.
    """
    problems: list[Problem] = []
    private = None if config.alg == "HS256" else _configured_key(config, problems)
    public = {} if private is None else {_kid(config, private): private.public_key()}
    previous = dict(_previous_keys(config, problems))
    if problems:
        raise ConfigError(problems)
    audience = list(config.aud) if isinstance(config.aud, tuple) else config.aud
    keys: Keys
    if config.sealing_key is not None:
        keys = _ring_keys(config, previous, longest or config.exp)
    else:
        secret = config.secret.get_secret_value() if config.secret else ""
        signer = Signer(config.alg, next(iter(public), None), private or secret)
        keys = StaticKeys(
            signer,
            secret if private is None else None,
            {**public, **previous},
            config.key_set_lifetime,
        )
    return Minter(
        clock,
        config.iss,
        audience if config.emit_aud else None,
        config.exp,
        config.warn_bytes,
        keys,
        profile=config.profile,
    )


def _ring_keys(config: JwtConfig, further: Mapping[str, PublicKey], longest: int) -> Keys:
    """Build the keys of a gateway that shares them with others through its token store."""
    # imported late: most gateways have their keys in files
    from authotron.jose.ring_keys import RingKeys, plan_of  # noqa: PLC0415 - only needed here

    return RingKeys(plan_of(config, longest), further)


def _configured_key(config: JwtConfig, problems: list[Problem]) -> PrivateKey | None:
    """Read the private key in the configuration; add each problem of the key to a list."""
    if config.key is None:
        return None
    try:
        return private_key(config.alg, config.key.get_secret_value().encode(), "jwt.key")
    except ConfigError as error:
        problems += error.problems
        return None


def _kid(config: JwtConfig, key: PrivateKey) -> str:
    return config.kid or thumbprint(key.public_key())


def _previous_keys(config: JwtConfig, problems: list[Problem]) -> Iterator[tuple[str, PublicKey]]:
    """
    Read the earlier keys in the configuration, with their ids; add each problem of the keys to a
    list.
    """
    for place, path in enumerate(config.previous_key_files):
        try:
            key = public_key(path, f"jwt.previous_key_files[{place}]")
        except ConfigError as error:
            problems += error.problems
        else:
            yield thumbprint(key), key


def _ids() -> Iterator[str]:
    """Yield random ids of 96 bits each; one system call provides the bytes of 100 ids."""
    while True:
        letters = base64url(os.urandom(100 * _ID_BYTES)).decode()
        for at in range(0, len(letters), _ID_LETTERS):
            yield letters[at : at + _ID_LETTERS]

"""Mint the signed JWT that tells backends about an identity."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jwt
from attrs import define, evolve, field
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from pydantic_core import PydanticSerializationError, to_json
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.config.schema import Algorithm, JwtConfig
from authotron.jose.keys import (
    PrivateKey,
    PublicKey,
    as_jwk,
    base64url,
    private_key,
    public_key,
    thumbprint,
)
from authotron.model.authentication import Authentication
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


ClaimsOf = Callable[[Authentication], Sequence[str]]
"""A function that returns the claims C{key=value} of an identity, to which policies are applied."""


@define(eq=False)
class Minter:
    """
    Mints JWTs, and publishes the keys that verify them.

    @ivar life: the maximum number of seconds for which a JWT is valid.
    @ivar jwks: the published key set.
    @ivar warn_bytes: length of a JWT above which the log warns.
    @ivar _profile: the profile that the claims of the JWTs follow, if one is configured.
    @ivar _claims_of: a function that returns the claims of an identity, if the JWTs contain them.
    @ivar _states_source: whether JWTs state for which credential they were minted.
    """

    _clock: IReactorTime
    _issuer: str
    _audience: str | list[str] | None
    max_lifetime: int
    algorithm: Algorithm
    _key: str | PrivateKey = field(repr=False)
    _kid: str | None
    _public: Mapping[str, PublicKey]
    jwks: Mapping[str, Any]
    warn_bytes: int
    _claims_of: ClaimsOf | None = None
    _states_source: bool = False
    _profile: str | None = None
    _next_warnings: dict[tuple[str, str], int] = field(factory=dict, init=False, repr=False)
    _log = Logger()
    _sign: Callable[[bytes], bytes] = field(init=False, repr=False)
    _header: Mapping[str, str] = field(init=False)
    _head: bytes = field(init=False)
    _ids: Iterator[str] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # All JWTs share the header and the key; jwt.encode() would parse the key for each JWT.
        self._sign = _signer(self.algorithm, self._key)
        self._ids = _ids()
        kid = {"kid": self._kid} if self._kid else {}
        self._header = {"alg": self.algorithm, "typ": self._profile or "JWT", **kid}
        self._head = base64url(_json(self._header)) + b"."

    def sign(self, claims: Mapping[str, Any], typ: str = "JWT") -> str:
        """
        Return a signed JWT with the given claims.

        @param typ: the type of the JWT, which its header states (RFC 8725 section 3.11).
        """
        header = {**self._header, "typ": typ}
        signed = base64url(_json(header)) + b"." + base64url(_json(claims))
        return (signed + b"." + base64url(self._sign(signed))).decode()

    def mint(self, authentication: Authentication) -> str:
        """
        Return a signed JWT for an authenticated identity.

        The JWT is valid for the configured lifetime, but does not outlive the credential of the
        client.

        @raise Rejected: the identity has expired.
        @raise BadIdentity: JWTs are configured to contain the claims of identities, and the
            identity has a claim that only the gateway may set.
        """
        now = int(self._clock.seconds())
        signed = self._head + base64url(_json(self.claims(authentication, now)))
        token = (signed + b"." + base64url(self._sign(signed))).decode()
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
        if self._claims_of is not None:
            claims["identity"] = self._claims_of(authentication)
        if self._states_source:
            claims[SOURCE] = authentication.provider
            if _is_limited(authentication):
                claims[LIMITED] = True
        if self._profile is not None:
            from authotron.jose.access_tokens import profile_claims  # noqa: PLC0415 - only needed here

            claims.update(profile_claims(authentication, str(claims["sub"])))
        token, audience = authentication.token, self._audience
        if token is not None and token.audience is not None:
            audience = [*token.audience]
        return {"aud": audience, **claims} if audience is not None else claims

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

    def verify(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        Verify a JWT that this minter signed, and return its header and its claims.

        @raise jwt.InvalidTokenError: the JWT has expired, or was not signed by this minter.
        """
        header = jwt.get_unverified_header(token)
        key = self._key if self.algorithm == "HS256" else self._public.get(header.get("kid", ""))
        if key is None:
            raise jwt.InvalidSignatureError("the JWT is signed with none of the configured keys")
        algorithm = "HS256" if isinstance(key, str) else as_jwk(key)["alg"]  # type: ignore[arg-type] # only the public part of the key
        options = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, key, [algorithm], options, issuer=self._issuer)  # type: ignore[arg-type] # only the public part of the key
        if not self._clock.seconds() < claims.get("exp", 0):
            raise jwt.ExpiredSignatureError("the JWT has expired")
        return header, claims


def _is_limited(authentication: Authentication) -> bool:
    """Return whether a credential has limits that a JWT which is minted for it does not state."""
    token = authentication.token
    is_bound = token is not None and (
        token.audience is not None
        or token.actor is not None
        or getattr(token, "binding", None) is not None
    )
    return bool(authentication.conditions) or authentication.restriction is not None or is_bound


def _signer(algorithm: Algorithm, key: str | PrivateKey) -> Callable[[bytes], bytes]:
    """Return a function that signs bytes with a key (RFC 7518 section 3)."""
    kind = jwt.get_algorithm_by_name(algorithm)
    prepared = kind.prepare_key(key)
    if not isinstance(prepared, bytes):
        return lambda signed: kind.sign(signed, prepared)
    # to copy an HMAC object takes a third of the time that a new one takes
    keyed = HMAC(prepared, SHA256())

    def sign(signed: bytes) -> bytes:
        mac = keyed.copy()
        mac.update(signed)
        return mac.finalize()

    return sign


def _json(content: Mapping[str, Any]) -> bytes:
    """
    Encode an object as the shortest JSON in UTF-8.

    If a string contains half of a surrogate pair, which UTF-8 cannot encode, the JSON is written in
    ASCII, with escape sequences for all other characters.
    """
    try:
        return to_json(content)
    except PydanticSerializationError:
        return json.dumps(content, separators=(",", ":")).encode()


def identity_as_json(identity: Identity) -> dict[str, Any]:
    """Return an identity as a mapping, in the form of JWTs and of C{/whoami}."""
    return {
        "username": identity.username,
        "realm": identity.realm,
        "roles": identity.roles,
        "attributes": dict(identity.attributes) if identity.attributes else {},
        "scopes": dict(identity.scopes) if identity.scopes else {},
    }


def make(config: JwtConfig, clock: IReactorTime) -> Minter:
    """
    Build the minter from the C{jwt} section of a configuration.

    @raise ConfigError: a key file cannot be read, or its key does not fit the algorithm.
    """
    private: PrivateKey | None = None
    public: dict[str, PublicKey] = {}
    problems: list[Problem] = []
    if config.alg != "HS256" and config.key is not None:
        try:
            pem = config.key.get_secret_value().encode()
            private = private_key(config.alg, pem, "jwt.key")
        except ConfigError as error:
            problems += error.problems
        else:
            public[config.kid or thumbprint(private.public_key())] = private.public_key()
    for place, path in enumerate(config.previous_key_files):
        try:
            key = public_key(path, f"jwt.previous_key_files[{place}]")
        except ConfigError as error:
            problems += error.problems
        else:
            public[thumbprint(key)] = key
    if problems:
        raise ConfigError(problems)
    audience = list(config.aud) if isinstance(config.aud, tuple) else config.aud
    secret = config.secret.get_secret_value() if config.secret else ""
    return Minter(
        clock,
        config.iss,
        audience if config.emit_aud else None,
        config.exp,
        config.alg,
        private or secret,
        next(iter(public)) if private else None,
        public,
        {"keys": [{**as_jwk(key), "kid": kid} for kid, key in public.items()]},
        config.warn_bytes,
        profile=config.profile,
    )


def _ids() -> Iterator[str]:
    """Yield random ids of 96 bits each; one system call provides the bytes of 100 ids."""
    while True:
        letters = base64url(os.urandom(100 * _ID_BYTES)).decode()
        for at in range(0, len(letters), _ID_LETTERS):
            yield letters[at : at + _ID_LETTERS]

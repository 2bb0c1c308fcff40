"""Verify the JWT of a request, and return the user whom it describes."""

from __future__ import annotations

import json
import re
import ssl
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authotron.client import key_sources, keys, waiting
from authotron.client.bearer import bearer_token
from authotron.client.errors import InvalidToken, Unavailable
from authotron.client.flights import Spawn, in_a_thread
from authotron.client.key_set import KeySet
from authotron.client.keys import PUBLISHED, SHARED, Key
from authotron.client.status_lists import StatusLists
from authotron.client.user import User, user_from_claims

if TYPE_CHECKING:  # Twisted is optional: services without it have no Deferred.
    from twisted.internet.defer import Deferred

_JWS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
"""A signed JWT (RFC 7515 section 7.1)."""

_LONGEST = 64 * 1024
_TYPES = frozenset({"", "jwt", "at+jwt"})
_LIST = frozenset({"statuslist+jwt"})
_PROFILE = frozenset({"at+jwt"})
_EXTENSIONS = frozenset({"crit", "b64", "zip"})
"""Header members that demand an extension, which the verifier does not support."""

_CONDITIONS = ("cnf", "restrictions")
"""Claims that restrict who may use a JWT, or where: ignoring one would accept a stolen JWT."""

_MAX_HEADERS = 32
"""
Maximum number of JWT headers whose key is remembered; the gateway uses one header for each key.
"""


@dataclass(frozen=True)
class _Parsed:
    """A JWT whose signature is to be verified."""

    header: str
    signed: bytes
    payload: str
    signature: bytes
    kid: str
    algorithm: str


_Later = Callable[[waiting.Wait], Coroutine[Any, Any, User]]
"""A function that verifies a JWT for which the keys or the status list must be fetched."""


class Verifier:
    """
    Verifies JWTs of the gateway.

    Keep one verifier for the life of the service: it caches the keys. The object may be used by
    several threads and event loops at the same time.

    C{verify} waits in the calling thread if keys must be fetched, C{verify_async} lets the event
    loop of asyncio go on meanwhile, C{verify_deferred} the reactor of Twisted. Each method takes
    the text of a JWT; the methods C{authenticate}, C{authenticate_async} and
    C{authenticate_deferred} take the values of the C{Authorization} headers of a request.

    @param issuer: the issuer of the JWTs, as configured by C{jwt.iss} in the gateway. If neither
        C{jwks_url} nor C{secret} is given, the keys are fetched from this URL.
    @param audience: the names of this service, one of which a JWT must have as C{aud}; without it
        JWTs with C{aud} are refused, as they are for other services.
    @param jwks_url: the URL of the key set of the gateway, which ends in C{/.well-known/jwks.json}.
    @param secret: the shared secret, for a gateway that signs with HS256.
    @param algorithms: the accepted algorithms; by default all that fit the keys.
    @param leeway: seconds by which the clocks of gateway and service may differ.
    @param checks: which of the claims C{cnf} and C{restrictions} the service checks by itself, in
        C{user.claims}; a JWT that has one of these claims is refused unless the claim is listed
        here.
    @param profile: C{at+jwt} if the gateway mints JWTs by the profile of OAuth access tokens
        (C{jwt.profile}): every other JWT is then refused (RFC 9068 section 4).
    @param original_rules: apply the rules of auth-o-tron's client library: every user also has the
        role C{default}, and every attribute value is converted to a string.
    @param lifetime: seconds after which the cached keys are refreshed in the background.
    @param cool_down: minimum number of seconds between two fetches of the key set that are caused
        by JWTs with an unknown key.
    @param timeout: seconds that a request waits for keys.
    @param tls: verifies the certificate of the gateway; by default as the system does.
    @param source: returns the key set, instead of a request to the gateway; for tests.
    @param status_lists: the URL of the status lists of the gateway, such as
        C{https://auth.example.org/statuslists}, in which revoked JWTs are looked up; by default no
        JWT is looked up. A JWT without the claim C{status} is accepted.
    @param fetch_list: returns the JWT of the status list at a URL, instead of a request to the
        gateway; for tests.

    @raise ValueError: the keys or the algorithms cannot be used.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | Collection[str] | None = None,
        jwks_url: str | None = None,
        secret: str | bytes | None = None,
        algorithms: Collection[str] | None = None,
        leeway: float = 5.0,
        checks: Collection[str] = (),
        profile: str | None = None,
        original_rules: bool = False,
        lifetime: float = 300.0,
        cool_down: float = 10.0,
        timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
        source: key_sources.Source | None = None,
        status_lists: str | None = None,
        fetch_list: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - only the gateway has a World, with a clock of its own
        monotonic: Callable[[], float] = time.monotonic,
        spawn: Spawn = in_a_thread,
    ) -> None:
        self._issuer, self._leeway, self._clock = issuer, leeway, clock
        self._audience = _audiences(audience)
        self._types = _types(profile)
        self._conditions = [each for each in _CONDITIONS if each not in checks]
        self._original_rules = original_rules
        self._shared = keys.shared_secret(secret) if secret is not None else {}
        self._published: KeySet | None = None
        if source is None and jwks_url is not None:
            source = key_sources.at_url(jwks_url, timeout, tls)
        elif source is None and secret is None:
            source = key_sources.of_issuer(issuer, timeout, tls)
        if source is not None:
            self._published = KeySet(
                source,
                lifetime=lifetime,
                cool_down=cool_down,
                timeout=timeout,
                clock=monotonic,
                spawn=spawn,
            )
        self._algorithms = _accepted(algorithms, self._shared, self._published)
        self._headers: dict[str, tuple[str, str]] = {}
        self.lists: StatusLists | None = None
        if status_lists is not None:
            fetch = fetch_list or key_sources.text_at(timeout, tls)
            self.lists = StatusLists(
                status_lists,
                lambda uri: self._claims_of_list(fetch(uri)),
                clock=clock,
                spawn=spawn,
            )

    def verify(self, token: str) -> User:
        """
        Return the user whom a JWT describes.

        @raise InvalidToken: the JWT is not valid.
        @raise Unavailable: the keys or the status list of the gateway cannot be fetched.
        """
        known = self._verify_at_once(token)
        return known if isinstance(known, User) else waiting.run(known(waiting.blocking))

    async def verify_async(self, token: str) -> User:
        """Do the same as L{verify}, but wait in a coroutine of asyncio."""
        known = self._verify_at_once(token)
        return known if isinstance(known, User) else await known(waiting.in_asyncio)

    def verify_deferred(self, token: str) -> Deferred[User]:
        """Do the same as L{verify}, but return a Deferred of Twisted."""
        return waiting.deferred(self._verify_in_twisted(token))

    def authenticate(self, fields: str | Sequence[str] | None) -> User:
        """
        Return the user who sent a request.

        @param fields: the values of all C{Authorization} headers of the request, or of the only
            one; C{None} stands for a request without the header.

        @raise NoToken: the request has no bearer token.
        @raise InvalidToken: the JWT is not valid.
        @raise Unavailable: the keys of the gateway cannot be fetched.
        """
        return self.verify(bearer_token(fields))

    async def authenticate_async(self, fields: str | Sequence[str] | None) -> User:
        """Do as L{authenticate}, and wait in a coroutine of asyncio."""
        return await self.verify_async(bearer_token(fields))

    def authenticate_deferred(self, fields: str | Sequence[str] | None) -> Deferred[User]:
        """Do the same as L{authenticate}, but return a Deferred of Twisted."""
        return waiting.deferred(self._authenticate_in_twisted(fields))

    async def _verify_in_twisted(self, token: str) -> User:
        known = self._verify_at_once(token)
        return known if isinstance(known, User) else await known(waiting.in_twisted)

    async def _authenticate_in_twisted(self, fields: str | Sequence[str] | None) -> User:
        return await self._verify_in_twisted(bearer_token(fields))

    def _verify_at_once(self, token: str) -> User | _Later:
        """
        Return the user whom a JWT describes, or a function that waits for the keys or the status
        list that are necessary.

        @raise InvalidToken: the JWT is not valid.
        """
        parsed = self._parse(token, self._types)
        if not self._is_signed(parsed, self._cached(parsed)):
            return lambda wait: self._search(parsed, wait)
        user = self._user(parsed)
        if self.lists is None or self.lists.check_cached(user.claims):
            return user
        return lambda wait: self._look_up(user, wait)

    async def _look_up(self, user: User, wait: waiting.Wait) -> User:
        """
        Return a user whose JWT is not among the revoked ones in its status list.

        @raise InvalidToken: the JWT has been revoked.
        @raise Unavailable: the status list cannot be fetched.
        """
        if self.lists is not None:
            await self.lists.check(user.claims, wait)
        return user

    def _claims_of_list(self, token: str) -> Mapping[str, Any]:
        """
        Return the claims of the JWT that contains a status list, if the gateway has signed it.

        @raise Unavailable: the JWT is not valid, or the keys of the gateway cannot be fetched.
        """
        try:
            parsed = self._parse(token, _LIST)
            if not any(
                key.is_signer(parsed.signed, parsed.signature) for key in self._cached(parsed)
            ):
                waiting.run(self._found_signer(parsed, waiting.blocking))
            return _json(_decoded(parsed.payload))
        except InvalidToken as error:
            raise Unavailable(f"the status list of the gateway is not accepted: {error}") from None

    def _parse(self, token: str, types: frozenset[str]) -> _Parsed:
        found = _JWS.fullmatch(token) if len(token) <= _LONGEST else None
        if found is None:
            raise InvalidToken("malformed", "not a signed JWT")
        header, payload, signature = found.groups()
        # only headers of JWTs of users are remembered
        known = None if types is _LIST else self._headers.get(header)
        kid, algorithm = known if known is not None else _read_header(header, types)
        if algorithm not in self._algorithms:
            raise InvalidToken("algorithm")
        signed = token[: found.end(2)].encode("ascii")
        return _Parsed(header, signed, payload, _decoded(signature), kid, algorithm)

    def _cached(self, parsed: _Parsed) -> Sequence[Key]:
        if parsed.algorithm in SHARED:
            return self._shared.get(("", parsed.algorithm), ())
        return self._published.cached(parsed.kid, parsed.algorithm) if self._published else ()

    def _is_signed(self, parsed: _Parsed, candidates: Sequence[Key]) -> bool:
        for key in candidates:
            if key.is_signer(parsed.signed, parsed.signature):
                # only JWTs whose signature the gateway made reach this line
                if parsed.header not in self._headers:
                    if len(self._headers) >= _MAX_HEADERS:
                        self._headers.clear()
                    self._headers[parsed.header] = (parsed.kid, parsed.algorithm)
                return True
        return False

    async def _search(self, parsed: _Parsed, wait: waiting.Wait) -> User:
        """Fetch the keys again, and verify a JWT that was signed by none of the cached keys."""
        if not self._is_signed(parsed, await self._found_signer(parsed, wait)):
            raise InvalidToken("signature")
        return await self._look_up(self._user(parsed), wait)

    async def _found_signer(self, parsed: _Parsed, wait: waiting.Wait) -> Sequence[Key]:
        """
        Fetch the keys again, and return those that have signed a JWT.

        @raise InvalidToken: no published key has signed the JWT.
        @raise Unavailable: the keys of the gateway cannot be fetched.
        """
        if parsed.algorithm in SHARED or self._published is None:
            raise InvalidToken("signature")
        tried = self._cached(parsed)
        found = await self._published.find(parsed.kid, parsed.algorithm, wait, tried)
        signers = [key for key in found if key.is_signer(parsed.signed, parsed.signature)]
        if not signers:
            raise InvalidToken("signature")
        return signers

    def _user(self, parsed: _Parsed) -> User:
        """
        Check the claims of a JWT whose signature has been verified, and return the user it
        describes.
        """
        claims = _json(_decoded(parsed.payload))
        now = self._clock()
        if not now < _time(claims, "exp", 0) + self._leeway:
            raise InvalidToken("expired")
        if now + self._leeway < max(_time(claims, "nbf", 0), _time(claims, "iat", 0)):
            raise InvalidToken("not-yet-valid")
        if claims.get("iss") != self._issuer:
            raise InvalidToken("issuer", f"the JWT has another issuer than {self._issuer}")
        self._check_audience(claims.get("aud"))
        if self._types is _PROFILE:
            _check_profile(claims)
        for name in self._conditions:
            if name in claims:
                raise InvalidToken(
                    "unchecked-claim", f"the service does not check the claim {name}"
                )
        return user_from_claims(claims, original_rules=self._original_rules)

    def _check_audience(self, claimed: object) -> None:
        named = {claimed} if isinstance(claimed, str) else claimed
        if named is None and self._audience is None:
            return
        if self._audience is None:
            raise InvalidToken("audience", "the JWT has an audience, the Verifier has none")
        if not isinstance(named, (set, list)) or not any(
            isinstance(each, str) and each in self._audience for each in named
        ):
            raise InvalidToken("audience", "the JWT is not for the audience of the Verifier")


def _audiences(audience: str | Collection[str] | None) -> frozenset[str] | None:
    if audience is None:
        return None
    names = frozenset({audience} if isinstance(audience, str) else audience)
    if not names or "" in names:
        raise ValueError("the audience is empty; leave it out if JWTs have none")
    return names


def _accepted(
    chosen: Collection[str] | None, shared: keys.Keys, published: KeySet | None
) -> frozenset[str]:
    """
    Return the accepted algorithms.

    @raise ValueError: an algorithm is unknown, or there is no key that could fit.
    """
    fitting = (SHARED if shared else ()) + (PUBLISHED if published is not None else ())
    if chosen is None:
        return frozenset(fitting)
    wrong = [each for each in chosen if each not in fitting]
    if wrong or not chosen:
        listed = ", ".join(fitting)
        raise ValueError(f"algorithms {list(chosen)} do not fit the keys; possible: {listed}")
    return frozenset(chosen)


def _types(profile: str | None) -> frozenset[str]:
    """
    Return the accepted values of the header C{typ}.

    @raise ValueError: the profile is unknown.
    """
    if profile is None:
        return _TYPES
    if profile not in _PROFILE:
        raise ValueError(f"the profile {profile!r} is unknown; the only one is at+jwt")
    return _PROFILE


def _check_profile(claims: Mapping[str, Any]) -> None:
    """Check that a JWT has the claims of an OAuth access token (RFC 9068 section 2.2)."""
    for name in ("sub", "client_id", "jti"):
        if not (isinstance(claims.get(name), str) and claims[name]):
            raise InvalidToken("claims", f"the JWT lacks the claim {name} of an access token")
    if "iat" not in claims or "aud" not in claims:
        raise InvalidToken("claims", "the JWT lacks the claim iat or aud of an access token")


def _read_header(header: str, types: frozenset[str]) -> tuple[str, str]:
    """
    Return the key id and the algorithm from the header of a JWT.

    @param types: the accepted values of C{typ}.
    """
    members = _json(_decoded(header))
    kid, algorithm, kind = (members.get(name) or "" for name in ("kid", "alg", "typ"))
    if not all(isinstance(each, str) for each in (kid, algorithm, kind)):
        raise InvalidToken("malformed", "a header member of the JWT is not a string")
    if not _EXTENSIONS.isdisjoint(members):
        raise InvalidToken("malformed", "the JWT demands an extension that is not supported")
    if kind.lower().removeprefix("application/") not in types:
        raise InvalidToken("malformed", "the JWT has a typ that is not accepted")
    return kid, algorithm


def _decoded(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "==")
    except ValueError:
        raise InvalidToken("malformed", "the JWT is not base64") from None


def _json(raw: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidToken("malformed", "the JWT is not JSON") from None
    if not isinstance(content, dict):
        raise InvalidToken("malformed", "a part of the JWT is not an object")
    return content


def _time(claims: Mapping[str, Any], name: str, default: float) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidToken("claims", f"the claim {name} of the JWT is not a number")
    return value

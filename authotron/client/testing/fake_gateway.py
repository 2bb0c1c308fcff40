"""
A fake gateway for tests: in the same process without a network, or at a port of the loopback
interface.
"""

from __future__ import annotations

import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from authotron.client.errors import Unavailable
from authotron.client.event_parser import ServerEvent
from authotron.client.events import EventListener
from authotron.client.gateway import Client
from authotron.client.http import Answer
from authotron.client.keys import Keys, published
from authotron.client.testing.fake_events import FakeEvents, FakeStatusList
from authotron.client.testing.signing import ISSUER, LIFETIME, SigningKey, claims_of, default_key
from authotron.client.user import User
from authotron.client.verifier import Verifier

_MAX_CREDENTIALS = 3
_PRINTABLE = re.compile(r"[\t -~]*")
_ALIASES = {"plain": "basic"}
_KEYS = "/.well-known/jwks.json"
_LIST = "/statuslists/fake"
EVENTS = "/events"
ACTIONS = {
    "authenticate": ("/authenticate", "/auth", "/_auth"),
    "whoami": ("/whoami",),
    "jwks": (_KEYS,),
    "health": ("/health",),
    "events": ("/events",),
    "status_list": (_LIST,),
}
"""
The actions that L{FakeGateway.fail_on} can make fail, and the paths of the requests that belong to
each action.
"""

_PATHS = frozenset({*(path for paths in ACTIONS.values() for path in paths), "/providers"})
_NO_STORE = ("Cache-Control", "no-store")
_JSON = ("Content-Type", "application/json")


@dataclass(frozen=True)
class _Known:
    """A credential that the gateway knows, and the user to whom it belongs."""

    scheme: str
    secret: str = field(repr=False)
    user: User

    def fits(self, scheme: str, value: str) -> bool:
        return scheme == self.scheme and value == self.secret


@dataclass
class _Fault:
    """An outage of one action of the fake gateway, for all requests or for a number of them."""

    status: int
    left: int | None


class FakeGateway:
    """
    Answers as the gateway does, for the users whom a test has added.

    @param algorithm: the signature algorithm, C{ES256}, C{EdDSA}, C{RS256} or C{HS256}.
    @param status_list: whether JWTs refer to a status list, in which verifiers look them up.
    @ivar requests: the method and path of every request, in their order.
    @ivar events: the events that the fake gateway sends to services that listen (L{listener}).
    """

    def __init__(
        self,
        *,
        issuer: str = ISSUER,
        audience: str | list[str] | None = None,
        algorithm: str = "ES256",
        key: SigningKey | None = None,
        lifetime: float = LIFETIME,
        status_list: bool = False,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - a test may pass a function of its own
    ) -> None:
        usual = default_key() if algorithm == "ES256" else None
        self._keys = [key or usual or SigningKey.generate(algorithm)]
        self.issuer, self.audience = issuer, audience
        self._lifetime, self._clock = lifetime, clock
        self._known: list[_Known] = []
        self._faults: dict[str, _Fault] = {}
        self.requests: list[tuple[str, str]] = []
        self.events = FakeEvents(clock)
        self._list = FakeStatusList(f"{issuer}{_LIST}") if status_list else None

    @property
    def key(self) -> SigningKey:
        """The key with which the fake gateway signs JWTs."""
        return self._keys[-1]

    def add_user(self, user: User, password: str) -> User:
        """Accept a user by name and password from now on; a name with a colon is never accepted."""
        secret = "" if ":" in user.username else f"{user.username}:{password}"
        self._known.append(_Known("basic", secret, user))
        return user

    def add_token(self, user: User, token: str) -> str:
        """Accept a user by an opaque bearer token from now on."""
        self._known.append(_Known("bearer", token, user))
        return token

    def revoke(self, user_or_token: User | str) -> None:
        """
        Refuse a user, or a token, from now on.

        Services that listen to events of the fake gateway get the revocation of the user. JWTs that
        were minted before stay valid until they expire, except for verifiers that look into the
        status list.
        """
        concerned = [each for each in self._known if user_or_token in (each.user, each.secret)]
        self._known = [each for each in self._known if each not in concerned]
        users = [user_or_token] if isinstance(user_or_token, User) else []
        for each in users:
            self.events.revoke({"realm": each.realm, "username": each.username})
            if self._list is not None:
                self._list.revoke(each)

    def mint(self, user: User, **options: Any) -> str:
        """
        Return a JWT of a user, signed with the key of the gateway.

        @param options: the options of L{authotron.client.testing.mint}.
        """
        usual: dict[str, Any] = {
            "issuer": self.issuer,
            "audience": self.audience,
            "lifetime": self._lifetime,
            "now": self._clock(),
        }
        named = {name: options.pop(name, value) for name, value in usual.items()}
        status = {} if self._list is None else {"status": self._list.reference(user)}
        claims = {**claims_of(user, **named), **status, **options}
        return self.key.sign({name: each for name, each in claims.items() if each is not None})

    def rotate(self, *, keep_old: bool = True) -> SigningKey:
        """
        Sign JWTs with a new key from now on.

        @param keep_old: whether the old keys stay published, so that JWTs signed with them stay
            valid.
        """
        new = SigningKey.generate(self.key.algorithm)
        self._keys = [*self._keys, new] if keep_old else [new]
        return new

    def fail_on(self, action: str, status: int = 503, *, times: int | None = None) -> None:
        """
        Let an action of the fake gateway fail. The action is C{authenticate}, C{whoami}, C{jwks} or
        C{health}.

        @param status: the HTTP status of the answers; with 0 there is no answer.
        @param times: the number of requests that fail; by default all until L{recover}.
        """
        if action not in ACTIONS:
            raise ValueError(f"unknown action {action}; possible: {', '.join(ACTIONS)}")
        self._faults[action] = _Fault(status, times)

    def recover(self) -> None:
        """Answer all further requests without simulated failures."""
        self._faults.clear()

    def count(self, path: str) -> int:
        """Return the number of requests for a path."""
        return sum(1 for _, asked in self.requests if asked == path)

    def verifier(self, **options: Any) -> Verifier:
        """
        Return a verifier that trusts this gateway, and needs no network.

        @param options: the options of L{Verifier}.
        """
        own: dict[str, Any] = {"audience": self.audience, "clock": self._clock}
        if self.key.is_shared:
            own["secret"] = self.key.material
        else:
            own["source"] = self._published
        if self._list is not None:
            own["status_lists"] = self._list.uri.rpartition("/")[0]
            own["fetch_list"] = self._fetch_list
        return Verifier(self.issuer, **{**own, **options})

    def client(self, verifier: Verifier | None = None, **options: Any) -> Client:
        """
        Return a client that asks this gateway, and needs no network.

        @param options: the options of L{Client}.
        """
        own: dict[str, Any] = {"ask": self._ask, "clock": self._clock}
        return Client(self.issuer, verifier or self.verifier(), **{**own, **options})

    def listener(self, on_event: Callable[[ServerEvent], object], **options: Any) -> EventListener:
        """
        Return a listener to the events of this gateway, which needs no network.

        @param options: the options of L{EventListener}.
        """
        own: dict[str, Any] = {"connect": self._connect}
        return EventListener(self.issuer, lambda: "Bearer test", on_event, **{**own, **options})

    def _connect(self, _last_id: str) -> Iterator[bytes]:
        self.requests.append(("GET", EVENTS))
        if self._fault(EVENTS) is not None:
            raise Unavailable("the fake gateway does not answer")
        yield from self.events.stream()

    def answer(
        self, method: str, target: str, headers: Sequence[tuple[str, str]] = ()
    ) -> Answer | None:
        """Return the answer to a request, or C{None} for an outage without an answer."""
        path = target.partition("?")[0]
        self.requests.append((method, path))
        if path not in _PATHS:
            return _json(404, {"error": "Not found"})
        if method not in ("GET", "HEAD"):
            return _json(405, {"error": "Method not allowed"}, ("Allow", "GET, HEAD"))
        fault = self._fault(path)
        if fault is not None:
            return _outage(fault) if fault else None
        return self._public(path) or self._private(path, headers)

    def _public(self, path: str) -> Answer | None:
        if path == "/health":
            return _answer(200, b"OK", ("Content-Type", "text/plain; charset=utf-8"))
        if path == _KEYS:
            return _json(200, self._key_set(), ("Cache-Control", "public, max-age=300"))
        if path == _LIST:
            return self._status_list()
        return _json(200, {"providers": self._providers()}) if path == "/providers" else None

    def _status_list(self) -> Answer:
        if self._list is None:
            return _json(404, {"error": "Not found"})
        token = self.key.sign(self._list.claims(self._clock()), typ="statuslist+jwt")
        return _answer(200, token.encode(), ("Content-Type", "application/statuslist+jwt"))

    def _private(self, path: str, headers: Sequence[tuple[str, str]]) -> Answer:
        user = self._user(headers)
        if user is None:
            challenge = ("WWW-Authenticate", self._challenge())
            return _json(401, {"error": "Unauthorized access"}, challenge, _NO_STORE)
        if path == EVENTS:
            return _answer(200, b"", ("Content-Type", "text/event-stream"), _NO_STORE)
        if path == "/whoami":
            return _json(200, _whoami(user), _NO_STORE)
        return _answer(200, b"", ("Authorization", f"Bearer {self.mint(user)}"), _NO_STORE)

    def _fault(self, path: str) -> int | None:
        for action, fault in self._faults.items():
            if path in ACTIONS[action] and fault.left != 0:
                fault.left = None if fault.left is None else fault.left - 1
                return fault.status
        return None

    def _user(self, headers: Sequence[tuple[str, str]]) -> User | None:
        realm = _first(headers, "x-auth-realm")
        for scheme, value in _credentials(_first(headers, "authorization") or ""):
            wanted = _password(value) if scheme == "basic" else value
            for known in self._known:
                is_asked = realm is None or known.user.realm.lower() == realm.strip().lower()
                if wanted is not None and is_asked and known.fits(scheme, wanted):
                    return known.user
        return None

    def _challenge(self) -> str:
        offered = ((each.scheme.capitalize(), each.user.realm) for each in self._known)
        texts = (f'{scheme} realm="{realm}"' for scheme, realm in offered)
        return ", ".join(dict.fromkeys(texts)) or "Bearer"

    def _providers(self) -> list[dict[str, str]]:
        realms = dict.fromkeys(each.user.realm for each in self._known)
        return [{"name": realm, "type": "plain", "realm": realm} for realm in realms]

    def _key_set(self) -> dict[str, Any]:
        return {"keys": [key.jwk() for key in self._keys if not key.is_shared]}

    def _ask(self, path: str, headers: Mapping[str, str], _timeout: float) -> Answer:
        answer = self.answer("GET", path, tuple(headers.items()))
        if answer is None:
            raise Unavailable("the fake gateway does not answer")
        return answer

    def _fetch_list(self, _uri: str) -> str:
        answer = self._ask(_LIST, {}, 0)
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise Unavailable(f"the fake gateway answers with status {answer.status}")
        return answer.body.decode()

    def _published(self) -> Keys:
        answer = self._ask(_KEYS, {}, 0)
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise Unavailable(f"the fake gateway answers with status {answer.status}")
        return published(json.loads(answer.body), "the fake gateway")


def _credentials(header: str) -> list[tuple[str, str]]:
    """
    Return the scheme and value of each credential; if several credentials have the same scheme,
    only the last of them is returned.
    """
    text = header.strip(" \t")
    parts = dict.fromkeys(part.strip(" \t") for part in text.split(","))
    words = [part.split() for part in parts]
    is_good = len(parts) <= _MAX_CREDENTIALS and all(len(each) == 2 for each in words)  # noqa: PLR2004 - scheme and value
    if not (is_good and _PRINTABLE.fullmatch(text)):
        return []
    found = ((each[0].lower(), each[1]) for each in words)
    return list({(name := _ALIASES.get(scheme, scheme)): (name, v) for scheme, v in found}.values())


def _password(value: str) -> str | None:
    """Return user name and password of a Basic credential, or C{None} if it is malformed."""
    try:
        raw = b64decode(value, validate=True)
        text = raw.decode()
    except ValueError:
        return None
    username, colon, _ = text.partition(":")
    is_canonical = b64encode(raw).decode() == value
    return text if username and colon and is_canonical else None


def _first(headers: Sequence[tuple[str, str]], name: str) -> str | None:
    return next((value for each, value in headers if each.lower() == name), None)


def _whoami(user: User) -> dict[str, Any]:
    claims = claims_of(user)
    names = ("username", "realm", "roles", "attributes", "scopes")
    return {"version": 1, **{name: claims[name] for name in names}}


def _outage(status: int) -> Answer:
    error = {"error": "Authentication is temporarily unavailable"}
    return _json(status, error, ("Retry-After", "5"), _NO_STORE)


def _json(status: int, content: Any, *headers: tuple[str, str]) -> Answer:
    return _answer(status, json.dumps(content).encode(), _JSON, *headers)


def _answer(status: int, body: bytes, *headers: tuple[str, str]) -> Answer:
    fields = Message()
    for name, value in headers:
        fields[name] = value
    return Answer(status, fields, body)

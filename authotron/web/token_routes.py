"""The routes of tokens of our own."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

from attrs import evolve, frozen
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.pieces import Pieces
from authotron.concurrency.racing import Awaited, shield
from authotron.config.section import Section, WholeSeconds, read
from authotron.config.server import Network
from authotron.gateway.gateway import Gateway, Invalidate
from authotron.model import strict_json
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    ConfigError,
    ExceedsGrant,
    NoSuchToken,
    Problem,
    TooMany,
    Unavailable,
)
from authotron.model.hosts import check_host_pattern
from authotron.model.naming import normalized
from authotron.model.token import AT_ONCE, PREFIX, Token
from authotron.plugin.interfaces import TokenQuery
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.tokens.service import MOST_BYTES, TokenRequest, TokenService
from authotron.web import replies
from authotron.web.replies import Reply
from authotron.web.routing import EarlyReply
from authotron.web.site import Request

_log = Logger()
_C = TypeVar("_C", bound=Section)
_T = TypeVar("_T")

_MOST_ASKED, _MOST_LISTED = 1000, 100
"""The highest C{limit} that is accepted, and the number of tokens on a page at most."""

_LARGEST_PAGE = 512 * 1024
"""Bytes after which a page of a list ends, whatever its limit is."""

_MOST_LISTS = MOST_BYTES
"""Arrays and objects in a body: a token has room for no more, at a byte each."""

_MOST_ENTRIES = 100
"""Entries of one list or object in a body."""

_MOST_SCOPES = 256
"""Entries of all lists in one object in a body."""

_SHOWN_KEY = 64
"""Characters of an unknown key that an answer shows."""

_VISIBLE = r"^[^\x00-\x1f\x7f]*$"

_LONGEST_HOST = 262
"""A name of 253 characters, with a wildcard and a port."""

Word = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=_VISIBLE),
    AfterValidator(normalized),
]
Line = Annotated[str, StringConstraints(max_length=256, pattern=_VISIBLE)]
Words = Annotated[tuple[Word, ...], Field(strict=False, max_length=_MOST_ENTRIES)]
Scopes = Annotated[dict[Word, Words], Field(max_length=_MOST_ENTRIES)]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^([^\x00-\x20\x7f@]+@[^\x00-\x20\x7f@]+)?$")
]
Host = Annotated[
    str, StringConstraints(max_length=_LONGEST_HOST), AfterValidator(check_host_pattern)
]


class NewToken(Section):
    """The body of C{POST /tokens}."""

    name: Line = ""
    comment: Line = ""
    email: Email = ""
    ttl: WholeSeconds | None = None
    roles: Words | None = None
    scopes: Scopes | None = None
    hosts: tuple[Host, ...] = Field(default=(), strict=False, max_length=_MOST_ENTRIES)
    networks: tuple[Network, ...] = Field(default=(), strict=False, max_length=_MOST_ENTRIES)

    @model_validator(mode="after")
    def _small_enough(self) -> NewToken:
        if len(self.model_dump_json().encode()) > MOST_BYTES:
            raise ValueError(f"is larger than {MOST_BYTES} bytes")
        return self


class Change(Section):
    """The body of C{PATCH /tokens/{id}}."""

    name: Line | None = None
    comment: Line | None = None
    ttl: WholeSeconds | None = None


class Leak(Section):
    """The body of C{POST /tokens/revoke}."""

    token: str


@frozen
class TokenRoutes:
    """What each route does, once it is known who asks."""

    _gateway: Gateway[Reply]
    _invalidate_all_workers: Invalidate
    _clock: IReactorTime
    _client: Callable[[], str]

    async def make(self, requester: Authentication, request: Request) -> Reply:
        given = self._body(request, NewToken)
        wanted = TokenRequest(**{name: getattr(given, name) for name in NewToken.model_fields})
        text, token = await self._made(requester, wanted)
        location = f"/tokens/{token.id}"
        return replies.created({"token": text, **_shown(token)}, location)

    async def make_by_get(self, requester: Authentication, request: Request) -> Reply:
        """
        Make a token by GET, as the original does; a HEAD makes none.

        A page of another site, or a browser that fetches ahead, makes none.
        """
        if request.method == b"HEAD" or not self._tokens.compat:
            return replies.method_not_allowed(["GET"] if self._tokens.compat else [])
        if _is_unwitting(request):
            raise EarlyReply(replies.too_broad([_UNWITTING]))
        text, _ = await self._made(requester, TokenRequest())
        return replies.private({"token": text})

    async def listed(self, requester: Authentication, request: Request) -> Reply:
        """
        A page of a list, made in pieces: tokens of earlier versions may have 60 kB each.

        A page ends early if it gets too large; like a full one it names its last token.
        """
        wanted, pieces = self._wanted(requester, request), Pieces(self._clock)
        encoded: list[bytes] = []
        left, size, last, ended = wanted.most, 0, wanted.after, False
        while left and size < _LARGEST_PAGE and not ended:
            asked = evolve(wanted, after=last, most=min(left, AT_ONCE))
            found = await _answered(self._tokens.listed(requester, asked))
            ended = len(found) < asked.most
            for token in found:
                encoded.append(json.dumps(_shown(token)).encode())
                left, size, last = left - 1, size + len(encoded[-1]), token.id
                await pieces.add(len(encoded[-1]))
        following = b"" if ended else b', "next": ' + json.dumps(last).encode()
        body = b'{"tokens": [' + b", ".join(encoded) + b"]" + following + b"}"
        return replies.private_json(body)

    async def show(self, requester: Authentication, id_: str) -> Reply:
        token = await _answered(self._tokens.show(requester, id_))
        return replies.private(_shown(token))

    async def change(self, requester: Authentication, request: Request, id_: str) -> Reply:
        given = self._body(request, Change)
        before = await _answered(self._tokens.show(requester, id_))
        work = self._tokens.change(
            requester,
            id_,
            name=given.name,
            comment=given.comment,
            ttl=given.ttl,
            by=self._actor(requester),
        )
        if given.ttl is None:  # no verdict depends on what a token is called
            token = await _done(_answered(work))
        else:
            token = await self._changing(work, before.id)
        return replies.private(_shown(token))

    async def revoke(self, requester: Authentication, id_: str) -> Reply:
        token = await _answered(self._tokens.show(requester, id_))
        await self._changing(self._tokens.revoke(requester, id_, self._actor(requester)), token.id)
        return replies.REVOKED

    async def revoke_presented(self, request: Request) -> Reply:
        """
        For who finds a token: having it is enough, and nobody learns whether it was good.

        One that is not in the store ends nothing: what is remembered is not anybody's to clear.
        """
        token = self._body(request, Leak).token
        client = self._client()
        valid_id = await _answered(self._tokens.valid_id(token, client))
        if valid_id is not None:
            ending = self._tokens.revoke_presented(token, audit.holder(client))
            await self._changing(ending, valid_id)
        return replies.REVOKED

    def _body(self, request: Request, section: type[_C]) -> _C:
        """What is asked for, if anything may be asked for at all."""
        if self._gateway.tokens is None:
            raise EarlyReply(replies.STORE_DISABLED)
        return _body(request, section)

    @property
    def _tokens(self) -> TokenService:
        tokens = self._gateway.tokens
        if tokens is None:
            raise EarlyReply(replies.STORE_DISABLED)
        return tokens

    async def _made(self, requester: Authentication, wanted: TokenRequest) -> tuple[str, Token]:
        checked = self._gateway.owners.can_look_up(requester.identity, requester.provider)
        making = self._tokens.make(requester, wanted, checked=checked, by=self._actor(requester))
        presented, token = await _done(_answered(making))
        return presented.text, token

    def _actor(self, requester: Authentication) -> Actor:
        return audit.identified(requester, self._client())

    async def _changing(self, work: Awaitable[_T], id_: str) -> _T:
        return await _done(self._changed(work, id_))

    async def _changed(self, work: Awaitable[_T], id_: str) -> _T:
        """
        Unless it is certain that nothing changed, void the verdicts that depend on an API token.

        Who asks to change what is not theirs, or not there, changes nothing.
        """
        unchanged = False
        try:
            return await _answered(work)
        except EarlyReply as end:
            unchanged = end.reply is replies.NO_SUCH_TOKEN
            raise
        finally:
            if not unchanged:
                self._gateway.decisions.invalidate([id_])  # a reload may have replaced it meanwhile
                await _answered(self._invalidate_all_workers([id_]))

    def _wanted(self, requester: Authentication, request: Request) -> TokenQuery:
        """One's own, or what an administrator asks for."""
        query = _query(request, {"limit", "after", "realm", "username", "all"})
        others = self._tokens.is_admin(requester) and {"realm", "username", "all"} & query.keys()
        limit = query.get("limit", "100")
        if not (re.fullmatch(r"[0-9]{1,4}", limit) and 1 <= int(limit) <= _MOST_ASKED):
            raise EarlyReply(replies.malformed([Problem("limit", f"must be 1 to {_MOST_ASKED}")]))
        return TokenQuery(
            query.get("realm") if others else requester.identity.realm,
            query.get("username") if others else requester.identity.username,
            query.get("after", ""),
            min(int(limit), _MOST_LISTED),
        )


_TOO_MANY = Problem(
    "", "you have as many API tokens as tokens.max_per_owner allows; revoke one first"
)
_UNWITTING = Problem("", "GET /token is not for pages of other sites, or to be fetched ahead")
_AHEAD = re.compile(rb"prefetch|prerender|preview", re.IGNORECASE)


def _is_unwitting(request: Request) -> bool:
    """
    Whether a browser sends a request of which its user need not know.

    C{Sec-Fetch-Site} says whose page it comes from (Fetch Metadata Request Headers, 2.4), the
    other fields that a page might be opened later. Where a field is absent no browser says so.
    """
    values = request.requestHeaders.getRawHeaders
    sites = values(b"Sec-Fetch-Site", [])
    if any(site.strip().lower() not in (b"same-origin", b"none") for site in sites):
        return True
    names = (b"Purpose", b"Sec-Purpose", b"X-Purpose", b"X-Moz")
    return any(_AHEAD.search(value) for name in names for value in values(name, []))


async def _done(work: Awaited[_T]) -> _T:
    """
    Finish what changes the store, though the client may leave: a store that was asked goes on.

    Otherwise an API token could be made, changed or revoked without a line in the log.
    """
    return await shield(work, _unheard)


def _unheard(failure: Failure) -> None:
    """What went wrong after the client left; what a client would be told is no defect."""
    if not failure.check(EarlyReply):
        _log.failure("a request could not be finished", failure, event="routes.request.broken")


async def _answered(work: Awaitable[_T]) -> _T:
    """What cannot be done is answered in the way of HTTP."""
    try:
        return await work
    except NoSuchToken:
        raise EarlyReply(replies.NO_SUCH_TOKEN) from None
    except TooMany:
        raise EarlyReply(replies.too_broad([_TOO_MANY])) from None
    except ExceedsGrant as error:
        raise EarlyReply(replies.too_broad(error.problems)) from None
    except Unavailable as error:
        _log.warn(
            "the token store cannot be used: {reason}",
            reason=str(error),
            event="store.unavailable",
        )
        raise EarlyReply(replies.STORE_UNAVAILABLE) from None


def _body(request: Request, section: type[_C]) -> _C:
    """The JSON of a request, of which nothing is taken that was not asked for."""
    if request.media_type != "application/json":
        raise EarlyReply(replies.UNSUPPORTED_MEDIA_TYPE)
    try:
        given = strict_json.loads(request.content.getvalue(), most=_MOST_LISTS)
    except ValueError:
        problem = Problem("", "the body is not strict JSON in UTF-8")
        raise EarlyReply(replies.malformed([problem])) from None
    if not isinstance(given, dict):
        raise EarlyReply(replies.malformed([Problem("", "the body must be a JSON object")]))
    if problems := [*islice(_beyond_bounds(section, given), 10)]:
        raise EarlyReply(replies.malformed(problems))
    try:
        return read(section, given)
    except ConfigError as error:
        raise EarlyReply(replies.malformed(error.problems)) from None


def _beyond_bounds(section: type[Section], given: Mapping[str, Any]) -> Iterator[Problem]:
    """
    Unknown keys and lists that are too long, found without validating what is in them.

    Validation collects every mistake, and 64 kB have room for thousands. No near key is searched
    for: that takes far longer than reading the body.
    """
    for key, value in given.items():
        if key not in section.model_fields:
            yield Problem(key[:_SHOWN_KEY], "unknown key")
        elif isinstance(value, (list, dict)):
            if len(value) > _MOST_ENTRIES:
                yield Problem(key, f"has more than {_MOST_ENTRIES} entries")
            elif _entries(value) > _MOST_SCOPES:
                yield Problem(key, f"has more than {_MOST_SCOPES} entries together")


def _entries(value: list[Any] | dict[str, Any]) -> int:
    """How many entries the lists and objects in C{value} have together."""
    inner = value.values() if isinstance(value, dict) else value
    return sum(len(each) for each in inner if isinstance(each, (list, dict)))


def _query(request: Request, known: set[str]) -> Mapping[str, str]:
    raw = request.uri.partition(b"?")[2]
    try:
        found = parse_qs(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10
        )
    except ValueError:
        raise EarlyReply(replies.BAD_REQUEST) from None
    problems = [Problem(name, "is unknown") for name in found.keys() - known]
    problems += [Problem(name, "stands twice") for name, all_ in found.items() if len(all_) > 1]
    if problems:
        raise EarlyReply(replies.malformed(problems))
    return {name: normalized(values[0]) for name, values in found.items()}


def _shown(token: Token) -> dict[str, Any]:
    """A token without its secret; C{token_string} is what the original calls it."""
    owner, grant = token.owner, token.grant
    return {
        "version": 1,
        "id": token.id,
        "parent": token.lineage[-1] if token.lineage else None,
        "token_string": f"{PREFIX}{token.id}",
        "realm": owner.realm,
        "username": owner.username,
        "name": token.name,
        "comment": token.comment,
        "email": token.email,
        "created": _moment(token.created),
        "expires": _moment(grant.expires),
        "last_used": _moment(token.used),
        "roles": None if grant.roles is None else list(grant.roles),
        "scopes": {} if grant.scopes is None else {k: list(v) for k, v in grant.scopes.items()},
        "hosts": list(grant.hosts),
        "networks": list(grant.networks),
    }


def _moment(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)

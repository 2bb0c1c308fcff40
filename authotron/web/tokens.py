"""The routes of tokens of our own."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

from attrs import frozen
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from twisted.logger import Logger

from authotron import settings, strict_json
from authotron.errors import ConfigError, NoSuchToken, Problem, TooBroad, Unavailable
from authotron.forwarding import Network
from authotron.hosts import MOST_TEXT, checked_host
from authotron.identity import Identity
from authotron.issuing import Tokens, Wish
from authotron.settings import Section, WholeSeconds
from authotron.stores import Wanted
from authotron.tokens import PREFIX, Token
from authotron.web import replies
from authotron.web.generation import Generation
from authotron.web.replies import Reply
from authotron.web.site import NoEntry, Request

_log = Logger()
_C = TypeVar("_C", bound=Section)
_T = TypeVar("_T")

_MOST_LISTED = 1000
_VISIBLE = r"^[^\x00-\x1f\x7f]*$"

Word = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_VISIBLE)]
Line = Annotated[str, StringConstraints(max_length=256, pattern=_VISIBLE)]
Words = Annotated[tuple[Word, ...], Field(strict=False, max_length=100)]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^([^\x00-\x20\x7f@]+@[^\x00-\x20\x7f@]+)?$")
]
Host = Annotated[str, AfterValidator(checked_host)]


class NewToken(Section):
    """The body of C{POST /tokens}."""

    name: Line = ""
    comment: Line = ""
    email: Email = ""
    ttl: WholeSeconds | None = None
    roles: Words | None = None
    scopes: dict[Word, Words] | None = None
    hosts: tuple[Host, ...] = Field(default=(), strict=False, max_length=100)
    networks: tuple[Network, ...] = Field(default=(), strict=False, max_length=100)

    @model_validator(mode="after")
    def _few_enough(self) -> NewToken:
        if len(",".join(self.hosts)) > MOST_TEXT:
            raise ValueError(f"hosts are longer than {MOST_TEXT} characters together")
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

    _generation: Generation
    _forget_everywhere: Callable[[], Awaitable[None]]

    async def make(self, asks: Identity, request: Request) -> Reply:
        given = self._body(request, NewToken)
        wish = Wish(**{name: getattr(given, name) for name in NewToken.model_fields})
        text, token = await self._made(asks, wish)
        location = f"/tokens/{token.id}"
        return replies.created({"token": text, **_shown(token)}, location)

    async def make_simply(self, asks: Identity, request: Request) -> Reply:
        """As the original does it: by GET, which a HEAD must not imitate."""
        if request.method == b"HEAD" or not self._tokens.compat:
            return replies.method_not_allowed(["GET"] if self._tokens.compat else [])
        text, _ = await self._made(asks, Wish())
        return replies.private({"token": text})

    async def listed(self, asks: Identity, request: Request) -> Reply:
        wanted = self._wanted(asks, request)
        found = await _answered(self._tokens.listed(asks, wanted))
        content: dict[str, Any] = {"tokens": [_shown(token) for token in found]}
        if len(found) == wanted.most:
            content["next"] = found[-1].id
        return replies.private(content)

    async def show(self, asks: Identity, id_: str) -> Reply:
        token = await _answered(self._tokens.show(asks, id_))
        return replies.private(_shown(token))

    async def change(self, asks: Identity, request: Request, id_: str) -> Reply:
        given = self._body(request, Change)
        token = await self._changing(
            self._tokens.change(asks, id_, name=given.name, comment=given.comment, ttl=given.ttl)
        )
        return replies.private(_shown(token))

    async def revoke(self, asks: Identity, id_: str) -> Reply:
        await self._changing(self._tokens.revoke(asks, id_))
        return replies.REVOKED

    async def surrender(self, request: Request) -> Reply:
        """
        For who finds a token: having it is enough, and nobody learns whether it was good.

        One that is not in the store ends nothing: what is remembered is not anybody's to clear.
        """
        token = self._body(request, Leak).token
        if await _answered(self._tokens.held(token)):
            await self._changing(self._tokens.surrender(token))
        return replies.REVOKED

    def _body(self, request: Request, section: type[_C]) -> _C:
        """What is asked for, if anything may be asked for at all."""
        if self._generation.tokens is None:
            raise NoEntry(replies.STORE_DISABLED)
        return _body(request, section)

    @property
    def _tokens(self) -> Tokens:
        tokens = self._generation.tokens
        if tokens is None:
            raise NoEntry(replies.STORE_DISABLED)
        return tokens

    async def _made(self, asks: Identity, wish: Wish) -> tuple[str, Token]:
        owner = asks.bare or asks
        checked = self._generation.owners.can_be_asked(owner)
        presented, token = await _answered(self._tokens.make(asks, wish, checked=checked))
        return presented.text, token

    async def _changing(self, work: Awaitable[_T]) -> _T:
        """
        Unless it is certain that nothing changed, nothing known before may be said again.

        Who asks to change what is not theirs, or not there, changes nothing.
        """
        unchanged = False
        try:
            return await _answered(work)
        except NoEntry as end:
            unchanged = end.reply is replies.NO_SUCH_TOKEN
            raise
        finally:
            if not unchanged:
                self._generation.verdicts.forget()  # a reload may have replaced it meanwhile
                await _answered(self._forget_everywhere())

    def _wanted(self, asks: Identity, request: Request) -> Wanted:
        """One's own, or what an administrator asks for."""
        query = _query(request, {"limit", "after", "realm", "username", "all"})
        others = self._tokens.rules_over(asks) and {"realm", "username", "all"} & query.keys()
        limit = query.get("limit", "100")
        if not (re.fullmatch(r"[0-9]{1,4}", limit) and 1 <= int(limit) <= _MOST_LISTED):
            raise NoEntry(replies.malformed([Problem("limit", f"must be 1 to {_MOST_LISTED}")]))
        return Wanted(
            query.get("realm") if others else asks.realm,
            query.get("username") if others else asks.username,
            query.get("after", ""),
            int(limit),
        )


async def _answered(work: Awaitable[_T]) -> _T:
    """What cannot be done is answered in the way of HTTP."""
    try:
        return await work
    except NoSuchToken:
        raise NoEntry(replies.NO_SUCH_TOKEN) from None
    except TooBroad as error:
        raise NoEntry(replies.too_broad(error.problems)) from None
    except Unavailable as error:
        _log.warn(
            "the token store cannot be used: {reason}",
            reason=str(error),
            event="store.unavailable",
        )
        raise NoEntry(replies.STORE_UNAVAILABLE) from None


def _body(request: Request, section: type[_C]) -> _C:
    """The JSON of a request, of which nothing is taken that was not asked for."""
    if request.media_type != "application/json":
        raise NoEntry(replies.UNSUPPORTED_MEDIA_TYPE)
    try:
        given = strict_json.loads(request.content.getvalue())
    except ValueError:
        problem = Problem("", "the body is not strict JSON in UTF-8")
        raise NoEntry(replies.malformed([problem])) from None
    if not isinstance(given, dict):
        raise NoEntry(replies.malformed([Problem("", "the body must be a JSON object")]))
    try:
        return settings.read(section, given)
    except ConfigError as error:
        raise NoEntry(replies.malformed(error.problems)) from None


def _query(request: Request, known: set[str]) -> Mapping[str, str]:
    raw = request.uri.partition(b"?")[2]
    try:
        found = parse_qs(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=10
        )
    except ValueError:
        raise NoEntry(replies.BAD_REQUEST) from None
    problems = [Problem(name, "is unknown") for name in found.keys() - known]
    problems += [Problem(name, "stands twice") for name, all_ in found.items() if len(all_) > 1]
    if problems:
        raise NoEntry(replies.malformed(problems))
    return {name: values[0] for name, values in found.items()}


def _shown(token: Token) -> dict[str, Any]:
    """A token without its secret; C{token_string} is what the original calls it."""
    owner, grant = token.owner, token.grant
    return {
        "version": 1,
        "id": token.id,
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

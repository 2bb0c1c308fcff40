"""The routes under C{/token} and C{/tokens}: create, list, show, change and revoke API tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.concurrency.pieces import Pieces
from authotron.config.section import Section
from authotron.gateway.gateway import Gateway, Invalidate
from authotron.model.authentication import Authentication
from authotron.model.errors import ExceedsGrant, NoSuchToken, Problem, TooMany, Unavailable
from authotron.model.token import AT_ONCE, Token
from authotron.plugin.interfaces import TokenQuery
from authotron.telemetry import audit
from authotron.telemetry.audit import Actor
from authotron.tokens.grants import TokenRequest
from authotron.web import replies
from authotron.web.finishing import finish
from authotron.web.replies import Reply
from authotron.web.request import Request
from authotron.web.routing import EarlyReply
from authotron.web.token_bodies import (
    LeakedToken,
    NewToken,
    TokenChange,
    page_limit,
    read_body,
    read_query,
    token_as_json,
)

if TYPE_CHECKING:  # compose() loads this module if a token store is configured
    from authotron.tokens.service import TokenService

_log = Logger()
_S = TypeVar("_S", bound=Section)
_T = TypeVar("_T")

_MAX_LISTED = 100
"""Maximum number of API tokens on one page of a list."""

_LARGEST_PAGE = 512 * 1024
"""Number of bytes after which a page of a list of API tokens ends, even below its C{limit}."""

_TOO_MANY = Problem(
    "", "you have as many API tokens as tokens.max_per_owner allows; revoke one first"
)
_UNKNOWN_CNF = Problem("cnf", "unknown key")
"""The problem of a request for a bound token, if the configuration does not allow such tokens."""

_CROSS_SITE = Problem(
    "", "GET /token must not be requested by a page of another site, or prefetched"
)
_PREFETCH = re.compile(rb"prefetch|prerender|preview", re.IGNORECASE)


@frozen
class TokenRoutes:
    """Does the work of each route for API tokens; one object is created for each request."""

    _gateway: Gateway[Reply]
    _invalidate_all_workers: Invalidate
    _clock: IReactorTime
    _client: Callable[[], str]

    async def make(self, requester: Authentication, request: Request) -> Reply:
        requested = self._body(request, NewToken).as_request()
        if requested.binding is not None and self._tokens.config.bound is None:
            raise EarlyReply(replies.malformed([_UNKNOWN_CNF]))
        text, token = await self._make(requester, requested)
        return replies.created_json({"token": text, **token_as_json(token)}, f"/tokens/{token.id}")

    async def make_by_get(self, requester: Authentication, request: Request) -> Reply:
        """
        Create an API token by C{GET /token}, as auth-o-tron does.

        No API token is created for a HEAD request, for a request by a page of another site, or for
        a prefetch.
        """
        if request.method == b"HEAD" or not self._tokens.compat:
            return replies.method_not_allowed(["GET"] if self._tokens.compat else [])
        if _is_cross_site_or_prefetch(request):
            raise EarlyReply(replies.exceeds_grant([_CROSS_SITE]))
        text, _ = await self._make(requester, TokenRequest())
        return replies.private_json({"token": text})

    async def list_tokens(self, requester: Authentication, request: Request) -> Reply:
        """
        Return one page of a list of API tokens.

        API tokens of earlier versions may have 60 kB each, so a page is encoded in pieces, and ends
        early when it exceeds 512 kB. If there are further API tokens after the page, C{next} is the
        id of the last one on the page.
        """
        query, pieces = self._query(requester, request), Pieces(self._clock)
        encoded: list[bytes] = []
        left, size, last, ended = query.most, 0, query.after, False
        while left and size < _LARGEST_PAGE and not ended:
            part = evolve(query, after=last, most=min(left, AT_ONCE))
            found = await _as_replies(self._tokens.list_tokens(requester, part))
            ended = len(found) < part.most
            for token in found:
                encoded.append(json.dumps(token_as_json(token)).encode())
                left, size, last = left - 1, size + len(encoded[-1]), token.id
                await pieces.add(len(encoded[-1]))
        following = b"" if ended else b', "next": ' + json.dumps(last).encode()
        body = b'{"tokens": [' + b", ".join(encoded) + b"]" + following + b"}"
        return replies.encoded_json(body)

    async def show(self, requester: Authentication, id_: str) -> Reply:
        token = await _as_replies(self._tokens.show(requester, id_))
        return replies.private_json(token_as_json(token))

    async def change(self, requester: Authentication, request: Request, id_: str) -> Reply:
        body = self._body(request, TokenChange)
        before = await _as_replies(self._tokens.show(requester, id_))
        changing = self._tokens.change(
            requester,
            id_,
            name=body.name,
            comment=body.comment,
            ttl=body.ttl,
            by=self._actor(requester),
        )
        if body.ttl is None:  # Decisions do not depend on the name or the comment of an API token.
            token = await finish(_as_replies(changing))
        else:
            token = await finish(self._then_invalidate(changing, before.id))
        return replies.private_json(token_as_json(token))

    async def revoke(self, requester: Authentication, id_: str) -> Reply:
        token = await _as_replies(self._tokens.show(requester, id_))
        revoking = self._tokens.revoke(requester, id_, self._actor(requester))
        await finish(self._then_invalidate(revoking, token.id))
        return replies.REVOKED

    async def revoke_presented(self, request: Request) -> Reply:
        """
        Revoke the API token in the request body, without authentication.

        A client needs only the API token itself to revoke it, so that each client that finds a
        leaked API token can revoke it. The reply does not tell whether the API token was valid. If
        the API token is not valid, no cached decision is invalidated, so that clients cannot clear
        the caches with made-up tokens.
        """
        text = self._body(request, LeakedToken).token
        client = self._client()
        valid_id = await _as_replies(self._tokens.valid_id(text, client))
        if valid_id is not None:
            revoking = self._tokens.revoke_presented(text, audit.holder(client))
            await finish(self._then_invalidate(revoking, valid_id))
        return replies.REVOKED

    def _body(self, request: Request, section: type[_S]) -> _S:
        """
        Parse the body of a request about API tokens.

        @raise EarlyReply: the token store is disabled, or the body is malformed.
        """
        if self._gateway.tokens is None:
            raise EarlyReply(replies.STORE_DISABLED)
        return read_body(request, section)

    @property
    def _tokens(self) -> TokenService:
        tokens = self._gateway.tokens
        if tokens is None:
            raise EarlyReply(replies.STORE_DISABLED)
        return tokens

    async def _make(self, requester: Authentication, requested: TokenRequest) -> tuple[str, Token]:
        can_look_up = self._gateway.owners.can_look_up(requester.identity, requester.provider)
        making = self._tokens.make(
            requester, requested, can_look_up=can_look_up, by=self._actor(requester)
        )
        plain, token = await finish(_as_replies(making))
        return plain.text, token

    def _actor(self, requester: Authentication) -> Actor:
        return audit.identified(requester, self._client())

    async def _then_invalidate(self, work: Awaitable[_T], id_: str) -> _T:
        """
        Change an API token, and then invalidate the cached decisions that depend on it, in all
        workers.

        Cached decisions are invalidated even if the store does not confirm the change, unless the
        requester may not see the API token or it does not exist.
        """
        is_unchanged = False
        try:
            return await _as_replies(work)
        except EarlyReply as end:
            is_unchanged = end.reply is replies.NO_SUCH_TOKEN
            raise
        finally:
            if not is_unchanged:
                # A reload of the configuration may have replaced the gateway object meanwhile, so
                # the caches of the earlier and of the current gateway object are invalidated.
                self._gateway.decisions.invalidate([id_])
                await _as_replies(self._invalidate_all_workers([id_]))

    def _query(self, requester: Authentication, request: Request) -> TokenQuery:
        """
        Parse the query for a list of API tokens; only administrators may list API tokens of other
        owners.
        """
        query = read_query(request, {"limit", "after", "realm", "username", "all"})
        others = self._tokens.is_admin(requester) and {"realm", "username", "all"} & query.keys()
        return TokenQuery(
            query.get("realm") if others else requester.identity.realm,
            query.get("username") if others else requester.identity.username,
            query.get("after", ""),
            min(page_limit(query), _MAX_LISTED),
        )


def _is_cross_site_or_prefetch(request: Request) -> bool:
    """
    Whether a page of another site causes the request, or the browser prefetches it.

    The header C{Sec-Fetch-Site} tells whether a page of another site causes the request (Fetch
    Metadata Request Headers, 2.4). A header C{Sec-Purpose}, C{Purpose}, C{X-Purpose} or C{X-Moz}
    marks a prefetch. A current browser always sends C{Sec-Fetch-Site}, or a header that marks a
    prefetch.
    """
    values = request.requestHeaders.getRawHeaders
    sites = values(b"Sec-Fetch-Site", [])
    if any(site.strip().lower() not in (b"same-origin", b"none") for site in sites):
        return True
    names = (b"Purpose", b"Sec-Purpose", b"X-Purpose", b"X-Moz")
    return any(_PREFETCH.search(value) for name in names for value in values(name, []))


async def _as_replies(work: Awaitable[_T]) -> _T:
    """
    Await an API token operation, and turn its errors into replies.

    @raise EarlyReply: the work failed; the exception contains the reply that says why.
    """
    try:
        return await work
    except NoSuchToken:
        raise EarlyReply(replies.NO_SUCH_TOKEN) from None
    except TooMany:
        raise EarlyReply(replies.exceeds_grant([_TOO_MANY])) from None
    except ExceedsGrant as error:
        raise EarlyReply(replies.exceeds_grant(error.problems)) from None
    except Unavailable as error:
        _log.warn(
            "token store unavailable, request answered with 503: {reason}",
            reason=str(error),
            event="store.unavailable",
        )
        raise EarlyReply(replies.STORE_UNAVAILABLE) from None

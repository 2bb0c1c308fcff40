"""
The route C{/permissions}: the list of permissions of the client or of another identity. From this
list a program can decide about requests without asking the gateway.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.pieces import Pieces
from authotron.gateway.gateway import Gateway
from authotron.gateway.policy import PolicyAccess
from authotron.model.authentication import Authentication, Login
from authotron.model.errors import AmbiguousRequest, MayNotAsk, Problem
from authotron.model.token import Grant
from authotron.policy import networks, permission_list
from authotron.policy.permission_list import Layer, TooLong
from authotron.policy.rule_limits import moment
from authotron.policy.subjects import in_normal_form
from authotron.tokens.restriction_sets import RestrictionSet
from authotron.web import replies
from authotron.web.later_routes import Call
from authotron.web.permissions_body import read_question
from authotron.web.policy_questions import Asking, asking, judged
from authotron.web.replies import Reply
from authotron.web.request import Request
from authotron.web.routing import EarlyReply
from authotron.web.token_bodies import read_query

_API = "permissions"
"""The name of the routes C{/permissions} in metrics and in the log."""

_TAG = re.compile(r'(?:W/)?("[!#-~\x80-\xff]*")')
"""An entity tag in the header C{If-None-Match} (RFC 9110 section 8.8.3)."""

_NOT_LISTED = Problem(
    "", "the credential has conditions that a list cannot state; ask POST /authz about requests"
)
_TOO_LONG = Problem(
    "",
    f"the identity has more than {permission_list.MOST_PERMISSIONS} permissions; ask POST /authz "
    "about requests",
)


@frozen
class _Subject:
    """
    The identity that a permission list is about.

    @ivar name: the identity as the log names it.
    @ivar claims: the claims of the identity that the permission list is about, in alphabetical
        order.
    @ivar conditions: the limits of the credential, as layers of the permission list (sets of rules,
        each of which must allow a request).
    @ivar login: what is known about the login of the user.
    @ivar expires: when the credential expires, in seconds since the epoch; C{None} for never.
    """

    name: str
    access: PolicyAccess
    claims: list[str]
    conditions: tuple[Layer, ...] = ()
    login: Login | None = None
    expires: float | None = None


async def mine(call: Call) -> Reply:
    """Answer C{GET /permissions}."""
    route = PermissionsRoute(call.gateway, call.clock)
    return await route.mine(await call.authentication(), call.request)


async def of_another(call: Call) -> Reply:
    """Answer C{POST /permissions}."""
    route = PermissionsRoute(call.gateway, call.clock)
    return await route.of_another(await call.authentication(), call.request)


@frozen
class PermissionsRoute:
    """Answers C{/permissions}; one object is created for each request."""

    _gateway: Gateway[Reply]
    _clock: IReactorTime

    async def mine(self, requester: Authentication, request: Request) -> Reply:
        """
        Answer C{GET /permissions} with the permission list of the client itself, or with a 304 if
        the client has the current list already.

        @raise EarlyReply: the query is malformed (400), the client states a namespace but has no
            role of C{policy.askers} (403), or the list would be too long (422).
        """
        each = asking(_API, self._gateway, requester, request)
        namespace = self._namespace(each, read_query(request, {"namespace"}).get("namespace"))
        body = await self._list(each, self._bearer(each, requester, namespace), namespace)
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if is_listed(tag, request.header_values("If-None-Match")):
            return replies.not_modified(tag)
        return replies.tagged_json(body, tag)

    async def of_another(self, requester: Authentication, request: Request) -> Reply:
        """
        Answer C{POST /permissions} with the permission list of the identity that the request body
        states.

        @raise EarlyReply: the body is malformed (400, 422), the token in the body is not valid
            (401), the client may not ask about the identity (403), or the list would be too long
            (422).
        """
        question = read_question(request)
        each = asking(_API, self._gateway, requester, request)
        namespace = self._namespace(each, question.namespace)
        if question.token is not None:
            _, found = await judged(self._gateway, question.token, request.sender)
            subject = self._bearer(each, found, namespace)
        elif question.claims is not None:
            subject = self._stated(each, requester, question.claims, namespace)
        else:
            subject = self._bearer(each, requester, namespace)
        return replies.encoded_json(await self._list(each, subject, namespace))

    def _namespace(self, each: Asking, stated: str | None) -> str:
        """
        Return the namespace to which the permission list applies.

        @raise EarlyReply: the string is not a namespace, or the client may not state a namespace.
        """
        try:
            return each.caller.namespace(stated)
        except MayNotAsk as why:
            raise EarlyReply(each.refused(why)) from None
        except AmbiguousRequest as error:
            each.unclear()
            raise EarlyReply(replies.unprocessable([Problem(error.part, error.why)])) from None

    def _bearer(self, each: Asking, found: Authentication, namespace: str) -> _Subject:
        """
        Return the bearer of a credential as the subject of a permission list.

        @param namespace: the namespace to which the permission list applies.

        @raise EarlyReply: the client may not ask about the bearer of the credential, or a
            permission list cannot express a condition of the credential.
        """
        enforcement = each.caller.enforcement
        try:
            each.caller.check_user(found.identity.realm, found.identity.username)
        except MayNotAsk as why:
            raise EarlyReply(each.refused(why)) from None
        ends: float | None = getattr(found.restriction, "expires", None)
        return _Subject(
            f"{found.identity.username} in realm {found.identity.realm}",
            enforcement.access(found),
            sorted(enforcement.claims(found)),
            tuple(self._conditions(each, found, namespace)),
            found.login,
            found.expires_at() if ends is None else ends,
        )

    @staticmethod
    def _conditions(each: Asking, found: Authentication, namespace: str) -> Iterator[Layer]:
        """
        Yield the conditions of a credential as layers of a permission list.

        @raise EarlyReply: a plugin has set a condition that a permission list cannot express.
        """
        for condition in found.conditions:
            if isinstance(condition, RestrictionSet):
                yield condition.layer(namespace)
                continue
            if not isinstance(condition, Grant):
                each.unclear()
                raise EarlyReply(replies.unprocessable([_NOT_LISTED]))
            parsed = map(networks.parse, condition.networks)
            yield permission_list.limited_to(condition.hosts, parsed)

    def _stated(
        self, each: Asking, requester: Authentication, claims: Iterable[str], namespace: str
    ) -> _Subject:
        """
        Return an identity with the given claims as the subject of a permission list.

        @raise EarlyReply: the client may not ask about the identity.
        """
        try:
            access = each.caller.access_of(claims)
        except MayNotAsk as why:
            raise EarlyReply(each.refused(why)) from None
        if not each.caller.is_asker:
            return self._bearer(each, requester, namespace)
        stated = sorted({*map(in_normal_form, claims)})
        return _Subject(", ".join(stated), access, stated)

    async def _list(self, each: Asking, subject: _Subject, namespace: str) -> bytes:
        """
        Return the JSON of a permission list; it is made in pieces, between which the reactor can
        serve other requests.

        @raise EarlyReply: the permission list would be too long.
        """
        enforcement, pieces = each.caller.enforcement, Pieces(self._clock)
        head: dict[str, Any] = {
            "namespace": namespace,
            "mode": "observe" if enforcement.observes else "enforce",
            "claims": subject.claims,
            "login": permission_list.login_as_json(subject.login),
            "expires": None if subject.expires is None else moment(subject.expires),
            "max_age": max(1, int(self._gateway.config.file.auth.cache.ttl)),
        }
        try:
            layers = [*subject.access.layers(namespace), *subject.conditions]
        except TooLong:
            each.unclear()
            raise EarlyReply(replies.unprocessable([_TOO_LONG])) from None
        parts = []
        for fragment in permission_list.fragments(head, layers):
            parts.append(fragment)
            await pieces.add(len(fragment))
        each.listed(subject.name, namespace)
        return "".join(parts).encode()


def is_listed(tag: str, fields: Iterable[str]) -> bool:
    """
    Return whether C{If-None-Match} lists an entity tag, or C{*} (RFC 9110 section 13.1.2).

    @param fields: the values of all C{If-None-Match} headers of the request.
    """
    given = ",".join(fields)
    return given.strip() == "*" or tag in _TAG.findall(given)

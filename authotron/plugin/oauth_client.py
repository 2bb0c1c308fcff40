"""Authenticate the gateway to an OAuth server as one of its clients (RFC 6749 section 2.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import quote_plus

from attrs import define, field

from authotron.model.errors import Unavailable
from authotron.net.http import RemoteResponse, WebClient

Method = Literal["basic", "basic-raw", "post"]
"""How the gateway sends its client id and client secret to an OAuth server; see L{OAuthClient}."""

_UNAUTHORIZED = 401


@define(eq=False)
class OAuthClient:
    """
    Sends forms to an OAuth server, with the client id and client secret of the gateway.

    With the method C{basic} client id and secret are form-encoded, and sent by Basic
    authentication, as RFC 6749 demands. With the method C{basic-raw} client id and secret are sent
    by Basic authentication unencoded, as many servers expect. The methods C{basic} and C{basic-raw}
    differ if the id or the secret contains C{+}, C{%}, C{:} or non-ASCII characters. With the
    method C{post} client id and secret are members of the form.

    @ivar _methods: the method of authentication to use first, and then the methods to try if the
        server answers 401.
    """

    _web: WebClient
    _id: str
    _secret: str = field(repr=False)
    _methods: Sequence[Method]

    def __attrs_post_init__(self) -> None:
        sent = {method: self._basic(method) for method in self._methods}
        known = dict.fromkeys(sent.values())
        # two methods of client authentication that send equal headers would get equal answers
        if len(known) < len(sent):
            self._methods = self._methods[:1]

    async def post(
        self, url: str, form: Mapping[str, str], *, repeatable: bool = False
    ) -> RemoteResponse:
        """
        Send a form to the OAuth server; after a 401, send it again with the next authentication
        method.

        @param repeatable: whether the form may be sent twice; see L{WebClient.post}. A form that
            must not be sent twice gets a new connection, which the server does not close before it
            has read the form.

        @raise Unavailable: there was no response in time, or its body is too large.
        """
        first, *others = self._methods
        answer = await self._send(url, form, first, repeatable=repeatable)
        for method in others:
            if answer.status != _UNAUTHORIZED:
                break
            answer = await self._send(url, form, method, repeatable=repeatable)
            if answer.status != _UNAUTHORIZED:
                self._methods = (method, *(each for each in self._methods if each != method))
        return answer

    def refused(self, answer: RemoteResponse) -> Unavailable:
        """
        Create the error for an HTTP status that leaves a token's validity open.

        A 401 means that the server refuses the gateway as a client (RFC 6749 section 5.2).
        """
        if answer.status != _UNAUTHORIZED:
            return answer.unexpected_status()
        return Unavailable(
            f"{answer.place} answered 401: it refuses the client {self._id!a}; check its id and "
            "secret, and client_auth"
        )

    async def _send(
        self, url: str, form: Mapping[str, str], method: Method, *, repeatable: bool
    ) -> RemoteResponse:
        """
        Send a form, and authenticate the gateway by one method.

        With the method C{post} the client id and secret of the gateway are not added to a form that
        contains a C{client_id}, because that may be the id of another client.
        """
        if method == "post" and "client_id" not in form:
            form = {**form, "client_id": self._id, "client_secret": self._secret}
        basic = self._basic(method)
        return await self._web.post(
            url, form=form, basic=basic, repeatable=repeatable, new_connection=not repeatable
        )

    def _basic(self, method: Method) -> tuple[str, str] | None:
        if method == "post":
            return None
        if method == "basic-raw":
            return self._id, self._secret
        return quote_plus(self._id), quote_plus(self._secret)

"""Authenticate the gateway to an OAuth server as one of its clients (RFC 6749 section 2.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import quote_plus

from attrs import define, field

from authotron.net.http import RemoteResponse, WebClient

Method = Literal["basic", "basic-raw", "post"]
"""How id and secret of the client are sent; see L{OAuthClient}."""

_UNAUTHORIZED = 401


@define(eq=False)
class OAuthClient:
    """
    Sends forms to an OAuth server, with the id and secret of a client.

    With C{basic} both are form-encoded before they are sent by Basic authentication, as RFC 6749
    demands. With C{basic-raw} they are sent unchanged, which many servers expect instead; it makes
    a difference for characters such as C{+}, C{%}, C{:} and those beyond ASCII. With C{post} they
    are members of the form.

    @ivar _methods: the method in use, and those to try if the server answers 401 to it.
    """

    _web: WebClient
    _id: str
    _secret: str = field(repr=False)
    _methods: Sequence[Method]

    def __attrs_post_init__(self) -> None:
        sent = {method: self._basic(method) for method in self._methods}
        known = dict.fromkeys(sent.values())
        if len(known) < len(sent):  # no character differs, so a second method would send the same
            self._methods = self._methods[:1]

    async def post(self, url: str, form: Mapping[str, str]) -> RemoteResponse:
        """
        Send a form; if the server refuses the client by a 401, try the next method.

        @raise Unavailable: there was no response in time, or its body is too large.
        """
        first, *others = self._methods
        answer = await self._send(url, form, first)
        for method in others:
            if answer.status != _UNAUTHORIZED:
                break
            answer = await self._send(url, form, method)
            if answer.status != _UNAUTHORIZED:
                self._methods = (method, *(each for each in self._methods if each != method))
        return answer

    async def _send(self, url: str, form: Mapping[str, str], method: Method) -> RemoteResponse:
        """Send a form; one that names another client itself gets no secret of this one."""
        if method == "post" and "client_id" not in form:
            form = {**form, "client_id": self._id, "client_secret": self._secret}
        return await self._web.post(url, form=form, basic=self._basic(method))

    def _basic(self, method: Method) -> tuple[str, str] | None:
        if method == "post":
            return None
        if method == "basic-raw":
            return self._id, self._secret
        return quote_plus(self._id), quote_plus(self._secret)

"""Fetch the key set of an issuer: from a configured URL, or from the URL that the issuer names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from authotron.jose.claim_values import other_issuer
from authotron.jose.jwk import KeysByName, read
from authotron.jose.key_set_files import RequestHeaders
from authotron.model.errors import Unavailable
from authotron.net.http import RemoteResponse, WebClient
from authotron.net.urls import check_url, origin

_MAX_BYTES = 1_048_576
"""Maximum size of a key set or a discovery document, in bytes."""

_ACCEPT = "application/jwk-set+json, application/json;q=0.9, */*;q=0.1"
"""The media type of key sets (RFC 7517 section 8.5.1), and other types that servers send."""

_TIMEOUT = 10.0
"""Timeout of a request for a key set or a discovery document, in seconds."""

_MOST_REDIRECTS = 3
"""Maximum number of redirects that are followed for one document."""

_DISCOVERY_TTL = 3600.0
"""Number of seconds for which the URL from a discovery document is used."""


class Source(Protocol):
    """The place where an issuer publishes its key set."""

    async def __call__(self) -> KeysByName:
        """
        Fetch the key set from the place where the issuer publishes it.

        @raise Unavailable: the key set cannot be fetched.
        """


@define(eq=False)
class FixedUrl:
    """A key set at a configured URL."""

    _web: WebClient
    _url: str
    _headers: RequestHeaders = field(factory=RequestHeaders)

    async def __call__(self) -> KeysByName:
        return await fetch(self._web, self._url, self._headers.load())


@define(eq=False)
class Discovery:
    """
    A key set whose URL the issuer's discovery document names (OpenID Connect Discovery 1.0).

    The configured headers, which may be secret, are sent only to the host of the issuer.
    """

    _web: WebClient
    _clock: IReactorTime
    _issuer: str
    _headers: RequestHeaders = field(factory=RequestHeaders)
    _url: str | None = field(default=None, init=False)
    _url_expires: float = field(default=0.0, init=False)

    async def __call__(self) -> KeysByName:
        if self._url is None or self._clock.seconds() >= self._url_expires:
            self._url = await self._discover()
            self._url_expires = self._clock.seconds() + _DISCOVERY_TTL
        try:
            is_same = origin(self._url) == origin(self._issuer)
            return await fetch(self._web, self._url, self._headers.load() if is_same else {})
        except Unavailable:
            self._url = None
            raise

    async def _discover(self) -> str:
        place = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        answer = await _get(self._web, place, {}, self._headers.load())
        if not answer.is_success:
            raise answer.unexpected_status()
        document = answer.json_object()
        if (said := document.get("issuer")) != self._issuer:
            raise Unavailable(
                f"{place} describes another issuer: {other_issuer(said, self._issuer)}"
            )
        url = document.get("jwks_uri")
        schemes = ("https://",) if self._issuer.startswith("https://") else ("https://", "http://")
        try:
            if isinstance(url, str) and url.startswith(schemes):
                return check_url(url)
        except ValueError:
            pass
        raise Unavailable(f"{place} names no usable jwks_uri")


async def fetch(web: WebClient, url: str, headers: Mapping[str, str]) -> KeysByName:
    """
    Fetch the key set at a URL.

    @raise Unavailable: the key set cannot be fetched.
    """
    answer = await _get(web, url, {"Accept": _ACCEPT}, headers)
    if not answer.is_success:
        raise answer.unexpected_status()
    return read(answer.json_object(), answer.place)


async def _get(
    web: WebClient, url: str, usual: Mapping[str, str], secret: Mapping[str, str]
) -> RemoteResponse:
    """
    Send a GET request, and follow redirects within the same scheme, host and port.

    @param secret: headers that are sent to C{url} alone, since they may hold credentials.

    @raise Unavailable: there was no response, or the server sent a redirect that must not be
        followed.
    """
    headers = {**usual, **secret}
    response = await _get_once(web, url, headers)
    for _ in range(_MOST_REDIRECTS):
        target = response.redirect_target(url)
        if target is None:
            break
        url = target
        response = await _get_once(web, url, usual)
    return response


async def _get_once(web: WebClient, url: str, headers: Mapping[str, str]) -> RemoteResponse:
    """
    Send a GET request on a connection of its own: requests for keys are rare, and some issuers
    close connections right after each response.
    """
    return await web.get(
        url, limit=_MAX_BYTES, timeout=_TIMEOUT, headers=headers, new_connection=True
    )

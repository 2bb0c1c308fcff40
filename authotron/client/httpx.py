"""Authentication for httpx: calls other services with a token that is renewed in time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import httpx

from authotron.client.origins import origin_of, origins
from authotron.client.presenting import UNAUTHORIZED, Presenter
from authotron.client.renewal import TokenSource

if TYPE_CHECKING:  # imported at run time only if tokens are bound to a key
    from authotron.client.proofs import ProofKey


class AuthotronAuth(httpx.Auth):
    """
    Sends a token to the services for which the token is meant, and renews the token once if a
    service refuses it.

    @param only: URLs of the services that get the token; requests to other hosts are sent without
        the token.
    @param key: the key to which the token is bound, or C{None} for a bearer token.
    """

    def __init__(self, source: TokenSource, *only: str, key: ProofKey | None = None) -> None:
        self._source, self._origins = source, origins(only)
        self._presenter = Presenter(source, key)

    def _present(self, request: httpx.Request, token: str) -> None:
        request.headers.update(self._presenter.headers(token, request.method, str(request.url)))

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request of a synchronous client."""
        if origin_of(str(request.url)) not in self._origins:
            yield request
            return
        token = self._source.get()
        self._present(request, token)
        response = yield request
        if response.status_code == UNAUTHORIZED:
            self._presenter.refused(token, response.headers.get)
            self._present(request, self._source.get())
            yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send a request of an asynchronous client."""
        if origin_of(str(request.url)) not in self._origins:
            yield request
            return
        token = await self._source.get_async()
        self._present(request, token)
        response = yield request
        if response.status_code == UNAUTHORIZED:
            self._presenter.refused(token, response.headers.get)
            self._present(request, await self._source.get_async())
            yield request

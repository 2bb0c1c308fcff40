"""Authentication for httpx: calls other services with a token that is renewed in time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx

from authotron.client.origins import origin_of, origins
from authotron.client.renewal import TokenSource

_UNAUTHORIZED = 401


class AuthotronAuth(httpx.Auth):
    """
    Sends a bearer token to the services that it is for, and renews it once if it is refused.

    @param only: URLs of the services that get the token; requests to other hosts are sent without
        the token.
    """

    def __init__(self, source: TokenSource, *only: str) -> None:
        self._source, self._origins = source, origins(only)

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request of a synchronous client."""
        if origin_of(str(request.url)) not in self._origins:
            yield request
            return
        token = self._source.get()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == _UNAUTHORIZED:
            self._source.refused(token)
            request.headers["Authorization"] = f"Bearer {self._source.get()}"
            yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send a request of an asynchronous client."""
        if origin_of(str(request.url)) not in self._origins:
            yield request
            return
        token = await self._source.get_async()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == _UNAUTHORIZED:
            self._source.refused(token)
            request.headers["Authorization"] = f"Bearer {await self._source.get_async()}"
            yield request

"""Authentication for requests: calls other services with a token that is renewed in time."""

from __future__ import annotations

from typing import Any

from requests import PreparedRequest, Response  # noqa: TID251 - services that use the package requests may block
from requests.auth import AuthBase  # noqa: TID251 - services that use the package requests may block

from authotron.client.origins import origin_of, origins
from authotron.client.renewal import TokenSource

_UNAUTHORIZED = 401


class AuthotronAuth(AuthBase):
    """
    Sends a bearer token to the services that it is for, and renews it once if it is refused.

    @param only: URLs of the services that get the token; requests to other hosts are sent without
        the token.
    """

    def __init__(self, source: TokenSource, *only: str) -> None:
        self._source, self._origins = source, origins(only)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the token to a request."""
        if origin_of(request.url or "") in self._origins:
            token = self._source.get()
            request.headers["Authorization"] = f"Bearer {token}"
            request.register_hook(
                "response", lambda response, **options: self._again(response, token, options)
            )
        return request

    def _again(self, response: Response, token: str, options: dict[str, Any]) -> Response:
        """
        If the token was refused, send the request a second time with a new token, unless the
        request was redirected to another host.
        """
        sent = response.request
        if response.status_code != _UNAUTHORIZED or origin_of(sent.url or "") not in self._origins:
            return response
        self._source.refused(token)
        # the body of the response must be read before the connection can be used again
        content = response.content
        del content
        again = sent.copy()
        again.hooks = {"response": []}
        again.headers["Authorization"] = f"Bearer {self._source.get()}"
        connection: Any = response.connection  # private in the adapters of requests
        renewed: Response = connection.send(again, **options)
        renewed.history.append(response)
        renewed.request = again
        return renewed

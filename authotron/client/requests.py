"""Authentication for requests: calls other services with a token that is renewed in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, Response  # noqa: TID251 - services that use the package requests may block
from requests.auth import AuthBase  # noqa: TID251 - services that use the package requests may block

from authotron.client.origins import origin_of, origins
from authotron.client.presenting import UNAUTHORIZED, Presenter
from authotron.client.renewal import TokenSource

if TYPE_CHECKING:  # imported at run time only if tokens are bound to a key
    from authotron.client.proofs import ProofKey


class AuthotronAuth(AuthBase):
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

    def _present(self, request: PreparedRequest, token: str) -> None:
        found = self._presenter.headers(token, request.method or "GET", request.url or "")
        request.headers.update(found)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the token to a request."""
        if origin_of(request.url or "") in self._origins:
            token = self._source.get()
            self._present(request, token)
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
        if response.status_code != UNAUTHORIZED or origin_of(sent.url or "") not in self._origins:
            return response
        self._presenter.refused(token, response.headers.get)
        # the body of the response must be read before the connection can be used again
        content = response.content
        del content
        again = sent.copy()
        again.hooks = {"response": []}
        self._present(again, self._source.get())
        connection: Any = response.connection  # private in the adapters of requests
        renewed: Response = connection.send(again, **options)
        renewed.history.append(response)
        renewed.request = again
        return renewed

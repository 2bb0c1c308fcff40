"""The headers by which a request presents a token: as a bearer token, or with a proof of a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from authotron.client.renewal import TokenSource

if TYPE_CHECKING:  # imported at run time only if tokens are bound to a key
    from authotron.client.proofs import ProofKey

UNAUTHORIZED = 401


class Presenter:
    """Presents the tokens of a source to services."""

    def __init__(self, source: TokenSource, key: ProofKey | None) -> None:
        """@param key: the key to which the tokens are bound, or C{None} for bearer tokens."""
        self.source = source
        self._key = key

    def headers(self, token: str, method: str, url: str) -> Mapping[str, str]:
        """Return the headers by which a request presents a token."""
        if self._key is None:
            return {"Authorization": f"Bearer {token}"}
        return self._key.headers(token, method, url)

    def refused(self, token: str, header: Callable[[str], str | None]) -> None:
        """
        Note that a service has refused a token: a new token is needed, unless the service only asks
        for a proof with its nonce.

        @param header: returns the value of a header of the response.
        """
        if self._key is None or not self._key.learn(header("DPoP-Nonce")):
            self.source.refused(token)

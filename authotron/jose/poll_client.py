"""Ask an identity provider for the security events that it has for this gateway (RFC 8936)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from authotron.model.errors import Unavailable
from authotron.net.http import WebClient

MOST = 100
"""Maximum number of security event tokens that are taken from one response."""


@frozen
class HttpPollClient:
    """
    Asks the poll endpoint of one identity provider.

    The gateway does not trust the answer of the endpoint: a redirect to another host is not
    followed, the size of the answer is limited, and of its content only the tokens count, which the
    gateway verifies one by one.
    """

    _web: WebClient
    _url: str
    interval: float
    _token: str | None = field(default=None, repr=False)

    async def ask(
        self, acknowledged: Sequence[str], errors: Mapping[str, Mapping[str, str]]
    ) -> tuple[Mapping[str, str], bool]:
        """
        Acknowledge tokens, and return further tokens by their C{jti}, and whether there are more.

        @param errors: for each token that is not valid the error, see RFC 8936 section 2.6.

        @raise Unavailable: the identity provider does not answer, or its answer is malformed.
        """
        content: dict[str, object] = {"maxEvents": MOST, "returnImmediately": True}
        if acknowledged:
            content["ack"] = [*acknowledged]
        if errors:
            content["setErrs"] = dict(errors)
        answer = await self._web.post(self._url, content=content, bearer=self._token)
        if not answer.is_success:
            raise answer.unexpected_status()
        document = answer.json_object()
        sets = document.get("sets", {})
        if not isinstance(sets, dict) or not all(isinstance(each, str) for each in sets.values()):
            raise Unavailable(f"{answer.place} did not answer with an object of tokens in sets")
        taken = dict([*sets.items()][:MOST])
        return taken, bool(taken) and document.get("moreAvailable") is True

"""A gateway in memory that is asked the same question at every entrance."""

from __future__ import annotations

from typing import Any

from attrs import define

from tests.config.cases import laid_over
from tests.web import conversations
from tests.web.conversations import ALICE
from tests.web.fastcgi.conversations import FastCgiGateway
from tests.web.grpc.dialogue import Proxy

TRUSTED = {"server": {"trusted_proxies": ["192.0.2.0/24", "127.0.0.0/8"]}}


@define
class Answer:
    """
    What a proxy gets.

    @ivar headers: the headers of a 200 that the proxy sets in the request of the client, or those
        of a refusal, which the client gets; the names are in lower case.
    @ivar removed: the headers that the proxy removes from the request of the client.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""
    removed: tuple[str, ...] = ()


class Entrances:
    """
    The site and the fast path, which are asked at the path of a contract, FastCGI and gRPC.

    @ivar gateway: the gateway behind all of them.
    """

    def __init__(self, over: dict[str, Any] | None = None) -> None:
        self._fastcgi = FastCgiGateway(laid_over(TRUSTED, over or {}))
        self.gateway = self._fastcgi.gateway
        self._grpc = Proxy(self.gateway)

    def ask(
        self, line: str = "GET /authenticate", authorization: str = ALICE, **headers: str
    ) -> dict[str, Answer]:
        """
        Ask at every entrance, and return the answers by the names of the entrances.

        @param line: method and target of the question over HTTP; the other protocols state the
            same method.
        @param headers: further headers; underscores stand for hyphens.
        """
        method = line.partition(" ")[0]
        return {
            "fastcgi": self._by_fastcgi(method, authorization, **headers),
            "grpc": self._by_grpc(method, authorization, **headers),
            **self.ask_http(line, authorization, **headers),
        }

    def ask_protocols(self, path: str, authorization: str = ALICE) -> dict[str, Answer]:
        """Ask about a path by FastCGI and gRPC."""
        return {
            "fastcgi": self._by_fastcgi("GET", authorization, path=path),
            "grpc": self._by_grpc("GET", authorization, path=path),
        }

    @staticmethod
    def request(line: bytes) -> bytes:
        """Return the bytes of a question."""
        return b"%b HTTP/1.1\r\nHost: gate\r\nAuthorization: %b\r\n\r\n" % (line, ALICE.encode())

    def ask_http(
        self, line: str = "GET /authenticate", authorization: str = ALICE, **headers: str
    ) -> dict[str, Answer]:
        """Ask at the site and on the fast path."""
        sent = {"Authorization": authorization, **headers} if authorization else headers
        return {
            name: _of_http(self.gateway.ask(line, site, **sent))
            for name, site in (
                ("site", self.gateway.public),
                ("fast path", self.gateway.entrance),
            )
        }

    def _by_fastcgi(
        self, method: str, authorization: str, path: str = "/data/x", **headers: str
    ) -> Answer:
        found = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        credential: Any = authorization or ...
        answer = self._fastcgi.ask(
            REQUEST_METHOD=method, REQUEST_URI=path, HTTP_AUTHORIZATION=credential, **found
        )
        names = {
            name.removeprefix("Variable-").replace("_", "-").lower(): value
            for name, value in answer.headers.items()
        }
        return Answer(answer.status, names, answer.body)

    def _by_grpc(
        self, method: str, authorization: str, path: str = "/data/x", **headers: str
    ) -> Answer:
        found = {name.lower(): value for name, value in headers.items()}
        if authorization:
            found["authorization"] = authorization
        response = self._grpc.check(method=method, path=path, **found)
        if response.says == 200:
            return Answer(200, response.added, b"", tuple(response.removed))
        refusal = {name.lower(): value for name, value in response.refusal.items()}
        return Answer(response.says, refusal, bytes(response.check.denied_response.body))


_OF_THE_REPLY = ("server", "date", "connection", "content-length")
"""Headers of a reply over HTTP that concern the reply itself."""

_OF_A_200 = "cache-control"


def _of_http(answer: conversations.Answer) -> Answer:
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in _OF_THE_REPLY and (answer.status != 200 or name != _OF_A_200)
    }
    removed = headers.pop("x-envoy-auth-headers-to-remove", "").split(",")
    return Answer(answer.status, headers, answer.body, tuple(each.lower() for each in removed))

"""A proxy as a function of bytes, with the echo backend behind it, and places for mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import cache
from urllib.parse import quote

from attrs import define, field

from authotron.probe import echo
from authotron.probe.answers import fields_of
from authotron.probe.connection import Received
from authotron.probe.request import Credential, Nonces, Request, Target
from authotron.proxy_config import identity_headers

GOOD = b"Authorization: Basic YWxpY2U6d29uZGVy"
LIMITED = b"Authorization: Bearer aot_limited"
TARGET = Target(
    b"127.0.0.1",
    b"/",
    {
        Credential.GOOD: GOOD,
        Credential.UNKNOWN: b"Authorization: Bearer x",
        Credential.LIMITED: LIMITED,
        Credential.CERTIFICATE: b"MAA+",
    },
)
NONCES = Nonces("0123456789abcdef")

_MALFORMED = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")
_LINE = re.compile(rb"[!-9;-~]+:[^\r\n]*")
_OK = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 0\r\n"
_IDENTITY = (b"Authorization: Bearer jwt", b"X-Auth-Username: alice", b"X-Auth-Realm: here")


@cache
def removed() -> frozenset[str]:
    """Return the headers of clients that go no further, in lower case."""
    listed = [name for group in identity_headers.groups() for name in group.names]
    own = ["Authorization", "X-Auth-Username", "X-Auth-Realm", "X-Auth-Roles"]
    forwarded = ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Upgrade"]
    return frozenset(map(str.lower, [*listed, *own, *forwarded]))


def answered(status: int, *lines: bytes, body: bytes = b"") -> bytes:
    """Return an answer of the proxy itself."""
    head = [b"HTTP/1.1 %d -" % status, b"Server: nginx", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join([*head, b"", body])


@define
class FakeProxy:
    """
    A proxy that makes no mistake, unless a test sets one.

    @ivar passes: further headers of the client that reach the backend, in lower case.
    @ivar is_strict: whether malformed requests are refused.
    @ivar open_to: whether a request, by method and target, needs no credential.
    @ivar rewrite: makes the target for the backend.
    @ivar adds: the lines that the backend gets.
    @ivar answers: makes the answer by itself, before anything else is looked at.
    @ivar finishes: makes the answer to the client of the answer of the backend.
    @ivar limited: the status for the token that is limited to another network.
    @ivar sent: the bytes of all requests.
    """

    passes: Collection[str] = ()
    is_strict: bool = True
    open_to: Callable[[bytes, bytes], bool] = lambda _method, _target: False
    rewrite: Callable[[bytes], bytes] = lambda target: target
    adds: Callable[[bytes], Collection[bytes]] = lambda _head: _IDENTITY
    answers: Callable[[bytes], bytes | None] = lambda _head: None
    finishes: Callable[[bytes], bytes] = lambda answer: answer.replace(
        b"\r\n", b"\r\nServer: nginx\r\n", 1
    )
    is_up: bool = True
    limited: int = 403
    sent: list[bytes] = field(factory=list)

    async def send(self, data: bytes, _: Request) -> Received:
        """Do what a connection to the proxy would do."""
        self.sent.append(data)
        return Received(self.respond(data), ended=True)

    def respond(self, data: bytes) -> bytes:
        """Return the answer to a request."""
        if (own := self.answers(data)) is not None:
            return own
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, _, rest = first.partition(b" ")
        target = rest.rpartition(b" ")[0]
        if method == b"TRACE" or (self.is_strict and not _is_well_formed(target, lines, head)):
            return answered(400)
        names = [line.partition(b":")[0].lower() for line in lines]
        known = names.count(b"authorization") == 1 and GOOD in lines
        if not self.open_to(method, target):
            if not self.is_up:
                return answered(503)
            if LIMITED in lines:
                return answered(self.limited)
            if not known:
                return answered(401, b"WWW-Authenticate: Basic")
        kept = [line for line in lines if self._keeps(line)]
        got = b" ".join([method, self.rewrite(target), b"HTTP/1.1"])
        forwarded = b"\r\n".join([got, *kept, *self.adds(head), b"", body])
        arrived = echo.take(forwarded)
        return self.finishes(echo.answer(arrived) if arrived else answered(502))

    def _keeps(self, line: bytes) -> bool:
        name = line.partition(b":")[0].decode("latin-1").lower()
        return name in self.passes or ("_" not in name and name.strip() not in removed())


def _is_well_formed(target: bytes, lines: list[bytes], head: bytes) -> bool:
    fields = fields_of(b"\r\n".join([b"", *lines]).decode("latin-1"))
    names = [each.name for each in fields]
    framing = [each for each in fields if each.name in {"content-length", "transfer-encoding"}]
    return (
        not _MALFORMED.search(head)
        and all(map(_LINE.fullmatch, lines))
        and names.count("host") == 1
        and len(framing) < 2
        and all(each.value.isdecimal() for each in framing)
        and target.startswith(b"/")
        and quote(target, safe="/%;?=.-_~").encode() == target
    )

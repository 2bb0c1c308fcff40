"""
One connection to a directory.

ldaptor's own client is not used: it never gives up waiting, does not check certificates when it
starts TLS, and treats what it does not know with assertions.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from attrs import define, evolve, field
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from authotron.errors import Unavailable
from authotron.ldap import wire
from authotron.ldap.wire import BASE, Entry, Garbled, Message, Operation, Result, Search
from authotron.racing import within

SUCCESS, SIZE_LIMIT, NO_SUCH_OBJECT, INVALID_CREDENTIALS, UNWILLING = 0, 4, 32, 49, 53
_PAGE = 500
_RANGES = 100
_MOST_BYTES = 32 * 2**20

_SAYINGS = {
    1: "operations error", 2: "protocol error", 3: "time limit exceeded", 4: "size limit exceeded",
    7: "method not supported", 8: "stronger authentication required", 10: "referral",
    11: "limit exceeded", 13: "confidentiality required", 19: "constraint violation",
    32: "no such object", 34: "invalid DN", 48: "inappropriate authentication",
    49: "invalid credentials", 50: "insufficient rights", 51: "busy", 52: "unavailable",
    53: "unwilling to perform",
}  # fmt: skip


class Lost(Unavailable):
    """The connection is gone."""


def said(result: Result) -> str:
    """What a server said, for the log."""
    what = _SAYINGS.get(result.code, f"result {result.code}")
    return f"{what} ({result.message})" if result.message else what


@define(eq=False)
class _Question:
    """A request that waits for its result."""

    answered: Deferred[Result] = field(factory=Deferred)
    entries: list[Entry] = field(factory=list)
    size: int = 0


@define(eq=False)
class Connection(Protocol):
    """
    Asks one server.

    Whoever gives up an answer, or meets an error, has to L{abort} the connection.

    @ivar lost: why it is of no use any more.
    """

    _clock: IReactorTime
    _patience: float
    _linger: IDelayedCall | None = field(default=None, init=False)
    lost: str | None = field(default=None, init=False)
    _reader: wire.Reader = field(factory=wire.Reader, init=False)
    _numbers: count[int] = field(factory=lambda: count(1), init=False)
    _questions: dict[int, _Question] = field(factory=dict, init=False)

    # --- what may be asked ---

    async def start_tls(self, options: IOpenSSLClientConnectionCreator) -> None:
        """
        Go on with TLS. Nothing that is sent from now on travels before the server is verified.

        @raise Unavailable: the server does not want to.
        """
        result, _ = await self._ask(wire.start_tls())
        if result.code != SUCCESS:
            raise Unavailable(f"StartTLS was refused: {said(result)}")
        if self._reader.holds_more() or self.lost is not None:
            raise Unavailable("something came in clear behind the answer to StartTLS")
        ITLSTransport(self.transport).startTLS(options)

    async def bind(
        self, dn: str, password: str, controls: Mapping[str, bytes | None] | None = None
    ) -> Result:
        """
        Say who we are; the result may be a refusal.

        @raise Unavailable: there was no result.
        """
        if not (dn and password):  # servers take it for an anonymous bind, and say yes
            raise ValueError("a bind needs a name and a password")
        result, _ = await self._ask(wire.bind(dn, password), controls)
        return result

    async def search(self, wanted: Search) -> list[Entry]:
        """
        The entries that are there, but not more than C{wanted.limit}; page by page if that is many.

        @raise Unavailable: the server does not say, or says less than it could.
        """
        found: list[Entry] = []
        cookie = b""
        paged = wanted.limit > _PAGE
        while True:
            controls = {wire.PAGES: wire.page(_PAGE, cookie)} if paged else {}
            result, entries = await self._ask(wire.search(wanted, self._patience), controls)
            found += entries
            if result.code == NO_SUCH_OBJECT:
                return []
            if len(found) >= wanted.limit and result.code in (SUCCESS, SIZE_LIMIT):
                return found[: wanted.limit]
            if result.code != SUCCESS:
                raise Unavailable(f"the search failed: {said(result)}")
            cookie = _cookie(result)
            if not (paged and cookie):
                return found

    async def whole(self, entry: Entry, attribute: str) -> Entry:
        """
        The entry with all values of an attribute, where the server gives them range by range.

        @raise Unavailable: the server does not say.
        """
        values = list(entry.attributes.get(attribute.lower(), ()))
        following = entry
        for _ in range(_RANGES):
            reached, some = _range(following, attribute)
            values += some
            if reached is None:
                known = {**entry.attributes, attribute.lower(): tuple(values)}
                return evolve(entry, attributes=known)
            rest = f"{attribute};range={reached + 1}-*"
            [following] = await self._read(entry.dn, (rest,)) or [Entry(entry.dn)]
        raise Unavailable(f"there is no end of values of {attribute}")

    async def read(self, dn: str, attributes: tuple[str, ...]) -> Entry | None:
        """
        One entry by its name, if it is there.

        @raise Unavailable: the server does not say.
        """
        found = await self._read(dn, attributes)
        return found[0] if found else None

    async def _read(self, dn: str, attributes: tuple[str, ...]) -> list[Entry]:
        anything = wire.present("objectClass")
        return await self.search(Search(dn, anything, attributes, limit=1, scope=BASE))

    # --- its end ---

    def close(self) -> None:
        """Say good-bye, and hang up on a server that does not take notice."""
        if self.lost is None:
            self.lost = "it was closed"
            transport = self._transport()
            self._linger = self._clock.callLater(self._patience, transport.abortConnection)
            transport.write(wire.message(next(self._numbers), wire.unbind(), {}))
            transport.loseConnection()

    def abort(self, why: str = "it was given up") -> None:
        """Hang up, whatever is under way."""
        self._give_up(why)
        self._transport().abortConnection()

    # --- what comes in ---

    def connectionMade(self) -> None:
        keep_alive = getattr(self.transport, "setTcpKeepAlive", None)
        if keep_alive is not None:
            keep_alive(1)

    def dataReceived(self, data: bytes) -> None:
        try:
            for message in self._reader.feed(data):
                self._received(message)
                if self.lost is not None:
                    return
        except Garbled as garbled:
            self.abort(str(garbled))

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._give_up(_why(reason))
        if self._linger is not None and self._linger.active():
            self._linger.cancel()

    def _received(self, message: Message) -> None:
        if message.number == 0:
            self.abort("the server says good-bye")
            return
        question = self._questions.get(message.number)
        if question is None:
            raise Garbled("an answer that nobody asked for")
        question.size += len(message.body)
        if question.size > _MOST_BYTES:
            raise Garbled("an answer is too long")
        if message.kind == wire.ENTRY:
            question.entries.append(wire.entry(message))
        elif message.kind in (wire.BIND, wire.DONE, wire.EXTENDED):
            result = wire.result(message)
            del self._questions[message.number]
            question.answered.callback(result)
        elif message.kind not in (wire.REFERENCE, wire.INTERMEDIATE):  # references are not followed
            raise Garbled("an answer of an unknown kind")

    async def _ask(
        self, operation: Operation, controls: Mapping[str, bytes | None] | None = None
    ) -> tuple[Result, list[Entry]]:
        if self.lost is not None:
            raise Lost(f"the connection is lost: {self.lost}")
        number = next(self._numbers)
        question = self._questions[number] = _Question()
        self._transport().write(wire.message(number, operation, controls or {}))
        try:
            result = await within(self._clock, self._patience, _wait_for(question.answered))
        finally:
            self._questions.pop(number, None)
        return result, question.entries

    def _give_up(self, why: str) -> None:
        if self.lost is None:
            self.lost = why
        questions, self._questions = self._questions, {}
        for question in questions.values():
            question.answered.errback(Lost(f"the connection is lost: {self.lost}"))

    def _transport(self) -> ITCPTransport:
        assert self.transport is not None
        return self.transport  # type: ignore[return-value] # TCP, or TLS over it


async def _wait_for(answered: Deferred[Result]) -> Result:
    return await answered


def _cookie(result: Result) -> bytes:
    try:
        return wire.next_page(result.controls)
    except Garbled as garbled:
        raise Unavailable(f"the search failed: {garbled}") from None


def _range(entry: Entry, attribute: str) -> tuple[int | None, tuple[bytes, ...]]:
    """The place of the last value that came as a range, if more follow, and the values."""
    prefix = f"{attribute.lower()};range="
    for name, values in entry.attributes.items():
        if name.startswith(prefix):
            _, _, last = name.removeprefix(prefix).partition("-")
            return (int(last) if last.isascii() and last.isdigit() else None), values
    return None, ()


def _why(reason: Failure | None) -> str:
    """Why a connection ended, and above all why its other end was not believed."""
    if reason is None:
        return "it was closed"
    if reason.check(VerificationError):
        return "the certificate is for another host"
    if isinstance(reason.value, SSL.Error):
        problems = {str(each[2]) for error in reason.value.args[:1] for each in error}
        if "certificate verify failed" in problems:
            return "the certificate has expired, or is signed by nobody we trust"
        return f"TLS failed: {', '.join(sorted(problems))}"
    return "the server closed it"

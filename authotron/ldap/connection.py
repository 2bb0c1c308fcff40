"""
One connection to a directory.

ldaptor's own client is not used: it never gives up waiting, does not check certificates when it
starts TLS, and treats what it does not know with assertions.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from authotron.concurrency.racing import within
from authotron.ldap import decoding, encoding, ranges
from authotron.ldap.decoding import (
    DecodingError,
    Entry,
    Message,
    Result,
    TooLarge,
)
from authotron.ldap.encoding import BASE, Operation, Search
from authotron.model.errors import TimedOut, Unavailable
from authotron.net import tls
from authotron.net.certificates import Untrusted
from authotron.net.tls import Handshake

SUCCESS, SIZE_LIMIT, NO_SUCH_OBJECT, INVALID_CREDENTIALS, UNWILLING = 0, 4, 32, 49, 53
_BUSY = (51, 52)
_PAGE, _MOST_PAGES = 500, 1_000
_MOST_BYTES = 16 * 2**20
"""Of one answer, and of all that come page by page, or range by range."""

_MOST_ASIDES = 1_000
"""Messages to one question that are neither entries nor its result."""

_SAYINGS = {
    1: "operations error", 2: "protocol error", 3: "time limit exceeded", 4: "size limit exceeded",
    7: "method not supported", 8: "stronger authentication required", 10: "referral",
    11: "limit exceeded", 13: "confidentiality required", 19: "constraint violation",
    32: "no such object", 34: "invalid DN", 48: "inappropriate authentication",
    49: "invalid credentials", 50: "insufficient rights", 51: "busy", 52: "unavailable",
    53: "unwilling to perform",
}  # fmt: skip


class ServerFault(Unavailable):
    """It is the server that is not able to; another one may be."""


class Disconnected(ServerFault):
    """The connection is gone."""


class AnswerTimeout(ServerFault, TimedOut):
    """A question was not answered in time."""


class AnswerTooLarge(ServerFault):
    """An answer was more than anybody wants; that need not be so with other questions."""


class BindRefused(ServerFault):
    """The server does not take the password of our own account."""


def describe(result: Result) -> str:
    """What a server said, for the log."""
    what = _SAYINGS.get(result.code, f"result {result.code}")
    return f"{what} ({result.message})" if result.message else what


@define(eq=False)
class _PendingRequest:
    """
    A request that waits for its result.

    @ivar most: entries that were asked for.
    """

    most: int
    result_arrived: Deferred[Result] = field(factory=Deferred)
    entries: list[Entry] = field(factory=list)
    size: int = 0
    messages: int = 0

    def count(self, message: Message) -> None:
        """
        Take notice of a part of the answer.

        @raise TooMuch: it is more than anybody asked for.
        """
        self.size += len(message.body)
        self.messages += 1
        if self.size > _MOST_BYTES or self.messages > self.most + _MOST_ASIDES:
            raise TooLarge("an answer is too long")


_ASIDES = (decoding.REFERENCE, decoding.INTERMEDIATE)
"""What may come beside entries. References are not followed."""

_ROOT = Search("", encoding.present("objectClass"), ("1.1",), limit=1, scope=BASE)


@implementer(IHandshakeListener)
@define(eq=False)
class Connection(Protocol):
    """
    Asks one server.

    Whoever gives up an answer, or meets an error, has to L{abort} the connection.

    @ivar lost: why it is of no use any more.
    """

    _clock: IReactorTime
    _timeout: float
    _close_timer: IDelayedCall | None = field(default=None, init=False)
    lost: str | None = field(default=None, init=False)
    _reader: decoding.Reader = field(factory=decoding.Reader, init=False)
    _message_ids: count[int] = field(factory=lambda: count(1), init=False)
    _pending: dict[int, _PendingRequest] = field(factory=dict, init=False)
    _tls_ready: Deferred[None] = field(factory=Deferred, init=False)
    _handshake: Handshake | None = field(default=None, init=False)

    # --- what may be asked ---

    async def ping(self) -> None:
        """
        Ask what every server knows. Whatever it answers, it is there, and with TLS it is the one.

        @raise Faulty: there was no answer.
        """
        await self._ask(encoding.search(_ROOT, self._timeout), most=1)

    async def start_tls(self, handshake: Handshake) -> None:
        """
        Go on with TLS, and wait until the server is verified; nothing is sent before.

        @raise Faulty: the server does not want to, or is not who it should be.
        """
        result, _ = await self._ask(encoding.start_tls())
        if result.code != SUCCESS:
            raise ServerFault(f"StartTLS was refused: {describe(result)}")
        if self._reader.has_data() or self.lost is not None:
            raise ServerFault("something came in clear behind the answer to StartTLS")
        self._handshake = handshake
        ITLSTransport(self.transport).startTLS(handshake)
        await self._tls_ready

    async def bind(
        self, dn: str, password: str, controls: Mapping[str, bytes | None] | None = None
    ) -> Result:
        """
        Say who we are; the result may be a refusal.

        @raise Unavailable: there was no result.
        """
        if not (dn and password):  # servers take it for an anonymous bind, and say yes
            raise ValueError("a bind needs a name and a password")
        result, _ = await self._ask(encoding.bind(dn, password), controls)
        return result

    async def bind_account(self, dn: str, password: str) -> None:
        """
        Bind as an account of our own.

        @raise NotWelcome: the server does not take the password.
        @raise Faulty: it does not want to for another reason.
        """
        result = await self.bind(dn, password)
        if result.code != SUCCESS:
            kind = BindRefused if result.code == INVALID_CREDENTIALS else ServerFault
            raise kind(f"{dn} was refused: {describe(result)}")

    async def search(self, wanted: Search) -> list[Entry]:
        """
        The entries that are there, but not more than C{wanted.limit}; page by page if that is many.

        @raise Unavailable: the server does not say, or says less than it could.
        """
        found: list[Entry] = []
        cookie, size = b"", 0
        paged = wanted.limit > _PAGE
        for _ in range(_MOST_PAGES):
            controls = {decoding.PAGED_RESULTS: encoding.page(_PAGE, cookie)} if paged else {}
            operation = encoding.search(wanted, self._timeout)
            result, entries = await self._ask(operation, controls, most=wanted.limit)
            found += entries
            size += sum(map(_size, entries))
            if result.code == NO_SUCH_OBJECT and wanted.scope == BASE:
                return []
            if len(found) >= wanted.limit and result.code in (SUCCESS, SIZE_LIMIT):
                return found[: wanted.limit]
            if result.code != SUCCESS:
                kind = ServerFault if result.code in _BUSY else Unavailable
                raise kind(f"the search below {wanted.base!r} failed: {describe(result)}")
            before, cookie = cookie, _cookie(result)
            if not (paged and cookie):
                return found
            if size > _MOST_BYTES or (cookie == before and not entries):
                break
        raise Unavailable("there is no end of pages")

    async def read_all_values(self, entry: Entry, attribute: str) -> Entry:
        """
        The entry with all values of an attribute, where the server gives them range by range.

        @raise Unavailable: the server does not say.
        """
        return await ranges.read_all_values(self.read, entry, attribute, _MOST_BYTES)

    async def read(self, dn: str, attributes: tuple[str, ...]) -> Entry | None:
        """
        One entry by its name, if it is there.

        @raise Unavailable: the server does not say.
        """
        anything = encoding.present("objectClass")
        found = await self.search(Search(dn, anything, attributes, limit=1, scope=BASE))
        return found[0] if found else None

    # --- its end ---

    def close(self) -> None:
        """Say good-bye, and hang up on a server that does not take notice."""
        if self.lost is None:
            self.lost = "it was closed"
            transport = self._transport()
            self._close_timer = self._clock.callLater(self._timeout, transport.abortConnection)
            transport.write(encoding.message(next(self._message_ids), encoding.unbind(), {}))
            transport.loseConnection()

    def abort(self, why: str = "it was given up") -> None:
        """Hang up, whatever is under way."""
        self._fail_requests(why)
        self._abort_transport()

    # --- what comes in ---

    def connectionMade(self) -> None:
        keep_alive = getattr(self.transport, "setTcpKeepAlive", None)
        if keep_alive is not None:
            keep_alive(1)

    def handshakeCompleted(self) -> None:
        """StartTLS is done: go on if the server is the one that was asked for."""
        if self._handshake is None or self._tls_ready.called:
            return
        try:
            self._handshake.finish()
        except Untrusted as refusal:
            self.abort(str(refusal))
        else:
            self._tls_ready.callback(None)

    def dataReceived(self, data: bytes) -> None:
        try:
            for message in self._reader.feed(data):
                self._received(message)
                if self.lost is not None:
                    return
        except TooLarge as much:
            self._fail_requests(str(much), AnswerTooLarge(str(much)))
            self._abort_transport()
        except DecodingError as garbled:
            self.abort(str(garbled))

    def connectionLost(self, reason: Failure | None = None) -> None:
        why = self._loss_reason(reason)
        self.transport = None  # over TLS it cannot bear to be aborted any more
        self._fail_requests(why)
        if self._close_timer is not None and self._close_timer.active():
            self._close_timer.cancel()

    def _received(self, message: Message) -> None:
        if message.message_id == 0:
            self.abort("the server says good-bye")
            return
        question = self._pending.get(message.message_id)
        if question is None:
            raise DecodingError("an answer that nobody asked for")
        question.count(message)
        if message.kind == decoding.ENTRY:
            question.entries.append(decoding.entry(message))
        elif message.kind in (decoding.BIND, decoding.DONE, decoding.EXTENDED):
            result = decoding.result(message)
            del self._pending[message.message_id]
            question.result_arrived.callback(result)
        elif message.kind not in _ASIDES:
            raise DecodingError("an answer of an unknown kind")

    async def _ask(
        self,
        operation: Operation,
        controls: Mapping[str, bytes | None] | None = None,
        *,
        most: int = 0,
    ) -> tuple[Result, list[Entry]]:
        if self.lost is not None:
            raise Disconnected(f"the connection is lost: {self.lost}")
        message_id = next(self._message_ids)
        question = self._pending[message_id] = _PendingRequest(most)
        self._transport().write(encoding.message(message_id, operation, controls or {}))
        try:
            result = await within(self._clock, self._timeout, _wait_for(question.result_arrived))
        except TimedOut as late:
            raise AnswerTimeout(str(late)) from None
        finally:
            self._pending.pop(message_id, None)
        return result, question.entries

    def _fail_requests(self, why: str, reason: Unavailable | None = None) -> None:
        if self.lost is None:
            self.lost = why
        questions, self._pending = self._pending, {}
        lost = Disconnected(f"the connection is lost: {self.lost}")
        for question in questions.values():
            question.result_arrived.errback(reason or lost)
        if not self._tls_ready.called:
            self._tls_ready.addErrback(lambda _: None)  # nobody need have waited
            self._tls_ready.errback(lost)

    def _loss_reason(self, reason: Failure | None) -> str:
        """Why a connection ended, and above all why the server was not believed."""
        if reason is None:
            return "it was closed"
        if self._handshake is not None:
            return self._handshake.why(reason)
        return tls.why(reason)

    def _abort_transport(self) -> None:
        if self.transport is not None:
            self._transport().abortConnection()

    def _transport(self) -> ITCPTransport:
        assert self.transport is not None
        return self.transport  # type: ignore[return-value] # TCP, or TLS over it


async def _wait_for(result_arrived: Deferred[Result]) -> Result:
    return await result_arrived


def _cookie(result: Result) -> bytes:
    try:
        return decoding.page_cookie(result.controls)
    except DecodingError as garbled:
        raise Unavailable(f"the search failed: {garbled}") from None


def _size(entry: Entry) -> int:
    return len(entry.dn) + sum(len(each) for some in entry.attributes.values() for each in some)

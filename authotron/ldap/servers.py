"""Where the servers of a directory are, and how a connection to one begins."""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.racing import within
from authotron.ldap.connection import Connection, ServerFault
from authotron.model.errors import TimedOut
from authotron.net.certificates import Untrusted
from authotron.net.tls import Verifier
from authotron.net.tls_gates import secured
from authotron.net.world import Connect


class Security(Enum):
    """What happens before anything is said."""

    CLEAR = "none"
    STARTTLS = "starttls"
    TLS = "ldaps"


@frozen
class Server:
    """
    Where a server is.

    @ivar verifier: checks its certificate; C{None} where there is none.
    """

    host: str
    port: int
    security: Security
    verifier: Verifier | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@frozen
class ServiceAccount:
    """Whom we search as."""

    dn: str
    password: str = field(repr=False)


@frozen
class Limits:
    """
    How long, how many.

    @ivar connect: seconds until a connection is there, with TLS and bind.
    @ivar answer: seconds until a question is answered.
    @ivar timeout: seconds until all of it is done, however many wait and servers fail.
    @ivar idle: seconds a connection is kept for the next question.
    @ivar connections: open at most for searches.
    """

    connect: float = 2
    answer: float = 3
    timeout: float = 4.75
    idle: float = 60
    connections: int = 4


@frozen
class Connector:
    """Opens connections."""

    _clock: IReactorTime
    _connect: Connect
    _limits: Limits

    async def open(self, server: Server, account: ServiceAccount | None) -> Connection:
        """
        A new connection, on which the account is bound.

        @raise Faulty: the server does not want that, or does not answer in time.
        """
        try:
            return await within(self._clock, self._limits.connect, self._open(server, account))
        except TimedOut as late:
            raise ServerFault(str(late)) from None

    async def _open(self, server: Server, account: ServiceAccount | None) -> Connection:
        connection = Connection(self._clock, self._limits.answer)
        good = False
        try:
            await self._reach(server, connection)
            if account is not None:
                await connection.bind_account(account.dn, account.password)
            good = True
        finally:
            if not good and connection.connected:
                connection.abort()
        return connection

    async def _reach(self, server: Server, connection: Connection) -> None:
        endpoint = self._connect(server.host, server.port)
        if server.security is Security.TLS:
            assert server.verifier is not None
            endpoint = secured(server.verifier, endpoint, server.host, self._clock)
        try:
            await connectProtocol(endpoint, connection)
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            raise ServerFault(f"no connection: {error}") from None
        except Untrusted as refusal:
            raise ServerFault(str(refusal)) from None
        if server.security is Security.STARTTLS:
            assert server.verifier is not None
            await connection.start_tls(server.verifier.handshake(server.host))

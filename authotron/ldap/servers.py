"""The servers of a directory, and how a connection to a server is opened."""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.racing import with_timeout
from authotron.ldap.bind_result import bind_account
from authotron.ldap.connection import Connection
from authotron.ldap.results import ServerFault
from authotron.model.errors import TimedOut
from authotron.net.certificates import Untrusted
from authotron.net.reasons import describe
from authotron.net.tls import Verifier
from authotron.net.tls_gates import wrap_tls
from authotron.net.world import Connect


class Security(Enum):
    """How a connection to an LDAP server is encrypted."""

    CLEAR = "none"
    STARTTLS = "starttls"
    TLS = "ldaps"


@frozen
class Server:
    """
    The address of an LDAP server, and how the connection is secured.

    @ivar verifier: verifies the server's certificate, or C{None} for connections in clear.
    """

    host: str
    port: int
    security: Security
    verifier: Verifier | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@frozen
class ServiceAccount:
    """The account as which authotron binds for its own LDAP searches."""

    dn: str
    password: str = field(repr=False)


@frozen
class Limits:
    """
    The timeouts and limits for the connections to a directory.

    @ivar connect: seconds to open a connection, including TLS and the bind.
    @ivar answer: seconds in which a server must answer one request.
    @ivar timeout: the number of seconds for one lookup in total, including the wait for a
        connection and retries on other servers.
    @ivar idle: seconds for which an unused connection is kept open.
    @ivar connections: the maximum number of open connections for searches.
    """

    connect: float = 2
    answer: float = 3
    timeout: float = 4.75
    idle: float = 60
    connections: int = 4


@frozen
class Connector:
    """Opens connections to LDAP servers."""

    _clock: IReactorTime
    _connect: Connect
    _limits: Limits

    async def open(self, server: Server, account: ServiceAccount | None) -> Connection:
        """
        Open a connection, and bind as the service account if one is given.

        @raise ServerFault: the server cannot be reached in time, is not trusted, or refuses the
            bind.
        """
        try:
            return await with_timeout(
                self._clock, self._limits.connect, self._open(server, account)
            )
        except TimedOut as timeout:
            raise ServerFault(str(timeout)) from None

    async def _open(self, server: Server, account: ServiceAccount | None) -> Connection:
        connection = Connection(self._clock, self._limits.answer)
        opened = False
        try:
            await self._establish(server, connection)
            if account is not None:
                await bind_account(connection, account.dn, account.password)
            opened = True
        finally:
            if not opened and connection.connected:
                connection.abort()
        return connection

    async def _establish(self, server: Server, connection: Connection) -> None:
        """Connect by TCP, and secure the connection with TLS or StartTLS if configured."""
        endpoint = self._connect(server.host, server.port)
        if server.security is Security.TLS:
            assert server.verifier is not None
            endpoint = wrap_tls(server.verifier, endpoint, server.host, self._clock)
        try:
            await connectProtocol(endpoint, connection)
        except (ConnectError, ConnectionClosed, DNSLookupError) as error:
            reason = describe(error)
            if server.security is Security.TLS and isinstance(error, ConnectionClosed):
                # An LDAP server without TLS closes the connection, as it cannot read a handshake.
                reason += " before TLS began; perhaps the server does not use TLS on this port"
            raise ServerFault(reason) from None
        except Untrusted as untrusted:
            raise ServerFault(str(untrusted)) from None
        if server.security is Security.STARTTLS:
            assert server.verifier is not None
            await connection.start_tls(server.verifier.handshake(server.host))

"""A directory of two LDAP servers in memory, for the tests of the LDAP client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap import encoding
from authotron.ldap.connection import Connection
from authotron.ldap.decoding import Entry
from authotron.ldap.directory import Directory
from authotron.ldap.encoding import Search
from authotron.ldap.servers import Limits, Security, ServiceAccount
from authotron.ldap.servers import Server as Address
from authotron.net.tls import Trust, Verifier
from authotron.testing.worlds import NOW, clock_at
from tests import directories
from tests.directories import BASE, GATE, Server

LIMITS = Limits(connect=2, answer=3, idle=60, connections=2)
OURS = ServiceAccount(*GATE)
ALICE = (f"uid=alice,ou=people,{BASE}", "alice-secret")
EVERYBODY = Search(BASE, encoding.present("objectClass"), ("cn",), limit=10_000)

Work = Callable[[Connection], Any]


async def look(connection: Connection) -> list[Entry]:
    return await connection.search(EVERYBODY)


class DirectoryCase(SynchronousTestCase):
    """A directory of two servers with the same content."""

    def setUp(self) -> None:
        self.clock: Clock = clock_at(NOW)
        entries = directories.person("alice")
        self.one = Server(entries, passwords=dict([GATE, ALICE]))
        self.two = Server(entries, passwords=dict([GATE, ALICE]))
        self.directory = self.made()

    def made(
        self,
        security: Security = Security.CLEAR,
        hosts: Sequence[str] = ("one", "two"),
        account: ServiceAccount | None = OURS,
    ) -> Directory:
        world = directories.world(self.clock, one=self.one, two=self.two)
        verifier = None if security is Security.CLEAR else Verifier(Trust())
        servers = [Address(host, 389, security, verifier) for host in hosts]
        return Directory(world.clock, world.connect, servers, account, LIMITS)

    def using(self, work: Work = look) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.directory.use_connection(work))

    def verify(self, dn: str, password: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self.directory.verify(dn, password))

    def found(self) -> None:
        [entry] = self.successResultOf(self.using())
        self.assertEqual(entry.strings("cn"), ("alice",))

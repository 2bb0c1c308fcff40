"""TLS clients verify peers, with odd certificates of every kind, before they send anything."""

from __future__ import annotations

import contextlib
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.net.certificates import Untrusted, check
from authotron.net.rejections import describe_rejection
from authotron.net.tls import Handshake, Trust, Verifier, describe_end
from authotron.net.tls_gates import GatedConnections, wrap_tls
from tests.certificates import EXPIRED, FAR, GOOD, ODD, Authority, Issued, Shape, named, numbered

AUTHORITY = Authority()
TRUST = Trust(AUTHORITY.pem())
SECRET = b"Basic c2VjcmV0"
VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


class Talker(Protocol):
    """Sends a secret as soon as it is connected."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(SECRET)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - as in the class above
        self.lost = reason


class Wire(StringTransport):
    """A TCP transport in memory."""

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001 - as in the interface
        pass


class Server:
    """
    A TLS server in memory, and the endpoint that connects to it.

    @ivar heard: what was sent to it.
    """

    def __init__(self, issued: Issued, version: int = SSL.TLS1_3_VERSION) -> None:
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.set_min_proto_version(version)
        self.context.set_max_proto_version(version)
        self.context.set_session_id(b"test")
        self.issued = issued
        self.heard = b""
        self.named: bytes | None = None

    def show(self, issued: Issued) -> None:
        """Present another certificate on the open connection."""
        self.connection.use_certificate(issued.certificate)
        self.connection.use_privatekey(issued.key)

    def connect(self, factory: Any) -> Deferred[Any]:
        self.connection = SSL.Connection(self.context, None)
        self.show(self.issued)
        self.connection.set_accept_state()
        self.client = factory.buildProtocol(None)
        self.transport = Wire()
        self.client.makeConnection(self.transport)
        return succeed(self.client)

    def pump(self, clock: Clock) -> None:
        """Transfer all bytes in both directions until no more are sent."""
        while self._to_server(clock) | self._to_client():
            pass
        if self.transport.disconnecting:
            self.client.connectionLost(Failure(ConnectionAborted()))

    def _to_server(self, clock: Clock) -> bool:
        clock.advance(0)
        sent = self.transport.value()
        self.transport.clear()
        if sent:
            self.connection.bio_write(sent)
        for work in (self.connection.do_handshake, self._hear):
            with contextlib.suppress(SSL.Error):
                work()
        self.named = self.connection.get_servername()
        return bool(sent)

    def _hear(self) -> None:
        while True:
            self.heard += self.connection.recv(65536)

    def _to_client(self) -> bool:
        moved = False
        while True:
            try:
                piece = self.connection.bio_read(65536)
            except SSL.Error:
                return moved
            moved = True
            if not self.transport.disconnecting:
                self.client.dataReceived(piece)


def shown(shape: Shape, host: str) -> str:
    """Return the error for a certificate that is presented for a host; nothing if it is valid."""
    try:
        check(AUTHORITY.issued(shape).certificate, host)
    except Untrusted as refusal:
        return str(refusal)
    return ""


class CheckTests(SynchronousTestCase):
    """The function that checks whether a certificate names a host."""

    def test_wildcards_S_TLS(self) -> None:
        """A wildcard matches exactly one whole first label, with at least two labels behind it."""
        for pattern, host, good in (
            ("*.example.org", "a.example.org", True),
            ("*.Example.ORG", "A.example.org", True),
            ("*.example.org", "a.b.example.org", False),
            ("*.example.org", "example.org", False),
            ("*.example.org", ".example.org", False),
            ("*.example.org", "*.example.org", False),
            ("*.example.org", "xn--bcher-kva.example.org", False),
            ("a*.example.org", "ab.example.org", False),
            ("*a.example.org", "ba.example.org", False),
            ("*.org", "example.org", False),
            ("*", "localhost", False),
            ("*.*.org", "a.example.org", False),
            ("a.*.org", "a.example.org", False),
            ("*.0.0.1", "127.0.0.1", False),
        ):
            with self.subTest(f"{pattern} for {host}"):
                self.assertEqual(shown(named(pattern), host) == "", good)

    def test_addresses_S_TLS(self) -> None:
        """An IP address matches only an IP address entry of the certificate."""
        for shape, host, good in (
            (numbered("127.0.0.1"), "127.0.0.1", True),
            (numbered("::1"), "::1", True),
            (numbered("::1"), "0:0:0:0:0:0:0:1", True),
            (numbered("127.0.0.1"), "::ffff:127.0.0.1", False),
            (numbered("::ffff:127.0.0.1"), "127.0.0.1", False),
            (numbered("127.0.0.1"), "127.0.0.2", False),
            (numbered("::1"), "127.0.0.1", False),
            (named("127.0.0.1"), "127.0.0.1", False),
            (Shape(common_name="127.0.0.1"), "127.0.0.1", False),
            (named("localhost"), "127.0.0.1", False),
            (numbered("127.0.0.1"), "localhost", False),
        ):
            with self.subTest(f"{shape} for {host}"):
                self.assertEqual(shown(shape, host) == "", good)

    def test_names_S_TLS(self) -> None:
        """Names are compared in full, ignoring case and the last dot of the host."""
        for name, host, good in (
            ("my_host.example", "my_host.example", True),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example", True),
            ("localhost", "localhost.", True),
            ("localhost", "localhost..", False),
            ("localhost", "localhos", False),
            ("localhost", "localhost.example", False),
            ("localhost", "", False),
            ("localhost", " ", False),
            ("ab--cd.example", "AB--CD.example", True),
        ):
            with self.subTest(f"{name} for {host!r}"):
                self.assertEqual(shown(named(name), host) == "", good)

    def test_odd_certificates_fail_the_check_S_TLS(self) -> None:
        """An odd certificate fails the check, with a reason, even if OpenSSL accepts it."""
        by_openssl = ("expired", "not valid", "purpose")
        for name, (shape, reason) in ODD.items():
            if not any(each in reason for each in by_openssl) and not shape.signs_only:
                with self.subTest(name):
                    said = shown(shape, "localhost")
                    self.assertIn(reason or "cannot be verified", said)

    def test_error_names_few_hosts_S_TLS(self) -> None:
        """The error names a few of the certificate's names, not all of a hundred."""
        reason = shown(named(*(f"a{number}.example" for number in range(100))), "localhost")
        self.assertIn("a0.example, a1.example, a2.example, ..., not localhost", reason)


class HandshakeCase(SynchronousTestCase):
    """A client and a server in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.verifier = Verifier(TRUST)
        self.talker = Talker()

    def connect(self, server: Server, host: str = "localhost") -> Deferred[Any]:
        endpoint = wrap_tls(self.verifier, server, host, self.clock)  # type: ignore[arg-type] # as much as is needed
        connecting: Deferred[Any] = connectProtocol(endpoint, self.talker)
        server.pump(self.clock)
        return connecting

    def refused(self, server: Server, host: str = "localhost") -> str:
        failure = self.failureResultOf(self.connect(server, host), Untrusted)
        self.assertEqual(server.heard, b"")
        self.assertIsNone(self.talker.transport)
        return str(failure.value)


class SecuredTests(HandshakeCase):
    """An endpoint with TLS."""

    def test_trusted(self) -> None:
        """A peer with a valid certificate receives and sends data."""
        for version in VERSIONS:
            for name, shape in GOOD.items():
                with self.subTest(name, version=version):
                    self.setUp()
                    server = Server(AUTHORITY.issued(shape), version)
                    self.assertIs(self.successResultOf(self.connect(server)), self.talker)
                    self.assertEqual((server.heard, server.named), (SECRET, b"localhost"))
                    server.connection.send(b"welcome")
                    server.pump(self.clock)
                    self.assertEqual(self.talker.heard, b"welcome")

    def test_odd_certificates_S_TLS(self) -> None:
        """A peer with an odd certificate is rejected, with the reason, before a byte is sent."""
        for version in VERSIONS:
            for name, (shape, reason) in ODD.items():
                with self.subTest(name, version=version):
                    self.setUp()
                    server = Server(AUTHORITY.issued(shape), version)
                    self.assertIn(reason, self.refused(server))

    def test_authorities_S_TLS(self) -> None:
        """
        A certificate without the signature of a trusted authority is rejected, self-signed
        or not.
        """
        for stranger in (Authority(), Authority(name="stranger")):
            self.setUp()
            server = Server(stranger.issued(named("localhost")))
            self.assertIn("unknown issuer", self.refused(server))
        self.setUp()
        self.assertIn("self-signed", self.refused(Server(self.itself())))

    def test_reasons_W_TLS(self) -> None:
        """Each reason comes with what the certificate holds and with the key to set."""
        stranger = Authority(name="Another CA")
        unknown = "certificate of an unknown issuer: signed by 'Another CA'"
        below = Authority(name="below")
        old = AUTHORITY.issued(Shape(common_name="below", authority=True, end=EXPIRED), below.key)
        for issued, expected in (
            (
                AUTHORITY.issued(named("localhost", end=EXPIRED)),
                "certificate expired: of 'localhost', on 2020-01-02; renew it on the server",
            ),
            (
                AUTHORITY.issued(named("localhost", begin=FAR, end=FAR)),
                "certificate not valid yet: of 'localhost', before 2120-01-01; compare the clocks",
            ),
            (
                AUTHORITY.issued(named("a.example", "b.example")),
                (
                    "certificate of another name: "
                    "the certificate names a.example, b.example, not localhost"
                ),
            ),
            (
                stranger.issued(named("localhost")),
                f"{unknown}; to trust this issuer, put its certificate into my_ca",
            ),
            (
                self.itself(),
                (
                    "certificate is self-signed: of 'localhost'; "
                    "to trust the certificate, put it into my_ca"
                ),
            ),
        ):
            with self.subTest(expected):
                self.setUp()
                self.verifier = Verifier(TRUST, "my_ca")
                self.assertEqual(self.refused(Server(issued)), expected)
        self.verifier = Verifier(Trust(AUTHORITY.pem() + old.certificate_pem()))
        reason = self.refused(Server(below.issued(named("localhost"))))
        self.assertIn("certificate expired: of the authority 'below'", reason)

    def test_ends_W_TLS(self) -> None:
        """OpenSSL's reasons for the end of a connection are explained, if they are known."""
        for said, words in (
            ("wrong version number", "does not use TLS on this port (wrong version number)"),
            ("tlsv1 alert protocol version", "another version of TLS than 1.2 and 1.3"),
            ("tlsv13 alert certificate required", "wants a client certificate"),
            ("tlsv1 alert unknown ca", "rejects the client certificate"),
            ("sslv3 alert handshake failure", "no cipher in common, or wants a client"),
            ("something new", "TLS failed: something new"),
        ):
            with self.subTest(said):
                failure = Failure(SSL.Error([("SSL routines", "", said)]))
                self.assertIn(words, describe_end(failure))
        self.assertEqual(
            describe_end(Failure(ConnectionDone())), "the server closed the connection"
        )

    def test_malformed_W_TLS(self) -> None:
        """A certificate that cannot be read is rejected with the reason alone."""

        def fail() -> Any:
            raise ValueError("CANARY")

        self.assertEqual(
            describe_rejection(66, fail, 0, "ca_file"),
            "unusable certificate: the key of the certificate is too weak",
        )
        evil = AUTHORITY.issued(named("localhost", common_name="a\x1b\n" + "b" * 60, end=EXPIRED))
        reason = describe_rejection(10, lambda: evil.certificate, 0, "ca_file")
        self.assertIn("of 'a??bbb", reason)

    def test_self_signed_authority(self) -> None:
        """A self-signed certificate is trusted if it is the configured authority."""
        issued = self.itself()
        self.verifier = Verifier(Trust(issued.pem()))
        self.successResultOf(self.connect(Server(issued)))

    def test_only_an_intermediate_S_TLS(self) -> None:
        """An authority in C{ca_file} is trusted without its own authority, which is not trusted."""
        below = Authority(name="below")
        signed = AUTHORITY.issued(Shape(common_name="below", authority=True), below.key)
        self.verifier = Verifier(Trust(signed.certificate_pem()))
        self.successResultOf(self.connect(Server(below.issued(named("localhost")))))
        for authority in (AUTHORITY, Authority(name="below")):
            self.setUp()
            self.verifier = Verifier(Trust(signed.certificate_pem()))
            self.assertIn(
                "unknown issuer", self.refused(Server(authority.issued(named("localhost"))))
            )

    def test_only_the_server_S_TLS(self) -> None:
        """
        The certificate of a server in C{ca_file} is trusted, but certificates that it
        signed are not.
        """
        issued = AUTHORITY.issued(named("localhost", common_name="server"))
        self.verifier = Verifier(Trust(issued.certificate_pem()))
        self.successResultOf(self.connect(Server(issued)))
        for other in (
            Authority(name="server", key=issued.key).issued(named("localhost")),
            AUTHORITY.issued(named("localhost", common_name="server")),
            AUTHORITY.issued(named("a.example", common_name="server"), issued.key),
        ):
            self.setUp()
            self.verifier = Verifier(Trust(issued.certificate_pem()))
            self.refused(Server(other))
        self.setUp()
        issued = AUTHORITY.issued(named("a.example"))
        self.verifier = Verifier(Trust(issued.certificate_pem()))
        self.assertIn("of another name", self.refused(Server(issued)))

    def itself(self) -> Issued:
        """Create a self-signed certificate."""
        authority = Authority(name="localhost")
        return authority.issued(named("localhost", authority=True), authority.key)

    def test_address_S_TLS(self) -> None:
        """For an IP address no server name is sent, and the address is checked."""
        for host in ("127.0.0.1", "::1"):
            self.setUp()
            server = Server(AUTHORITY.issued(numbered("127.0.0.1", "::1")))
            self.successResultOf(self.connect(server, host))
            self.assertIsNone(server.named)
        self.setUp()
        self.refused(Server(AUTHORITY.issued(named("127.0.0.1"))), "127.0.0.1")

    def test_last_dot_S_TLS(self) -> None:
        """The last dot of a host is neither sent nor compared."""
        server = Server(AUTHORITY.issued(named("localhost")))
        self.successResultOf(self.connect(server, "localhost."))
        self.assertEqual(server.named, b"localhost")

    def test_other_alphabet_S_TLS(self) -> None:
        """A host that is not ASCII is compared in its DNS form; a host without one is rejected."""
        server = Server(AUTHORITY.issued(named("xn--bcher-kva.example")))
        self.successResultOf(self.connect(server, "bücher.example"))
        self.setUp()
        self.failureResultOf(self.connect_only("\u2603 .example"), Untrusted)

    def connect_only(self, host: str) -> Deferred[Any]:
        server = Server(AUTHORITY.issued(named("localhost")))
        endpoint = wrap_tls(self.verifier, server, host, self.clock)  # type: ignore[arg-type] # as much as is needed
        connecting: Deferred[Any] = connectProtocol(endpoint, self.talker)
        return connecting

    def test_next_connection_S_TLS(self) -> None:
        """A peer is verified on each connection, even if it offers to resume a session."""
        for version in VERSIONS:
            with self.subTest(version):
                self.setUp()
                server = Server(AUTHORITY.issued(named("localhost")), version)
                self.successResultOf(self.connect(server))
                server.heard = b""
                for shape in (named("localhost", end=EXPIRED), named("elsewhere.example")):
                    self.talker = Talker()
                    server.issued = AUTHORITY.issued(shape)
                    self.assertTrue(self.refused(server))

    def test_no_tls(self) -> None:
        """A peer that does not answer in TLS is an outage and receives no data."""
        for said in (b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b""):
            self.setUp()
            server = Server(AUTHORITY.issued(named("localhost")))
            endpoint = wrap_tls(self.verifier, server, "localhost", self.clock)  # type: ignore[arg-type] # as much as is needed
            connecting = connectProtocol(endpoint, self.talker)
            if said:
                server.client.dataReceived(said)
            server.client.connectionLost(Failure(ConnectionDone()))
            self.failureResultOf(connecting)
            self.assertIsNone(self.talker.transport)

    def test_own_certificate_S_TLS(self) -> None:
        """A peer that is rejected does not receive the client certificate."""
        ours = AUTHORITY.issued(named("gateway.example"))
        for version in VERSIONS:
            for shape, seen in ((named("localhost"), True), (named("a.example"), False)):
                with self.subTest(shape, version=version):
                    self.setUp()
                    self.verifier = Verifier(Trust(AUTHORITY.pem(), ours.pem()))
                    server = Server(AUTHORITY.issued(shape), version)
                    server.context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
                    self.connect(server).addErrback(lambda _: None)
                    shown = server.connection.get_peer_certificate(as_cryptography=True)
                    self.assertEqual(shown is not None, seen)

    def test_cancelled(self) -> None:
        """A caller that is cancelled closes the connection."""
        server = Server(AUTHORITY.issued(named("localhost")))
        endpoint = wrap_tls(self.verifier, server, "localhost", self.clock)  # type: ignore[arg-type] # as much as is needed
        connecting = connectProtocol(endpoint, self.talker)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertTrue(server.transport.disconnecting)
        server.client.connectionLost(Failure(ConnectionAborted()))
        self.assertIsNone(self.talker.transport)

    def test_renegotiation_S_TLS(self) -> None:
        """A peer cannot renegotiate, which could change its certificate."""
        server = Server(AUTHORITY.issued(named("localhost")), SSL.TLS1_2_VERSION)
        self.successResultOf(self.connect(server))
        server.show(AUTHORITY.issued(named("elsewhere.example")))
        ours = self.talker.transport.getHandle()  # type: ignore[union-attr] # it is of TLS
        before = ours.get_peer_certificate(as_cryptography=True)
        server.connection.renegotiate()
        server.pump(self.clock)
        self.assertEqual(ours.get_peer_certificate(as_cryptography=True), before)
        self.assertEqual(ours.total_renegotiations(), 0)


class FinishTests(HandshakeCase):
    """The verification after the handshake does not rely on the callbacks of OpenSSL."""

    def handshake(self, server: Server, *, session: SSL.Session | None = None) -> Handshake:
        handshake = self.verifier.handshake("localhost")
        made = handshake.clientConnectionForTLS

        def resuming(protocol: Any) -> SSL.Connection:
            self.connection = made(protocol)
            if session is not None:
                self.connection.set_session(session)
            return self.connection

        factory = TLSMemoryBIOFactory(Creator(resuming), True, Talkers(self.talker), self.clock)  # type: ignore[arg-type] # as much as is needed
        server.connect(factory)
        server.pump(self.clock)
        return handshake

    def test_no_handshake(self) -> None:
        """Without a handshake the peer is not trusted."""
        self.assertRaises(Untrusted, self.verifier.handshake("localhost").finish)

    def test_resumed_S_TLS(self) -> None:
        """A resumed session, in which OpenSSL verifies nothing, is rejected."""
        server = Server(AUTHORITY.issued(named("localhost")), SSL.TLS1_2_VERSION)
        self.handshake(server).finish()
        first, theirs = self.connection, server.connection  # forgotten ones cannot be resumed
        again = self.handshake(server, session=first.get_session())
        self.assertEqual(self.connection.master_key(), first.master_key())
        self.assertIsNot(server.connection, theirs)
        self.assertIn("was not verified", str(self.assertRaises(Untrusted, again.finish)))


@implementer(IOpenSSLClientConnectionCreator)
class Creator:
    """A connection creator that is a function."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        return self.make(protocol)


class Talkers:
    """A factory that creates one protocol."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker

    def buildProtocol(self, addr: Any) -> Talker:
        return self.talker

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...


class GatedTests(HandshakeCase):
    """A library that starts TLS itself."""

    def start(self, shape: Shape) -> tuple[Server, GatedConnections, Deferred[None]]:
        server = Server(AUTHORITY.issued(shape))
        peer = GatedConnections(self.verifier, "localhost")
        waiting = Deferred.fromCoroutine(peer.wait_for_peer())
        factory = TLSMemoryBIOFactory(peer, True, Talkers(self.talker), self.clock)  # type: ignore[arg-type] # as much as is needed
        server.connect(factory)
        server.pump(self.clock)
        return server, peer, waiting

    def test_protocol_of_a_trusted_peer(self) -> None:
        """The protocol is connected once the peer is verified."""
        server, peer, waiting = self.start(named("localhost"))
        self.successResultOf(waiting)
        peer.check_peer()
        self.assertEqual(server.heard, SECRET)

    def test_odd_certificates_S_TLS(self) -> None:
        """A peer with an odd certificate receives no data, and the protocol is never connected."""
        for name, (shape, reason) in ODD.items():
            with self.subTest(name):
                self.setUp()
                server, peer, waiting = self.start(shape)
                self.assertIn(reason, self.failureResultOf(waiting, Untrusted).getErrorMessage())
                self.assertRaises(Untrusted, peer.check_peer)
                self.assertEqual(server.heard, b"")
                self.assertIsNone(self.talker.transport)

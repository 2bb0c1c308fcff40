"""Certificates of clients, as proxies state them by every protocol."""

from __future__ import annotations

import datetime as dt
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from twisted.internet.address import IPv4Address
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from authotron.web.fastpath import repeats
from authotron.web.grpc.messages import CheckRequest
from tests.mtls.issuing import der, named, pem, root
from tests.web.conversations import ALICE, InMemoryGateway, Wire, answered
from tests.web.grpc.dialogue import Proxy, check_request
from tests.web.test_carriers import ALICE_PASSWORD, USUAL, Entrances, Lines, head, tokens


def base64(raw: bytes) -> str:
    return b64encode(raw).decode()


DATES: dict[str, Any] = {
    "begin": dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
    "end": dt.datetime(2120, 1, 1, tzinfo=dt.UTC),
}
ROOT = root(**DATES)
HEADER = "X-SSL-Client-Cert"


def client(name: str = "robot") -> x509.Certificate:
    return ROOT.issue(subject=named(name), **DATES)


ROBOT = client()


def over(file: Path, *providers: Any, **server: Any) -> dict[str, Any]:
    """Return a configuration with a provider of certificates; all contracts state them."""
    mtls = {"type": "mtls", "name": "machines", "realm": "machines", "ca_file": str(file)}
    contracts = [{"type": each, "headers": {"certificate": HEADER}} for each in ("nginx", "envoy")]
    return {
        "providers": [mtls, *providers],
        "store": {"type": "memory"},
        "server": {
            "trusted_proxies": ["192.0.2.0/24", "127.0.0.0/8"],
            "contracts": contracts,
            **server,
        },
        "logging": {"access": "all", "level": "debug"},
        "include_legacy_headers": True,
    }


class CertificatesCase(SynchronousTestCase):
    """Asks by all protocols by which a proxy can state a certificate."""

    providers: tuple[Any, ...] = (ALICE_PASSWORD,)

    def setUp(self) -> None:
        self.patch(repeats, "ONE_IN", 1)
        self.file = Path(self.mktemp())
        self.file.write_bytes(ROOT.pem)
        self.entrances = Entrances(over(self.file.absolute(), *self.providers))

    def outcomes(self, lines: Lines) -> set[tuple[int, str]]:
        gateway = self.entrances.gateway
        sites: list[Any] = [gateway.public, gateway.entrance, gateway.entrance]
        found = [self.entrances.by_http(head(lines), site) for site in sites]
        return {
            *found,
            *(self.entrances.by_http(head(lines, "/auth/envoy/x"), each) for each in sites),
        }

    def assertOutcome(self, wanted: tuple[int, str], *lines: tuple[str, str]) -> None:
        self.assertEqual(self.outcomes(lines), {wanted}, lines)
        self.assertEqual(self.entrances.gateway.handed_over(), 0)

    def stated(self, leaf: x509.Certificate = ROBOT) -> tuple[str, str]:
        return HEADER, quote(pem(leaf))


class StatedTests(CertificatesCase):
    """A certificate that a trusted proxy states."""

    def test_accepted(self) -> None:
        """A certificate of a trusted authority authenticates, by each protocol."""
        self.assertOutcome((200, "robot"), self.stated())
        self.assertOutcome((200, "ada"), self.stated(client("ada")))
        self.assertOutcome((401, ""), self.stated(root("stranger", **DATES).issue(**DATES)))
        self.assertOutcome((401, ""))

    def test_grpc(self) -> None:
        """Envoy states the certificate in its message, and no header of a client counts."""
        request = CheckRequest.FromString(check_request(**{HEADER.lower(): quote(pem(ROBOT))}))
        proxy = Proxy(self.entrances.gateway)
        self.assertEqual(proxy.call(request.SerializeToString()).says, 401)
        request.attributes.source.certificate = quote(pem(ROBOT)).encode()
        response = proxy.call(request.SerializeToString())
        self.assertEqual((response.says, response.added["x-auth-username"]), (200, "robot"))

    def test_fastcgi_S_MTLSHEADER(self) -> None:
        """Apache states no certificate by FastCGI, so a header of a client does not count."""
        self.assertEqual(self.entrances.by_fastcgi([self.stated()], "/x"), (401, ""))

    def test_own_decisions_T40(self) -> None:
        """Each certificate has decisions of its own, however it is spelled, and so has none."""
        decisions = self.entrances.gateway.serving.gateway.decisions
        self.assertOutcome((200, "robot"), self.stated())
        before = decisions.remembered()
        self.assertOutcome((200, "robot"), (HEADER, pem(ROBOT).replace("\n", " ")))
        self.assertEqual(decisions.remembered(), before)
        self.assertOutcome((200, "ada"), self.stated(client("ada")))
        self.assertOutcome((401, ""))

    def test_twice_S_MTLSHEADER(self) -> None:
        """A header that stands twice is refused, also if both are the same."""
        for other in (self.stated(), self.stated(client("ada")), (HEADER.lower(), "")):
            self.assertOutcome((401, ""), self.stated(), other)
            self.assertOutcome((401, ""), other, self.stated())

    def test_malformed_S_MTLSHEADER(self) -> None:
        """A header that is no certificate is refused; an empty one stands for none."""
        for value in ("x", "(null)", quote(pem(ROBOT))[:-40], "A" * 30_000):
            self.assertOutcome((401, ""), (HEADER, value))
        self.assertOutcome((200, "alice"), (HEADER, ""), ("Authorization", ALICE))

    def test_other_names_S_MTLSHEADER(self) -> None:
        """A certificate in a header that the contract does not name does not count."""
        for name in (
            "Client-Cert",
            "X-Forwarded-Client-Cert",
            "X_SSL_Client_Cert",
            "X-Client-Cert",
        ):
            self.assertOutcome((401, ""), (name, quote(pem(ROBOT))))

    def test_stranger_S_MTLSHEADER(self) -> None:
        """Only trusted proxies can state a certificate, by a connection of their own."""
        for trusted in (["198.51.100.1"], ["192.0.2.0/24"]):
            gateway = InMemoryGateway(over(self.file.absolute(), trusted_proxies=trusted))
            wanted = 401 if trusted == ["198.51.100.1"] else 200
            for site in (gateway.public, gateway.entrance, gateway.entrance):
                for target in ("/authenticate", "/auth/envoy/x"):
                    [answer] = gateway.say(head([self.stated()], target), site)
                    self.assertEqual(answer.status, wanted, trusted)

    def test_remembered_heads_S_MTLSHEADER(self) -> None:
        """The head of a stranger is not remembered for a proxy, nor that of a proxy for others."""
        self.entrances = Entrances({**over(self.file.absolute(), ALICE_PASSWORD), "store": None})
        gateway = self.entrances.gateway
        # The password is of another realm, and remembered as refused if there is no certificate.
        others = (("Authorization", ALICE), ("X-Auth-Realm", "machines"))
        data = head([self.stated(), *others])
        for address, status in (("203.0.113.1", 401), ("192.0.2.7", 200)) * 3:
            peer = IPv4Address("TCP", address, 4711)
            wire, channel = Wire(peerAddress=peer), gateway.entrance.buildProtocol(peer)
            channel.makeConnection(wire)
            channel.dataReceived(data)
            channel.dataReceived(data)
            self.assertEqual([each.status for each in answered(wire.value())], [status] * 2)
        self.assertEqual(gateway.handed_over(), 0)

    def test_own_routes_S_MTLSHEADER(self) -> None:
        """A certificate counts on no route of the gateway itself, such as that of API tokens."""
        gateway = self.entrances.gateway
        fields: dict[str, Any] = {HEADER.replace("-", "_"): quote(pem(ROBOT))}
        for line in ("GET /whoami", "GET /token", "GET /tokens", "DELETE /tokens/x"):
            self.assertEqual(gateway.ask(line, **fields).status, 401, line)
        self.assertEqual(gateway.post("/tokens", {}, **fields).status, 401)

    def test_log_T77(self) -> None:
        """No log event contains a certificate, or the header with it."""
        seen = EventLoggingObserver()
        globalLogPublisher.addObserver(seen)
        self.addCleanup(globalLogPublisher.removeObserver, seen)
        self.assertOutcome((200, "robot"), self.stated())
        self.assertOutcome((401, ""), self.stated(root("stranger", **DATES).issue(**DATES)))
        self.assertGreater(len(seen), 1)
        text = repr([*seen])
        self.assertNotIn("BEGIN", text)
        self.assertNotIn("MII", text)


class BesideTests(CertificatesCase):
    """A certificate beside other credentials."""

    providers = (ALICE_PASSWORD, tokens("key", USUAL, "keys", credentials={"header": "X-API-Key"}))

    def test_others_decide_S_MTLSBESIDE(self) -> None:
        """What the client adds to a request decides, and not the certificate of its connection."""
        self.assertOutcome((200, "alice"), self.stated(), ("Authorization", ALICE))
        self.assertOutcome((200, "key"), self.stated(), ("X-API-Key", USUAL))
        self.assertOutcome((401, ""), self.stated(), ("Authorization", "Bearer wrong"))
        self.assertOutcome((401, ""), self.stated(), ("X-API-Key", "wrong"))
        self.assertOutcome((200, "alice"), (HEADER, "garbage"), ("Authorization", ALICE))

    def test_realm_S_MTLSBESIDE(self) -> None:
        """X-Auth-Realm chooses the certificate, or forbids it, if no API token could be meant."""
        self.entrances = Entrances({**over(self.file.absolute(), *self.providers), "store": None})
        for realm, wanted in (("machines", (200, "robot")), ("internal", (200, "alice"))):
            lines = (self.stated(), ("Authorization", ALICE), ("X-Auth-Realm", realm))
            self.assertOutcome(wanted, *lines)
        self.assertOutcome((401, ""), self.stated(), ("X-Auth-Realm", "internal"))
        self.assertOutcome((200, "robot"), self.stated(), ("X-Auth-Realm", "MACHINES"))


class AloneTests(CertificatesCase):
    """A gateway for certificates alone."""

    providers = ()

    def test_authorization_of_the_backend_S_MTLSBESIDE(self) -> None:
        """If no provider looks at C{Authorization}, it does not replace a certificate."""
        over_ = {**over(self.file.absolute()), "store": None}
        self.entrances = Entrances(over_)
        self.assertOutcome(
            (200, "robot"), self.stated(), ("Authorization", "Bearer of-the-backend")
        )
        self.assertOutcome((401, ""), ("Authorization", "Bearer of-the-backend"))


class ChainTests(CertificatesCase):
    """Authorities in between, as each proxy states them."""

    def test_rfc_9440(self) -> None:
        """The chain stands in Client-Cert-Chain, whose lines are one list."""
        between = ROOT.authority("one")
        leaf = between.issue(subject=named("deep"), **DATES)
        given = over(self.file.absolute())
        for contract in given["server"]["contracts"]:
            contract["headers"] = {"certificate": "Client-Cert"}
        self.entrances = Entrances(given)
        own = ("Client-Cert", f":{base64(der(leaf))}:")
        chain = ("Client-Cert-Chain", f":{base64(between.der)}:")
        self.assertOutcome((200, "deep"), own, chain)
        self.assertOutcome(
            (200, "deep"), own, ("Client-Cert-Chain", f":{base64(ROOT.der)}:"), chain
        )
        self.assertOutcome((401, ""), own)
        self.assertOutcome((401, ""), chain)

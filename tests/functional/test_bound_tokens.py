"""Tokens that are bound to a key or to a certificate, through real proxies by TLS."""

from __future__ import annotations

import json
import socket
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import dpop
from authotron.testing.issuers import CURVE, EDWARDS, Signer
from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.databases import Database
from tests.functional.proxies import envoy, shipped
from tests.functional.test_client_certificates import (
    ADA,
    ROBOT,
    CertificatesMixin,
    Change,
    of_apache,
    of_caddy,
    of_envoy,
    of_haproxy,
    of_nginx,
    of_traefik,
)
from tests.functional.wire import Answer
from tests.mtls.issuing import key, pem
from tests.waiting import DEADLINE, until

GOOD = wire.basic("alice", "wonder")
URI = "https://app.example.org/data/x"


def key_of(signer: Signer) -> dict[str, Any]:
    return signer.jwk(kid=None, alg=None, use=None)


def made(daemon: Daemon, cnf: Mapping[str, str]) -> str:
    """Create a bound API token at a gateway, and return it."""
    body = json.dumps({"cnf": cnf}).encode()
    fields = {
        "Authorization": GOOD,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    with wire.connect(daemon.port) as connection:
        connection.sendall(wire.head("/tokens", fields, "POST") + body)
        answer = wire.receive(connection)
    assert answer is not None
    assert answer.status == 201, answer.body
    token: str = answer.json()["token"]
    return token


def signed(token: str, uri: str, signer: Signer = CURVE, **changes: Any) -> str:
    """Make a proof for a GET of a URI."""
    claims = {
        "jti": uuid4().hex,
        "htm": "GET",
        "htu": uri,
        "iat": int(time.time()),  # noqa: TID251 - a client has a clock of its own
        "ath": dpop.hash_of(token),
        **changes,
    }
    header = {"typ": "dpop+jwt", "jwk": key_of(signer)}
    raw = json.dumps(claims).encode()
    return jwt.PyJWS().encode(raw, signer.private, signer.algorithm, header)


class BoundMixin(CertificatesMixin):
    """A gateway that allows bound tokens, behind a proxy."""

    sections = MappingProxyType(
        {
            "store": {"type": "sqlite", "path": "tokens.db", "compat": False},
            "tokens": {"bound": {}},
        }
    )

    def proof(self, token: str, path: str, signer: Signer = CURVE, **changes: Any) -> str:
        """Make a proof for a GET of a path, as a client does that knows the URI it asks for."""
        return signed(token, f"https://localhost:{self.port}{path}", signer, **changes)

    def get(
        self, path: str, headers: Sequence[tuple[str, str]], *chain: x509.Certificate
    ) -> Answer:
        """Send a request by TLS, which names host and port, with a certificate if one is given."""
        context = ssl.create_default_context(cafile=str(self.trusted))
        if chain:
            file = self.folder / "client.pem"
            form = serialization.PrivateFormat.PKCS8
            raw = key("client").private_bytes(
                serialization.Encoding.PEM, form, serialization.NoEncryption()
            )
            file.write_text(pem(*chain) + raw.decode())
            context.load_cert_chain(file)
        plain = socket.create_connection(("127.0.0.1", self.port), DEADLINE)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            fields = [*headers, ("Connection", "close")]
            host = f"localhost:{self.port}"
            connection.sendall(wire.head(path, fields, host=host))
            answer = wire.receive(connection)
        assert answer is not None
        return answer

    def check_key(self) -> None:
        """A token that is bound to a key counts with a new proof of each request."""
        token = made(self.daemon, {"jkt": dpop.thumbprint(key_of(CURVE))})
        bound = ("Authorization", f"DPoP {token}")
        for _ in range(3):
            proof = self.proof(token, "/data/x")
            answer = self.get("/data/x?q=1", [bound, ("DPoP", proof)])
            self.assertEqual(answer.status, 200, answer.body)
            found = answer.json()
            self.assertEqual(found["claims"]["sub"], "here-alice")
            self.assertNotIn("dpop", found["headers"])
            self.assertNotIn(token, str(found))
            again = self.get("/data/x?q=1", [bound, ("DPoP", proof)])
            self.assert_challenged(again, "invalid_dpop_proof")
        for path, proofs in (
            ("/data/y", [self.proof(token, "/data/x")]),
            ("/data/x", [self.proof(token, "/data/x", htm="POST")]),
            ("/data/x", [self.proof(token, "/data/x", htu="https://localhost/data/x")]),
            ("/data/x", []),
        ):
            answer = self.get(path, [bound, *(("DPoP", each) for each in proofs)])
            self.assert_challenged(answer, "invalid_dpop_proof")
        other = self.proof(token, "/data/x", EDWARDS)
        answer = self.get("/data/x", [bound, ("DPoP", other)])
        self.assert_challenged(answer, "invalid_token")
        proof = self.proof(token, "/data/x")
        answer = self.get("/data/x", [("Authorization", f"Bearer {token}"), ("DPoP", proof)])
        self.assertEqual(answer.status, 401)
        self.assertIn("DPoP algs=", answer.header("WWW-Authenticate"))

    def assert_challenged(self, answer: Answer, error: str) -> None:
        self.assertEqual(answer.status, 401)
        challenge = answer.header("WWW-Authenticate") or ""
        self.assertEqual(challenge.partition(",")[0], f'DPoP error="{error}"')

    def check_certificate(self) -> None:
        """A token that is bound to a certificate counts over TLS with this certificate."""
        digest = urlsafe_b64encode(ROBOT.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        token = made(self.daemon, {"x5t#S256": digest})
        bearer = ("Authorization", f"Bearer {token}")
        for chain, status in (((ROBOT,), 200), ((ADA,), 401), ((), 401), ((ROBOT,), 200)):
            self.assertEqual(self.get("/data/x", [bearer], *chain).status, status)

    def check_nonce(self) -> None:
        """With C{nonces: true} the first refusal names a nonce, with which the request passes."""
        token = made(self.daemon, {"jkt": dpop.thumbprint(key_of(CURVE))})
        bound = ("Authorization", f"DPoP {token}")
        answer = self.get("/data/x", [bound, ("DPoP", self.proof(token, "/data/x"))])
        self.assert_challenged(answer, "use_dpop_nonce")
        proof = self.proof(token, "/data/x", nonce=answer.header("DPoP-Nonce"))
        self.assertEqual(self.get("/data/x", [bound, ("DPoP", proof)]).status, 200)

    def serve_and_check(self, kind: type[shipped.Proxy], change: Change) -> None:
        self.serve(kind, change)
        self.check_key()
        self.check_certificate()


class SharedTests(SynchronousTestCase):
    """Several gateways that share a token store."""

    def gateways(self, section: Mapping[str, Any]) -> list[Daemon]:
        found = []
        for name in ("one", "two"):
            folder = Path(self.mktemp()).absolute() / name
            daemon = Daemon(folder).configure(
                server={"trusted_proxies": ["127.0.0.1"]},
                store={**section, "compat": False, "timeout": 1},
                tokens={"bound": {}},
            )
            self.addCleanup(daemon.start().stop)
            found.append(daemon)
        return found

    def ask(self, daemon: Daemon, token: str, proof: str) -> int:
        """Ask a gateway about a request, as Traefik does."""
        fields = {
            "Authorization": f"DPoP {token}",
            "DPoP": proof,
            "X-Forwarded-Method": "GET",
            "X-Forwarded-Uri": "/data/x",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "app.example.org",
            "X-Forwarded-For": "203.0.113.9",
        }
        with wire.connect(daemon.port) as connection:
            connection.sendall(wire.head("/auth/traefik", fields))
            answer = wire.receive(connection)
        assert answer is not None
        return answer.status

    def check(self, database: Database) -> None:
        one, two = self.gateways(database.section)
        token = made(one, {"jkt": dpop.thumbprint(key_of(CURVE))})
        for first, second in ((one, two), (two, one)):
            proof = signed(token, URI)
            self.assertEqual(self.ask(first, token, proof), 200)
            self.assertEqual(self.ask(second, token, proof), 401)
        database.freeze()
        try:
            proof = signed(token, URI)
            self.assertEqual(self.ask(one, token, proof), 503)
        finally:
            database.thaw()
        until(lambda: self.ask(two, token, signed(token, URI)) == 200, "answering again")

    def test_redis_S_DPOPREPLAY_S_DPOPSTORE(self) -> None:
        """A proof that was sent to one gateway is refused by the other, by Redis."""
        database = Database("redis", Path(self.mktemp())).start()
        self.addCleanup(database.stop)
        self.check(database)

    def test_mongo_S_DPOPREPLAY_S_DPOPSTORE(self) -> None:
        """A proof that was sent to one gateway is refused by the other, by MongoDB."""
        database = Database("mongo", Path(self.mktemp())).start()
        self.addCleanup(database.stop)
        self.check(database)


class NonceTests(BoundMixin, SynchronousTestCase):
    """Proxies pass the nonce of the gateway on to the client."""

    sections = MappingProxyType({**BoundMixin.sections, "tokens": {"bound": {"nonces": True}}})

    def test_nginx(self) -> None:
        """Nginx copies the header of the refusal."""
        self.serve(shipped.Nginx, of_nginx)
        self.check_nonce()

    def test_envoy(self) -> None:
        """Envoy passes the headers of a refusal on, by HTTP."""
        self.header = "X-Forwarded-Client-Cert"
        self.serve(envoy.Envoy, of_envoy)
        self.check_nonce()

    def test_envoy_by_grpc(self) -> None:
        """Envoy passes the headers of a refusal on, by gRPC."""
        self.header, self.listen = "X-Forwarded-Client-Cert", ("grpc",)
        self.serve(envoy.Envoy, of_envoy)
        self.check_nonce()

    def test_haproxy(self) -> None:
        """HAProxy's script passes the headers of a refusal on."""
        self.header = "X-Authotron-Certificate"
        self.serve(shipped.HAProxy, of_haproxy)
        self.check_nonce()

    def test_caddy(self) -> None:
        """Caddy passes the refusal on as it is."""
        self.header = "X-Client-Certificate"
        self.serve(shipped.Caddy, of_caddy)
        self.check_nonce()

    def test_apache(self) -> None:
        """The script of Apache passes the headers of a refusal on."""
        self.serve(shipped.ApacheByLua, of_apache)
        self.check_nonce()

    def test_traefik(self) -> None:
        """Traefik passes the refusal on as it is."""
        self.header = "X-Forwarded-Tls-Client-Cert"
        self.serve(shipped.Traefik, of_traefik)
        self.check_nonce()


class ProxiesTests(BoundMixin, SynchronousTestCase):
    """Each proxy with the configuration that proxy-config prints for bound tokens."""

    def test_nginx_S_DPOPURI_S_X5T(self) -> None:
        """Nginx states the port that the client names."""
        self.serve_and_check(shipped.Nginx, of_nginx)

    def test_envoy_S_DPOPURI_S_X5T(self) -> None:
        """Envoy asks by HTTP."""
        self.header = "X-Forwarded-Client-Cert"
        self.serve_and_check(envoy.Envoy, of_envoy)

    def test_envoy_by_grpc_S_DPOPURI_S_X5T(self) -> None:
        """Envoy asks by gRPC."""
        self.header, self.listen = "X-Forwarded-Client-Cert", ("grpc",)
        self.serve_and_check(envoy.Envoy, of_envoy)

    def test_haproxy_S_DPOPURI_S_X5T(self) -> None:
        """HAProxy asks by the shipped script."""
        self.header = "X-Authotron-Certificate"
        self.serve_and_check(shipped.HAProxy, of_haproxy)

    def test_caddy_S_DPOPURI_S_X5T(self) -> None:
        """Caddy asks by C{forward_auth}."""
        self.header = "X-Client-Certificate"
        self.serve_and_check(shipped.Caddy, of_caddy)

    def test_apache_S_DPOPURI_S_X5T(self) -> None:
        """Apache asks by a script in Lua."""
        self.serve_and_check(shipped.ApacheByLua, of_apache)

    def test_traefik_S_DPOPURI_S_X5T(self) -> None:
        """Traefik asks by C{forwardAuth}."""
        self.header = "X-Forwarded-Tls-Client-Cert"
        self.serve_and_check(shipped.Traefik, of_traefik)

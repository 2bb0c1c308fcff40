"""Tokens that are bound to the TLS certificate of a client (RFC 8705), at every entrance."""

from __future__ import annotations

import datetime as dt
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.mtls.issuing import named, pem, root
from tests.web.bound_case import ALGORITHMS, Answer, BoundCase, thumbprint

DATES: dict[str, Any] = {
    "begin": dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
    "end": dt.datetime(2120, 1, 1, tzinfo=dt.UTC),
}
ROOT = root(**DATES)
MINE, OTHER = (ROOT.issue(subject=named(name), **DATES) for name in ("mine", "other"))
ENTRANCES = ("site", "fast path", "grpc")
ADMITTED = Answer(200, "")
REFUSED = Answer(
    401,
    'Bearer error="invalid_token", error_description="the token is bound to another certificate"',
)


def hash_of(certificate: x509.Certificate) -> str:
    digest = certificate.fingerprint(hashes.SHA256())
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


class CertificateTests(BoundCase):
    """A token that is bound to a certificate counts only over TLS with this certificate."""

    def setUp(self) -> None:
        contract = {"type": "traefik", "headers": {"certificate": "X-SSL-Client-Cert"}}
        self.over = {"server": {"contracts": [contract]}}
        super().setUp()

    def bound_to(self, certificate: x509.Certificate, **more: str) -> str:
        return self.make_token({"x5t#S256": hash_of(certificate), **more})

    def test_accepted(self) -> None:
        """The client of the certificate may use the token, as often as it likes."""
        token = self.bound_to(MINE)
        for entrance in ENTRANCES * 2:
            with self.subTest(entrance):
                found = self.ask(entrance, f"Bearer {token}", certificate=quote(pem(MINE)))
                self.assertEqual(found, ADMITTED)

    def test_stolen_S_X5T(self) -> None:
        """Without a certificate, or with another one, the token is a 401."""
        token = self.bound_to(MINE)
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                self.ask(entrance, f"Bearer {token}", certificate=quote(pem(MINE)))
                self.assertEqual(self.ask(entrance, f"Bearer {token}"), REFUSED)
                found = self.ask(entrance, f"Bearer {token}", certificate=quote(pem(OTHER)))
                self.assertEqual(found, REFUSED)

    def test_not_stated_S_X5T(self) -> None:
        """Where the certificate is malformed or from a stranger, the request is a 400."""
        token = self.bound_to(MINE)
        for entrance in ENTRANCES:
            found = self.ask(entrance, f"Bearer {token}", certificate="x")
            self.assertEqual(found.status, 400)
        twice = {"certificate": quote(pem(MINE)), "again": quote(pem(OTHER))}
        for entrance in ("site", "fast path"):
            self.assertEqual(self.ask(entrance, f"Bearer {token}", **twice).status, 400)

    def test_fastcgi_S_X5T(self) -> None:
        """Apache states no certificate by FastCGI, so the token is a 401."""
        token = self.bound_to(MINE)
        self.assertEqual(self.ask("fastcgi", f"Bearer {token}"), REFUSED)

    def test_both(self) -> None:
        """A token that is bound to a key and to a certificate needs both."""
        token = self.bound_to(MINE, jkt=thumbprint(self.signer))
        invalid = Answer(401, f'DPoP error="invalid_token", algs="{ALGORITHMS}"')
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                mine = {"certificate": quote(pem(MINE))}
                proof = self.proof(token)
                self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), invalid)
                self.assertEqual(self.ask(entrance, f"DPoP {token}", proof, **mine), ADMITTED)
                self.assertEqual(self.ask(entrance, f"Bearer {token}", **mine).status, 401)

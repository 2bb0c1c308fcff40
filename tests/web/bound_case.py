"""Clients with bound tokens in front of a gateway in memory, at every entrance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jwt
from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import dpop
from authotron.net.world import Agents, forbid_http
from authotron.testing.issuers import CURVE, Signer
from authotron.web.fastpath import repeats
from authotron.web.grpc.messages import CheckRequest
from tests.config.cases import laid_over
from tests.web.conversations import ALICE
from tests.web.fastcgi.conversations import FastCgiGateway
from tests.web.grpc.dialogue import Proxy, check_request

ENTRANCES = ("site", "fast path", "grpc", "fastcgi")
URI = "https://app.example.org/data/x"
ALGORITHMS = "ES256 ES384 EdDSA Ed25519 PS256 RS256"
INVALID_PROOF = f'DPoP error="invalid_dpop_proof", algs="{ALGORITHMS}"'
OVER: dict[str, Any] = {
    "server": {"trusted_proxies": ["192.0.2.0/24", "127.0.0.0/8"]},
    "store": {"type": "memory"},
    "tokens": {"bound": {}},
    "auth": {"challenge_errors": True},
}


def key_of(signer: Signer) -> dict[str, Any]:
    """Return the public key of a signer as the header of a proof contains it."""
    return signer.jwk(kid=None, alg=None, use=None)


def thumbprint(signer: Signer) -> str:
    return dpop.thumbprint(key_of(signer))


@define
class Answer:
    """What a proxy gets: whether the request passes, or the status and the challenge."""

    status: int
    challenge: str
    nonce: str = ""


class BoundCase(SynchronousTestCase):
    """
    A client with a key, and a gateway that issues tokens bound to it.

    @ivar signer: the key of the client.
    """

    signer = CURVE
    over: Mapping[str, Any] = MappingProxyType({})

    def setUp(self) -> None:
        self.patch(repeats, "ONE_IN", 1)  # every head is remembered, and may come again
        self.serial = 0
        self.start(self.over)

    def start(self, over: Mapping[str, Any], agents: Agents = forbid_http) -> None:
        self.fastcgi = FastCgiGateway(laid_over(OVER, dict(over)), agents)
        self.gateway = self.fastcgi.gateway
        self.proxy = Proxy(self.gateway)

    def make_token(self, cnf: Mapping[str, str] | None, **fields: Any) -> str:
        """Create an API token of alice, bound if wanted, and return it."""
        body = fields if cnf is None else {"cnf": cnf, **fields}
        answer = self.gateway.post("/tokens", body, Authorization=ALICE)
        self.assertEqual(answer.status, 201, answer.body)
        token: str = answer.json()["token"]
        return token

    def make_bound(self, **fields: Any) -> str:
        """Create an API token that is bound to the key of the client."""
        return self.make_token({"jkt": thumbprint(self.signer)}, **fields)

    def proof(self, token: str | None, signer: Signer | None = None, /, **changes: Any) -> str:
        """
        Build a new proof; a claim that is C{None} is left out.

        @param changes: claims that differ from those of a good proof for L{URI}.
        """
        self.serial += 1
        claims = {
            "jti": f"id-{self.serial}",
            "htm": "GET",
            "htu": URI,
            "iat": int(self.gateway.clock.seconds()),
            "ath": None if token is None else dpop.hash_of(token),
            **changes,
        }
        content = {name: value for name, value in claims.items() if value is not None}
        signer = signer or self.signer
        header = {"typ": "dpop+jwt", "jwk": key_of(signer)}
        raw = json.dumps(content).encode()
        return jwt.PyJWS().encode(raw, signer.private, signer.algorithm, header)

    def ask(
        self, entrance: str, authorization: str, *proofs: str, uri: str = "/data/x", **more: str
    ) -> Answer:
        """Ask about a request for L{URI} at one entrance."""
        if entrance == "grpc":
            return self._by_grpc(authorization, proofs, uri, more.get("certificate", ""))
        if entrance == "fastcgi":
            return self._by_fastcgi(authorization, proofs, uri)
        lines = [
            "GET /auth/traefik HTTP/1.1", "Host: gate", f"Authorization: {authorization}",
            "X-Forwarded-Method: GET", f"X-Forwarded-Uri: {uri}", "X-Forwarded-Proto: https",
            "X-Forwarded-Host: app.example.org", "X-Forwarded-For: 203.0.113.9",
            *(f"DPoP: {each}" for each in proofs),
            *(f"X-SSL-Client-Cert: {each}" for each in more.values()), "", "",
        ]  # fmt: skip
        site = self.gateway.public if entrance == "site" else self.gateway.entrance
        [answer] = self.gateway.say("\r\n".join(lines).encode(), site)
        headers = answer.headers
        return self._checked(
            answer.status,
            headers.get("www-authenticate", ""),
            headers.get("dpop-nonce", ""),
            jwt="authorization" in headers,
        )

    def _by_grpc(
        self, authorization: str, proofs: tuple[str, ...], uri: str, certificate: str
    ) -> Answer:
        fields = {"dpop": ",".join(proofs)} if proofs else {}
        raw = check_request(path=uri, authorization=authorization, **fields)
        request = CheckRequest.FromString(raw)
        request.attributes.request.http.scheme = b"https"
        request.attributes.source.certificate = certificate.encode()
        response = self.proxy.call(request.SerializeToString())
        if response.says == 200:
            return self._checked(200, "", "", jwt="authorization" in response.added)
        refusal = {name.lower(): value for name, value in response.refusal.items()}
        challenge, nonce = refusal.get("www-authenticate", ""), refusal.get("dpop-nonce", "")
        return self._checked(response.says, challenge, nonce, jwt=False)

    def _by_fastcgi(self, authorization: str, proofs: tuple[str, ...], uri: str) -> Answer:
        more = {"HTTP_DPOP": ", ".join(proofs)} if proofs else {}
        answer = self.fastcgi.ask(
            HTTP_AUTHORIZATION=authorization, REQUEST_SCHEME="https", REQUEST_URI=uri, **more
        )
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return self._checked(
            answer.status,
            headers.get("www-authenticate", ""),
            headers.get("dpop-nonce", ""),
            jwt="variable-authorization" in headers,
        )

    def _checked(self, status: int, challenge: str, nonce: str, *, jwt: bool) -> Answer:
        self.assertEqual(jwt, status == 200)
        return Answer(status, challenge, nonce)

"""
Proofs of tokens that are bound to a key of the client (DPoP, RFC 9449).

::

    key = ProofKey.from_pem(Path("key.pem").read_bytes())
    print(key.thumbprint)  # for "cnf": {"jkt": ...} when the token is created
    auth = AuthotronAuth(fixed("aot_..."), "https://forecasts.example.org", key=key)
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

_PUBLIC = ("crv", "kty", "x", "y")
"""The members of a public key of an elliptic curve, in the order of RFC 7638 section 3.3."""


class ProofKey:
    """
    A private key of this client: signs a proof for each request with a token that is bound to the
    key.

    Several threads may use one L{ProofKey}.

    @ivar thumbprint: the thumbprint of the public key (RFC 7638), to which a token is bound.
    """

    def __init__(
        self,
        private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | None = None,
        *,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - only the gateway has a World, with a clock of its own
    ) -> None:
        """
        @param private: a key on the curve P-256, or an Ed25519 key; by default a new key, for
            tokens that live no longer than this process.

        @raise ValueError: the key is of another kind.
        """
        self._private: Any = private or ec.generate_private_key(ec.SECP256R1())
        self._clock = clock
        self._nonce: str | None = None
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            self._algorithm = "EdDSA"
            members = jwt.algorithms.OKPAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        else:
            if not _is_on_p256(self._private):
                raise ValueError("the key is neither on the curve P-256 nor an Ed25519 key")
            self._algorithm = "ES256"
            members = jwt.algorithms.ECAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        self._public = {name: members[name] for name in _PUBLIC if name in members}
        canonical = json.dumps(self._public, separators=(",", ":")).encode()
        self.thumbprint = _hash(canonical)

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes | None = None) -> ProofKey:
        """
        Read a private key in PEM.

        @raise ValueError: the text is not a private key on the curve P-256, or an Ed25519 key.
        """
        return cls(serialization.load_pem_private_key(pem, password))  # type: ignore[arg-type] # the constructor checks the kind

    def headers(self, token: str, method: str, url: str) -> dict[str, str]:
        """Return the headers of one request, which present a token with a new proof of this key."""
        claims = {
            "jti": uuid4().hex,
            "htm": method,
            "htu": url.partition("#")[0].partition("?")[0],
            "iat": int(self._clock()),
            "ath": _hash(token.encode("ascii")),
        }
        if self._nonce is not None:
            claims["nonce"] = self._nonce
        header = {"typ": "dpop+jwt", "jwk": self._public}
        proof = jwt.encode(claims, self._private, self._algorithm, header)
        return {"Authorization": f"DPoP {token}", "DPoP": proof}

    def learn(self, nonce: str | None) -> bool:
        """
        Remember the nonce of a response (the header C{DPoP-Nonce}) for further proofs; return
        whether it is a new one, so that the refused request should be sent again.
        """
        if nonce is None or nonce == self._nonce:
            return False
        self._nonce = nonce
        return True


def _is_on_p256(private: object) -> bool:
    return isinstance(getattr(private, "curve", None), ec.SECP256R1)


def _hash(content: bytes) -> str:
    """Return the SHA-256 hash of bytes in base64url without padding."""
    return base64.urlsafe_b64encode(sha256(content).digest()).rstrip(b"=").decode()

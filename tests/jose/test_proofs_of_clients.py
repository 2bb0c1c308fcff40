"""Proofs that clients make are those that the gateway accepts."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from twisted.trial.unittest import SynchronousTestCase

from authotron.client.presenting import Presenter
from authotron.client.proofs import ProofKey
from authotron.client.renewal import fixed
from authotron.jose import dpop
from authotron.jose.dpop import Proof

NOW = 1_700_000_000.0
URL = "https://api.example.org:8443/data/x?q=1#part"
ASKED = dpop.target("GET", "https", "api.example.org", 8443, "/data/x")


def verify(text: str, nonces: list[str] | None = None) -> Proof:
    return dpop.verify(
        text,
        [ASKED],
        NOW,
        window=60,
        algorithms=("ES256", "EdDSA"),
        token_hash=dpop.hash_of("token"),
        nonces=nonces,
    )


class ProofKeyTests(SynchronousTestCase):
    """The key of a client."""

    def test_accepted(self) -> None:
        """The gateway accepts the proofs of each kind of key, and finds the same thumbprint."""
        for private in (
            None,
            ec.generate_private_key(ec.SECP256R1()),
            ed25519.Ed25519PrivateKey.generate(),
        ):
            key = ProofKey(private, clock=lambda: NOW)
            first, second = (key.headers("token", "GET", URL) for _ in range(2))
            self.assertEqual(first["Authorization"], "DPoP token")
            found = verify(first["DPoP"])
            self.assertEqual(found.jkt, key.thumbprint)
            self.assertNotEqual(found.id, verify(second["DPoP"]).id)

    def test_nonce(self) -> None:
        """A nonce that a service names is in all further proofs."""
        key = ProofKey(clock=lambda: NOW)
        self.assertTrue(key.learn("n1"))
        self.assertFalse(key.learn("n1"))
        self.assertFalse(key.learn(None))
        verify(key.headers("token", "GET", URL)["DPoP"], ["n1"])
        self.assertTrue(key.learn("n2"))
        verify(key.headers("token", "GET", URL)["DPoP"], ["n2"])

    def test_pem(self) -> None:
        """A key is read from PEM; one of another kind is an error."""
        private = ed25519.Ed25519PrivateKey.generate()
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
        pem = private.private_bytes(*form, serialization.NoEncryption())
        self.assertEqual(ProofKey.from_pem(pem).thumbprint, ProofKey(private).thumbprint)
        wide = ec.generate_private_key(ec.SECP384R1())
        other = wide.private_bytes(*form, serialization.NoEncryption())
        for text in (other, b"", b"x"):
            self.assertRaises(ValueError, ProofKey.from_pem, text)


class PresenterTests(SynchronousTestCase):
    """How a request presents a token."""

    def test_bearer(self) -> None:
        """Without a key the token is a bearer token."""
        found = Presenter(fixed("token"), None).headers("token", "GET", URL)
        self.assertEqual(found, {"Authorization": "Bearer token"})

    def test_nonce_is_no_refusal(self) -> None:
        """A refusal that names a new nonce says nothing against the token."""
        source = fixed("token")
        refused: list[str] = []
        self.patch(source, "refused", refused.append)
        key = ProofKey()
        presenter = Presenter(source, key)
        presenter.refused("token", {"DPoP-Nonce": "n1"}.get)
        self.assertEqual(refused, [])
        presenter.refused("token", {"DPoP-Nonce": "n1"}.get)
        presenter.refused("token", lambda _name: None)
        self.assertEqual(refused, ["token", "token"])

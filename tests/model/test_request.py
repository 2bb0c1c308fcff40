"""The facts of a request."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.client_certificate import ClientCertificate
from authotron.model.errors import Flaw, UnusableFact
from authotron.model.request import FACTS, Facts


class FactsTests(SynchronousTestCase):
    """What conditions and policies may ask of a request."""

    def test_known(self) -> None:
        """Facts that are known are attributes."""
        facts = Facts(method="GET", host="a.org", port=8443, path="/x", address="192.0.2.7")
        self.assertEqual((facts.method, facts.path, facts.address), ("GET", "/x", "192.0.2.7"))
        self.assertEqual(facts.authority, "a.org:8443")
        self.assertEqual(Facts(host="a.org").authority, "a.org")

    def test_unknown_T04_T18(self) -> None:
        """A fact that is not known raises, so that no condition can take it for a usual one."""
        for name in ("method", "scheme", "host", "path", "address"):
            with self.subTest(name):
                error = self.assertRaises(UnusableFact, getattr, Facts(), name)
                self.assertEqual((error.fact, error.flaw), (name, Flaw.MISSING))

    def test_optional(self) -> None:
        """A request may lack a port, a query, a namespace and a client certificate."""
        facts = Facts()
        self.assertEqual({facts.port, facts.query, facts.namespace, facts.certificate}, {None})

    def test_read_once(self) -> None:
        """A fact is read when it is first asked for, and only once."""
        asked: list[str] = []

        def read(name: str) -> str:
            asked.append(name)
            return f"the {name}"

        facts = Facts(read)
        self.assertEqual(asked, [])
        self.assertEqual([facts.path, facts.path, facts.query], ["the path"] * 2 + ["the query"])
        self.assertEqual(asked, ["path", "query"])

    def test_frozen(self) -> None:
        """A fact cannot be changed."""
        self.assertRaises(AttributeError, setattr, Facts(host="a.org"), "host", "b.org")

    def test_equal(self) -> None:
        """Facts are equal if each of them is, however they were read."""
        read = Facts({**dict.fromkeys(FACTS), "host": "a.org"}.__getitem__)
        known = Facts(**{**dict.fromkeys(FACTS), "host": "a.org"})  # type: ignore[arg-type] # all None
        self.assertEqual(read, known)
        self.assertEqual(hash(read), hash(known))
        self.assertNotEqual(read, Facts(host="a.org"))
        self.assertIn("path is missing", repr(Facts(host="a.org")))

    def test_reason(self) -> None:
        """An unusable fact says which fact it is, and what is wrong with it."""
        error = UnusableFact("host", Flaw.DUPLICATE, "X-Forwarded-Host")
        self.assertEqual(str(error), "host is duplicate: X-Forwarded-Host")

    def test_fingerprint(self) -> None:
        """A client certificate is known by its SHA-256 hash."""
        self.assertTrue(ClientCertificate(b"").fingerprint.startswith("e3b0c442"))

"""The facts of a request, as Envoy states them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Flaw, UnusableFact
from authotron.web.grpc import question
from authotron.web.grpc.messages import CheckRequest
from authotron.web.grpc.question import Question
from tests.web.conversations import InMemoryGateway
from tests.web.grpc.dialogue import check_request, grpc_factory


def asked(certificate: str = "", namespace: str = "", **http: str) -> Question:
    """Return a question, with fields of the request changed."""
    request = CheckRequest.FromString(check_request())
    attributes = request.attributes
    address = http.pop("address", None)
    if address is not None:
        attributes.source.address.socket_address.address = address.encode()
    attributes.source.certificate = certificate.encode()
    attributes.context_extensions.add(key=b"other", value=b"x")
    attributes.context_extensions.add(key=b"namespace", value=namespace.encode())
    for name, value in http.items():
        setattr(attributes.request.http, name, value.encode("latin-1"))
    return question.read(request.SerializeToString(), None)


class FactsTests(SynchronousTestCase):
    """Facts that Envoy states, and facts that it does not state clearly."""

    def of(self, fact: str, value: str) -> Question:
        """Return a question in which one fact has another value."""
        return asked(**{fact: value})

    def flaw(self, fact: str, found: Question) -> Flaw:
        error = self.assertRaises(UnusableFact, getattr, found.facts, fact)
        self.assertEqual(error.fact, fact)
        flaw: Flaw = error.flaw
        return flaw

    def test_all(self) -> None:
        """Each fact has the value that Envoy states, in its canonical spelling."""
        facts = asked(
            method="PATCH",
            scheme="https",
            host="App.Example.ORG.:8443",
            path="/a/./b/%7Eme?x=1?y",
            address="::ffff:203.0.113.9",
            namespace="tenant-1",
        ).facts
        self.assertEqual((facts.method, facts.scheme), ("PATCH", "https"))
        self.assertEqual((facts.host, facts.port), ("app.example.org", 8443))
        self.assertEqual((facts.path, facts.query), ("/a/b/~me", "x=1?y"))
        self.assertEqual(facts.address, "203.0.113.9")
        self.assertEqual(facts.namespace, "tenant-1")
        self.assertIsNone(facts.certificate)

    def test_missing_S_GRPC(self) -> None:
        """A fact that Envoy does not state is missing; what a request may lack is C{None}."""
        for fact in ("method", "host", "path"):
            self.assertEqual(self.flaw(fact, self.of(fact, "")), Flaw.MISSING)
        self.assertEqual(self.flaw("scheme", asked()), Flaw.MISSING)
        self.assertEqual(self.flaw("address", asked(address="")), Flaw.MISSING)
        facts = asked(path="/a").facts
        self.assertEqual((facts.port, facts.query, facts.namespace), (None, None, None))

    def test_malformed_S_GRPC(self) -> None:
        """A fact in which Envoy states something impossible is malformed."""
        for name, value in (
            ("method", "GET /"),
            ("method", "G\xc9T"),
            ("scheme", "ftp"),
            ("host", "a b"),
            ("host", "a,b"),
            ("address", "unix"),
            ("namespace", "a\nb"),
            ("namespace", "n" * 1_025),
        ):
            self.assertEqual(self.flaw(name, self.of(name, value)), Flaw.MALFORMED)

    def test_ambiguous_paths_S_GRPC(self) -> None:
        """A path that proxies and services could take for different ones is malformed."""
        for path in (
            "*",
            "//a",
            "/a//b",
            "/a%2Fb",
            "/a%5Cb",
            "/a\\b",
            "/a;b",
            "/%2e%2e/a",
            "/../a",
            "/%252e",
            "/a%00",
            "/a#b",
            "/\xff",
            "http://other/a",
        ):
            self.assertEqual(self.flaw("path", asked(path=path)), Flaw.MALFORMED, path)

    def test_certificate(self) -> None:
        """The certificate of the client is that which Envoy sends as PEM with percent-encoding."""
        pem = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"
        found = asked(certificate=quote(pem)).facts.certificate
        assert found is not None
        self.assertEqual(found.der, b"\x00\x01\x02")
        for malformed in ("x", quote(pem.replace("AAEC", "\xe9")), quote(pem[:-9])):
            self.assertEqual(self.flaw("certificate", asked(certificate=malformed)), Flaw.MALFORMED)

    def test_not_printed(self) -> None:
        """A question does not print credentials."""
        found = question.read(check_request(authorization="Basic c2VjcmV0"), None)
        self.assertNotIn("c2VjcmV0", repr(found))

    def test_any_fields(self) -> None:
        """Whatever bytes Envoy states, a fact is a value or an unusable fact."""
        for value in (b"", b"\xff", b"\x00", b"a" * 70_000, "ü".encode(), b"%", b"[::1", b"?"):
            request = CheckRequest()
            attributes: Any = request.attributes
            attributes.source.certificate = value
            attributes.source.address.socket_address.address = value
            attributes.context_extensions.add(key=b"namespace", value=value)
            for name in ("method", "path", "host", "scheme"):
                setattr(attributes.request.http, name, value)
            found = question.read(request.SerializeToString(), None)
            repr(found.facts)
            self.assertIsInstance(found.sender, str)
            self.assertEqual(found.method_label, "other")


class TlsTests(SynchronousTestCase):
    """gRPC at an endpoint with TLS."""

    def test_protocol(self) -> None:
        """TLS negotiates HTTP/2, which Envoy requires there."""
        self.assertEqual(grpc_factory(InMemoryGateway()).acceptableProtocols(), [b"h2"])

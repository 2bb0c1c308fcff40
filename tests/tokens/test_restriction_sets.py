"""Restriction sets of exchanged tokens."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import UnusableFact
from authotron.model.request import Facts
from authotron.policy.rules import Request
from authotron.tokens.restriction_sets import RestrictionSet, from_json

EVERYTHING = {
    "namespace": "/data",
    "permissions": ["/x/**:GET,PUT:7", "-/x/secret:*"],
    "hosts": ["*.example.org", "other:8443"],
    "networks": ["10.0.0.0/8", "2001:db8::/32"],
    "methods": ["GET"],
}


def facts(**known: Any) -> Facts:
    usual = {"method": "GET", "host": "a.example.org", "port": None, "path": "/x/y"}
    return Facts(**{**usual, "address": "10.1.2.3", "namespace": "/data", **known})


class RestrictionSetTests(SynchronousTestCase):
    """Which requests a restriction set allows."""

    def allows(self, stated: dict[str, Any], **known: Any) -> bool:
        return from_json(stated).holds(facts(**known))

    def test_json(self) -> None:
        """A set is the same after it was written to a token and read again."""
        found = from_json(EVERYTHING)
        self.assertEqual(from_json(found.as_json()), found)
        self.assertEqual(found.as_json()["networks"], EVERYTHING["networks"])
        self.assertTrue(from_json({}).is_empty)
        self.assertFalse(found.is_empty)

    def test_each_part(self) -> None:
        """Each part of a set must allow a request."""
        self.assertTrue(self.allows({}))
        for stated, known in (
            ({"namespace": "/data/deep"}, {}),
            ({"permissions": ["/x/y:PUT"]}, {}),
            ({"permissions": ["-/x/y:PUT"]}, {}),
            ({"permissions": ["/x/**:*", "-/x/y:GET"]}, {}),
            ({"hosts": ["b.example.org"]}, {}),
            ({"hosts": ["a.example.org"]}, {"port": 8443}),
            ({"networks": ["192.0.2.0/24"]}, {}),
            ({"methods": ["PUT", "POST"]}, {}),
        ):
            self.assertFalse(self.allows(stated, **known), (stated, known))
        for stated in (
            {"namespace": "/"},
            {"namespace": "/data"},
            {"permissions": ["/x/*:GET"]},
            {"hosts": ["*.example.org"]},
            {"networks": ["192.0.2.0/24", "10.0.0.0/8"]},
            {"methods": ["GET"]},
        ):
            self.assertTrue(self.allows(stated), stated)

    def test_default_namespace(self) -> None:
        """A request for which the proxy names no namespace is in the default namespace."""
        found = from_json({"namespace": "/data"})
        self.assertFalse(found.holds(facts(namespace=None)))
        self.assertTrue(found.within("/data/archive").holds(facts(namespace=None)))

    def test_reads_what_it_needs(self) -> None:
        """A fact on which no part depends may be missing."""
        needs: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
            ({"methods": ["GET"]}, {"method": "GET"}),
            ({"hosts": ["a"]}, {"host": "a"}),
            ({"networks": ["10.0.0.0/8"]}, {"address": "10.0.0.1"}),
            ({"namespace": "/"}, {}),
        )
        for stated, known in needs:
            self.assertTrue(from_json(stated).holds(Facts(**known)), stated)

    def test_unusable(self) -> None:
        """A fact that backends could read in another way cannot be used."""
        for known in ({"path": "/x%3By"}, {"method": "get"}):
            with self.assertRaises(UnusableFact):
                self.allows({"permissions": ["/x/**:*"]}, **known)

    def test_at_gateway(self) -> None:
        """Only hosts and networks apply to requests to the gateway itself."""
        found = from_json({**EVERYTHING, "hosts": ["gate"]})
        known = Facts(host="gate", address="10.0.0.1")
        self.assertTrue(found.holds_at_gateway(known))
        self.assertFalse(found.holds_at_gateway(Facts(host="other", address="10.0.0.1")))
        self.assertFalse(found.holds_at_gateway(Facts(host="gate", address="192.0.2.1")))

    def test_stated(self) -> None:
        """A request about which a client asks may have an id, and a resource that is no path."""
        found = from_json({"permissions": ["dog:walk:rex", "/x:GET", "-/x:GET:7"]})
        allowed = [
            found.holds_for(Request(*each), Facts())
            for each in (
                ("dog", "walk", "rex"),
                ("dog", "walk", "tom"),
                ("/x", "GET"),
                ("/x", "GET", "7"),
            )
        ]
        self.assertEqual(allowed, [True, False, True, False])
        self.assertFalse(from_json({"methods": ["GET"]}).holds_for(Request("/x", "PUT"), Facts()))

    def test_in_words(self) -> None:
        """A set describes itself in words, for C{authotron explain}."""
        found = from_json({"namespace": "/data", "methods": ["GET", "PUT"]})
        self.assertEqual(str(found), "only in namespace /data and only with methods GET, PUT")

    def test_size(self) -> None:
        """The size of a set in memory grows with what it names."""
        small, large = from_json({}), from_json(EVERYTHING)
        self.assertGreater(large.__sizeof__(), small.__sizeof__())

    def test_layer(self) -> None:
        """A set is a layer of a permission list, which allows nothing in other namespaces."""
        layer = from_json(EVERYTHING).layer("/data")
        [rule] = layer.rules
        self.assertEqual(rule.methods, frozenset({"GET"}))
        self.assertEqual(from_json(EVERYTHING).layer("/other").rules, ())
        self.assertEqual(len(RestrictionSet().layer("/").rules), 1)


class BoundTests(SynchronousTestCase):
    """Clients choose permissions and paths, so comparing them must not take long."""

    def test_wild_segments(self) -> None:
        """Only patterns with a wildcard before their end are compared segment by segment."""
        for pattern, count in (
            ("/data/**:*", 0),
            ("/data/x:GET", 0),
            ("*:GET", 0),
            ("/**:GET", 0),
            ("dog:walk:rex", 0),
            ("/data/*/x:GET", 3),
            ("/data/*:GET", 2),
            ("/**/x/**:GET", 3),
        ):
            self.assertEqual(from_json({"permissions": [pattern]}).wild_segments, count, pattern)

    def test_long_path(self) -> None:
        """A path of very many segments is refused, as it cannot be compared quickly."""
        found = from_json({"permissions": ["/**/x:*"]})
        self.assertTrue(found.holds(facts(path="/a" * 100 + "/x")))
        with self.assertRaises(UnusableFact):
            found.holds(facts(path="/a" * 200 + "/x"))

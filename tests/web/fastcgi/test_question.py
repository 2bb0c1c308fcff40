"""The facts that the variables of Apache state about the request of a client."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import UnusableFact
from authotron.model.request import FACTS, Facts
from authotron.web.fastcgi.question import question
from tests.web.fastcgi.conversations import variables


def facts(**over: Any) -> Facts:
    """Return the facts of an ordinary question with some variables changed."""
    return question(variables({"REQUEST_SCHEME": "http", **over})).facts()


class FactTests(SynchronousTestCase):
    """One fact after the other."""

    def test_ordinary_question(self) -> None:
        """Each fact has its variable; Apache knows no certificate when it asks."""
        found = facts(REQUEST_URI="/data/x?a=1&b=%20", HTTP_HOST="App.Example.org.:8443")
        self.assertEqual(
            {name: getattr(found, name) for name in FACTS},
            {
                "method": "GET",
                "scheme": "http",
                "host": "app.example.org",
                "port": 8443,
                "path": "/data/x",
                "query": "a=1&b=%20",
                "address": "203.0.113.9",
                "namespace": None,
                "certificate": None,
            },
        )

    def test_path_is_what_apache_will_do_S_FCGI(self) -> None:
        """
        Apache asks about C{/public/../admin/x} and performs C{/admin/x}: the path is either the one
        that is performed, or refused.
        """
        for target, path in (
            ("/public/../admin/x", "/admin/x"),
            ("/public/./x", "/public/x"),
            ("/DATA/%41%7Euser/x", "/DATA/A~user/x"),
            ("/data?x=/../y", "/data"),
            ("http://app.example.org/data/x?y=1", "/data/x"),
            ("HTTP://app.example.org", "/"),
        ):
            self.assertEqual(facts(REQUEST_URI=target).path, path)
        for target in (
            "/public/%2e%2e/admin/x",
            "//admin/x",
            "/data//x",
            "/data/%252e%252e%252fadmin",
            "/data\\..\\admin",
            "/data;v=1/..;/admin",
            "/a%2Fb",
            "/data/caf%E9",
            "app.example.org:443",
            "*",
            "http://other.example.org/data",
        ):
            self.assertRaises(UnusableFact, lambda target=target: facts(REQUEST_URI=target).path)

    def test_two_hosts_are_no_host_S_FCGI(self) -> None:
        """A target in absolute form with another host than C{Host} leaves the host unknown."""
        found = facts(REQUEST_URI="http://other.example.org/data")
        for fact in ("host", "port", "path", "query"):
            self.assertRaises(UnusableFact, getattr, found, fact)
        self.assertEqual(found.address, "203.0.113.9")

    def test_missing_and_malformed_variables_S_FCGI(self) -> None:
        """A fact cannot be used if its variable is missing or malformed, whatever others say."""
        for fact, over in (
            ("host", {"HTTP_HOST": ..., "SERVER_NAME": "app.example.org"}),
            ("host", {"HTTP_HOST": ""}),
            ("host", {"HTTP_HOST": "a, b"}),
            ("address", {"REMOTE_ADDR": "nowhere", "HTTP_X_FORWARDED_FOR": "203.0.113.1"}),
            ("scheme", {"REQUEST_SCHEME": ..., "HTTP_X_FORWARDED_PROTO": "https"}),
            ("scheme", {"REQUEST_SCHEME": "ftp"}),
        ):
            self.assertRaises(UnusableFact, getattr, facts(**over), fact)

    def test_question_does_not_print(self) -> None:
        """The representation of a question contains nothing that the client sent."""
        self.assertEqual(repr(question(variables({}))), "Question(...)")

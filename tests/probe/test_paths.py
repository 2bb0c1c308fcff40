"""Paths that name the same resource, and others."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.probe import paths
from authotron.probe.answers import Echo
from authotron.probe.attack import Control
from authotron.probe.exchange import Exchange
from authotron.probe.request import Request


class PathTests(SynchronousTestCase):
    """What a client sent, and what a backend got."""

    def differ(self, sent: str, got: str, base: tuple[str, str] = ("", "")) -> bool:
        echo = Echo("", f"GET {got} HTTP/1.1\r\n\r\n")
        exchange = Exchange(Request(sent), "", sent, echoes=[echo])
        return bool([*paths.other_path(exchange, Control(echo, base, ""))])

    def test_same(self) -> None:
        """Spellings that every server reads alike, or that the gateway refuses, are the same."""
        for sent, got in (
            ("/a/%41%7E", "/a/A~"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a//b", "/a/b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a\\b", "/a%5Cb"),
            ("/a\\b", "/a/b"),
            ("/a/..;/b", "/b"),
            ("/a#b", "/a%23b"),
            ("/\xe9", "/%E9"),
            ("/a", "http://h/a?q"),
        ):
            self.assertFalse(self.differ(sent, got), (sent, got))

    def test_other(self) -> None:
        """Whatever names another resource is another path."""
        for sent, got in (
            ("/a%2Fb", "/a/b"),
            ("/a/%252e%252e/b", "/a/%2e%2e/b"),
            ("/a#b", "/a"),
            ("/a%00.css", "/a"),
            ("/a/b", "/b"),
        ):
            self.assertTrue(self.differ(sent, got), (sent, got))

    def test_base(self) -> None:
        """A base that is replaced in every path is no other path."""
        self.assertFalse(self.differ("/api/x", "/x", ("/api", "")))
        self.assertFalse(self.differ("//api/x/../y", "/v1/y", ("/api", "/v1")))
        self.assertTrue(self.differ("/api/a%2Fb", "/a/b", ("/api", "")))
        self.assertTrue(self.differ("/apis/x", "/s/x", ("/api", "")))

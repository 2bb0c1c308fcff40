"""Auth objects for httpx, requests and treq."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import httpx
import requests
import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from authotron.client.httpx import AuthotronAuth as HttpxAuth
from authotron.client.proofs import ProofKey
from authotron.client.renewal import Token, TokenSource
from authotron.client.requests import AuthotronAuth as RequestsAuth
from authotron.client.treq import AuthotronAgent
from tests.backends.services import Service, service

Call = Callable[[str, TokenSource, str], int]
"""URL, tokens and the URL that they are for in; status out."""


def tokens() -> TokenSource:
    """A source of token-1, token-2 and so on."""
    count = iter(range(1, 100))
    return TokenSource(lambda: Token(f"token-{next(count)}", 1e12))


def by_httpx(url: str, source: TokenSource, only: str) -> int:
    with httpx.Client(auth=HttpxAuth(source, only), follow_redirects=True) as client:
        return client.get(url).status_code


def by_httpx_async(url: str, source: TokenSource, only: str) -> int:
    async def call() -> int:
        async with httpx.AsyncClient(auth=HttpxAuth(source, only), follow_redirects=True) as client:
            return (await client.get(url)).status_code

    return asyncio.run(call())


def by_requests(url: str, source: TokenSource, only: str) -> int:
    with requests.Session() as session:
        session.auth = RequestsAuth(source, only)
        session.trust_env = False
        return session.get(url, timeout=60).status_code


async def by_treq(url: str, source: TokenSource, only: str) -> int:
    pool = HTTPConnectionPool(reactor, persistent=False)
    client = HTTPClient(AuthotronAgent(Agent(reactor, pool=pool), source, only))
    response = await client.get(url)
    await treq.content(response)
    code: int = response.code
    return code


class Exchange:
    """Two services, of which the second is another host."""

    def respond(self, path: str, sent: str) -> tuple[int, dict[str, str]]:
        if path == "/elsewhere":
            return 302, {"Location": f"{self.other.url}/there"}
        if path == "/here":
            return 302, {"Location": "/again"}
        if path == "/never":
            return 401, {}
        return (401 if sent == "Bearer token-1" and path == "/revoked" else 200), {}

    other: Service
    first: Service

    STORY: ClassVar[list[tuple[str, int, list[tuple[str, str]], list[tuple[str, str]]]]] = [
        ("/", 200, [("/", "Bearer token-1")], []),
        ("/revoked", 200, [("/revoked", "Bearer token-1"), ("/revoked", "Bearer token-2")], []),
        ("/never", 401, [("/never", "Bearer token-1"), ("/never", "Bearer token-2")], []),
        ("/elsewhere", 200, [("/elsewhere", "Bearer token-1")], [("/there", "")]),
        ("/here", 200, [("/here", "Bearer token-1"), ("/again", "Bearer token-1")], []),
    ]
    """Path, status, and what each of the services gets."""

    def expect(self, case: Any, path: str, status: int, expected: Any) -> None:
        case.assertEqual((status, self.first.received, self.other.received), expected, path)
        self.first.received.clear()
        self.other.received.clear()


class CallersTests(Exchange, SynchronousTestCase):
    """Blocking and asyncio."""

    def test_story(self) -> None:
        """The token is sent, renewed once if refused, and not sent to another host."""
        calls: list[Call] = [by_httpx, by_httpx_async, by_requests]
        with service(self.respond) as self.first, service(lambda *_: (200, {})) as self.other:
            for call in calls:
                for path, status, first, other in self.STORY:
                    with self.subTest(f"{call.__name__} {path}"):
                        found = call(f"{self.first.url}{path}", tokens(), self.first.url)
                        self.expect(self, path, found, (status, first, other))

    def test_key(self) -> None:
        """With a key the token is sent with a proof, and once more if a nonce is asked for."""
        answers = iter([(401, {"DPoP-Nonce": "n1"}), *[(200, {})] * 3])
        with service(lambda *_: next(answers)) as found:
            url, key = found.url, ProofKey()
            with httpx.Client(auth=HttpxAuth(tokens(), url, key=key)) as client:
                self.assertEqual(client.get(f"{url}/a").status_code, 200)
            with requests.Session() as session:
                session.auth = RequestsAuth(tokens(), url, key=key)
                session.trust_env = False
                self.assertEqual(session.get(f"{url}/b", timeout=60).status_code, 200)
            sent = [("/a", "DPoP token-1"), ("/a", "DPoP token-1"), ("/b", "DPoP token-1")]
            self.assertEqual(found.received, sent)

    def test_other_host(self) -> None:
        """A request to a service that the token is not for goes without one."""
        with service(lambda *_: (200, {})) as found:
            for call in (by_httpx, by_httpx_async, by_requests):
                call(f"{found.url}/", tokens(), "https://api.test/")
            self.assertEqual(found.received, [("/", "")] * 3)


class TreqTests(Exchange, TestCase):
    """Twisted."""

    timeout = 30

    async def test_story(self) -> None:
        """The token is sent, renewed once if refused, and not sent to another host."""
        with service(self.respond) as self.first, service(lambda *_: (200, {})) as self.other:
            for path, status, first, other in self.STORY:
                url = f"{self.first.url}{path}"
                found = await by_treq(url, tokens(), self.first.url)
                self.expect(self, path, found, (status, first, other))
            await by_treq(f"{self.other.url}/", tokens(), self.first.url)
            self.assertEqual(self.other.received, [("/", "")])
            await deferToThread(lambda: None)

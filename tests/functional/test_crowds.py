"""Many clients that ask for much work at once, beside ordinary traffic."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, cycle
from pathlib import Path
from threading import Event, Thread
from typing import Any

import argon2
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.config.sources import Sources
from authotron.model.token import Grant
from authotron.stores import sqlite
from authotron.testing.contracts import make_token
from authotron.testing.issuers import IDP, key_set
from authotron.testing.worlds import world
from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.test_tokens import ALICE, bearer, new
from tests.functional.test_workers import all_serve, workers
from tests.waiting import DEADLINE, until

GUESSERS, LISTERS, ORDINARY = 70, 4, 3
TOKENS, PAGE = 700, 100
USERS = 500
SECONDS = 8.0
SCOPES = {f"service-{number}": ("read", "write") for number in range(100)}

HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""What OWASP asks for at least: the test shares its processors with all that it starts."""

Asks = Iterator[tuple[str, Mapping[str, str]]]
"""Paths and headers of requests."""


def guesses(number: int) -> Asks:
    """Yield wrong passwords: half of the clients share an address, the others have one each."""
    address = f"192.0.2.{max(number - GUESSERS // 2, 0)}"
    for attempt in count():
        password = wire.basic(f"user{number}", f"guess{attempt}")
        yield "/authenticate", {"Authorization": password, "X-Forwarded-For": address}


def good_passwords(first: int) -> Asks:
    """Yield passwords of different users, so that each password has to be verified."""
    for number in count(first, ORDINARY):
        password = wire.basic(f"good{number % USERS}", "wonder")
        yield "/authenticate", {"Authorization": password, "X-Forwarded-For": "203.0.113.9"}


def pages(after: Sequence[str]) -> Asks:
    """Yield all pages of a list, again and again."""
    for each in cycle(after):
        yield f"/tokens?limit=1000&after={each}", ALICE


def always(headers: Mapping[str, str]) -> Asks:
    """Yield one valid credential."""
    for _ in count():
        yield "/authenticate", headers


class Crowd:
    """Clients that each send requests without pause, and the answers that they got."""

    def __init__(self) -> None:
        self._over = Event()
        self._clients: list[Thread] = []
        self.answers: Counter[int] = Counter()

    def join(self, port: int, *asks: Asks) -> None:
        """Start a client for each series of requests."""
        for each in asks:
            client = Thread(target=self._ask, args=(port, each), daemon=True)
            self._clients.append(client)
            client.start()

    def leave(self) -> None:
        self._over.set()
        for client in self._clients:
            client.join(DEADLINE)

    def _ask(self, port: int, asks: Asks) -> None:
        for path, headers in asks:
            if self._over.is_set():
                return
            try:
                answer = wire.say(port, wire.head(path, {**headers, "Connection": "close"}))
            except OSError:
                answer = None
            self.answers[answer.status if answer else 0] += 1


class Issuer(BaseHTTPRequestHandler):
    """Publishes the key of an identity provider."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(key_set(IDP)).encode())

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class CrowdTests(SynchronousTestCase):
    """Several workers, many guessers, and long lists."""

    def issuer(self) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/keys"

    def daemon(self) -> Daemon:
        hashed = HASHER.hash("wonder")
        users = [
            {"username": "alice", "password": "wonder"},
            *({"username": f"good{number}", "password_hash": hashed} for number in range(USERS)),
        ]
        providers = [
            {"name": "local", "type": "plain", "realm": "here", "users": users},
            {"name": "sso", "type": "jwt", "realm": "sso", "cert_uri": self.issuer()},
        ]
        store = {"type": "sqlite", "path": "tokens.db"}
        daemon = Daemon(Path(self.mktemp()))
        daemon.configure(providers=providers, store=store, server={"workers": 2}).start()
        self.addCleanup(daemon.stop)
        until(lambda: all_serve(daemon), "served by all", otherwise=daemon.log)
        return daemon

    def fill(self, folder: Path) -> list[str]:
        """Put many large tokens of alice into the store; return the last id of each page."""
        given = {"type": "sqlite", "path": "tokens.db", "synchronous": "normal"}
        store = sqlite.make(section.read(sqlite.Config, given, sources=Sources(folder)), world())
        made = [make_token(grant=Grant(scopes=SCOPES)) for _ in range(TOKENS)]

        async def fill() -> None:
            await store.open()
            for each in made:
                await store.add(each)
            await store.close()

        self.successResultOf(Deferred.fromCoroutine(fill()))
        return ["", *sorted(each.id for each in made)[PAGE - 1 :: PAGE]]

    def test_guessers_and_lists_T84d(self) -> None:
        """Neither 70 guessers nor 4 lists of 700 tokens make an ordinary request fail."""
        daemon = self.daemon()
        port = daemon.port
        api_token, jwt = bearer(new(port)["token"]), bearer(IDP.sign(exp=4_000_000_000))
        after = self.fill(daemon.folder)
        before = workers(daemon)
        crowds = {name: Crowd() for name in ("guesses", "lists", "passwords", "API tokens", "JWTs")}
        crowds["guesses"].join(port, *map(guesses, range(GUESSERS)))
        crowds["lists"].join(port, *(pages(after) for _ in range(LISTERS)))
        begun = (crowds["guesses"].answers, crowds["lists"].answers)
        until(lambda: begun[0][401] and begun[1][200], "crowded", otherwise=partial(str, begun))
        crowds["passwords"].join(port, *map(good_passwords, range(ORDINARY)))
        crowds["API tokens"].join(port, *(always(api_token) for _ in range(ORDINARY)))
        crowds["JWTs"].join(port, *(always(jwt) for _ in range(ORDINARY)))
        end = time.monotonic() + SECONDS
        until(lambda: time.monotonic() > end, "over")
        for crowd in crowds.values():
            crowd.leave()
        answered = {name: dict(crowd.answers) for name, crowd in crowds.items()}
        self.assertLessEqual(set(answered.pop("guesses")), {401, 503})
        for name, answers in answered.items():
            self.assertEqual(list(answers), [200], f"{name} of {answered}")
        self.assertEqual(workers(daemon), before)

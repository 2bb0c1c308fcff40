"""Exchanged tokens behind the real nginx with the shipped example, and two workers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import keys
from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.proxies.shipped import Nginx
from tests.functional.proxy import Backend
from tests.functional.test_tokens import bearer, post
from tests.waiting import until

ALICE = {"Authorization": wire.basic("alice", "wonder")}
SPOOFED = {
    "X-Original-URI": "/data/x",
    "X-Original-Method": "GET",
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Host": "data.example.org",
    "X-Auth-Namespace": "/data",
}


class ExchangeTests(SynchronousTestCase):
    """A gateway without policies, whose tokens are restricted nevertheless."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        self.daemon = Daemon(folder).configure(
            server={"trusted_proxies": ["127.0.0.1/32"], "workers": 2},
            jwt={"iss": "https://gate.example.org", "alg": "ES256", "key": keys.generate("ES256")},
            store={"type": "sqlite", "path": str(folder / "tokens.db")},
            tokens={"exchange": {}},
        )
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        published = wire.ask(self.daemon.port, "/.well-known/jwks.json").body
        backend = Backend(folder, published).start()
        self.addCleanup(backend.stop)
        nginx = Nginx(folder / "nginx", self.daemon.port, backend.port).start()
        self.addCleanup(nginx.stop)
        self.port = nginx.port

    def exchange(self, credential: dict[str, str], **wish: Any) -> dict[str, str]:
        """Return the credential that a client gets in exchange for its own."""
        status, answer = post(self.daemon.port, "/token/exchange", wish, credential)
        self.assertEqual(status, 200, answer)
        return bearer(answer["token"])

    def ask(self, credential: dict[str, str], path: str = "/data/x", method: str = "GET") -> int:
        """Ask nginx several times, with headers that a client made up; all answers are alike."""
        headers = {**SPOOFED, **credential}
        [status] = {wire.ask(self.port, path, headers, method).status for _ in range(6)}
        return status

    def test_restricted_T52(self) -> None:
        """The services behind nginx get no request that a set in the chain does not allow."""
        first = self.exchange(ALICE, restrictions=[{"permissions": ["/data/**:*"]}])
        second = self.exchange(first, restrictions=[{"methods": ["GET"]}, {"namespace": "/"}])
        for path, method, status in (
            ("/data/x", "GET", 200),
            ("/data/x", "PUT", 403),
            ("/other", "GET", 403),
            ("/data/../other", "GET", 403),
            ("/%64ata/x", "GET", 200),
            ("/data/x%3By", "GET", 400),
        ):
            self.assertEqual(self.ask(second, path, method), status, (path, method))

    def test_networks_T52(self) -> None:
        """A client cannot make up the address from which it comes."""
        near = self.exchange(ALICE, restrictions=[{"networks": ["127.0.0.0/8"]}])
        far = self.exchange(ALICE, restrictions=[{"networks": ["192.0.2.0/24"]}])
        self.assertEqual((self.ask(near), self.ask(far)), (200, 403))

    def test_revoked_parent(self) -> None:
        """Revoking an API token ends what came of it, in both workers, and after a reload."""
        _, made = post(self.daemon.port, "/tokens", {}, ALICE)
        token = self.exchange(self.exchange(bearer(made["token"]), roles=["reader"]))
        self.assertEqual(self.ask(token), 200)
        self.daemon.tell(signal.SIGHUP)
        until(lambda: "configuration reloaded" in self.daemon.log(), "reloaded")
        self.assertEqual(self.ask(token), 200)
        gone = wire.ask(self.daemon.port, f"/tokens/{made['id']}", ALICE, "DELETE")
        self.assertEqual(gone.status, 204)
        until(lambda: self.ask(token) == 401, "revoked in both workers")

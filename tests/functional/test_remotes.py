"""Remotes that behave badly, over real TLS connections."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import EXPIRED, Authority
from tests.functional import wire
from tests.functional.awkward_remote import ENDLESS, MANNERS, Remote
from tests.functional.daemon import Daemon
from tests.waiting import DEADLINE, until


class RemotesTestCase(SynchronousTestCase):
    """A gateway whose provider asks a remote."""

    def setUp(self) -> None:
        self.authority = Authority(Path(self.mktemp()).absolute()).found()

    def remote(
        self, name: str = "localhost", clients: Path | None = None, **certificate: Any
    ) -> Remote:
        remote = Remote(self.authority.issue(name, **certificate), clients).start()
        self.addCleanup(remote.stop)
        return remote

    def gateway(self, remote: Remote, milliseconds: int = 30_000, **given: Any) -> Daemon:
        part = {
            "type": "ecmwf-api",
            "name": "api",
            "realm": "here",
            "uri": f"https://localhost:{remote.port}",
            "ca_file": str(self.authority.file),
            **given,
        }
        daemon = Daemon(Path(self.mktemp()))
        daemon.configure(providers=[part], auth={"timeout_in_ms": milliseconds}).start()
        self.addCleanup(daemon.stop)
        return daemon

    def ask(self, daemon: Daemon, token: str) -> wire.Answer:
        return wire.ask(daemon.port, "/authenticate", {"Authorization": f"Bearer {token}"})

    def outage(self, daemon: Daemon, token: str) -> None:
        answer = self.ask(daemon, token)
        self.assertEqual(answer.status, 503, token)
        self.assertIsNotNone(answer.header("Retry-After"))
        self.assertIsNone(answer.header("Authorization"))


class MannersTests(RemotesTestCase):
    """Answers of a remote, good and malformed."""

    def test_good(self) -> None:
        """A remote with a trusted certificate is believed, whether it accepts or rejects."""
        daemon = self.gateway(self.remote())
        self.assertEqual(self.ask(daemon, "good").status, 200)
        self.assertEqual(self.ask(daemon, "refuses").status, 401)

    def test_bad_T69_T69f(self) -> None:
        """
        Whatever else it does is an outage: never an error of ours, and never without an end.

        Connections that would not end are closed, and no log shows a token.
        """
        remote = self.remote()
        daemon = self.gateway(remote, 1500)
        bad = [manner for manner in MANNERS if manner not in ("good", "refuses", "waits")]
        for manner in bad:
            self.outage(daemon, manner)
        for manner in ENDLESS:
            self.assertTrue(remote.ended[manner].wait(DEADLINE), manner)
        until(lambda: self.ask(daemon, "good").status, "asked again", wanted=(200).__eq__)
        self.assertNotIn("token=", daemon.log())
        self.assertNotIn("Traceback", daemon.log())


class CertificateTests(RemotesTestCase):
    """Certificates of a remote."""

    def refused(self, told: str, remote: Remote, **given: Any) -> None:
        daemon = self.gateway(remote, **given)
        self.outage(daemon, "good")
        daemon.logged(told)

    def test_expired(self) -> None:
        """An expired certificate is an outage."""
        self.refused("certificate expired", self.remote(end=EXPIRED))

    def test_other_name(self) -> None:
        """A certificate of another host is an outage."""
        self.refused(
            "certificate of another name: the certificate names elsewhere.example",
            self.remote("elsewhere.example"),
        )

    def test_ours(self) -> None:
        """A remote that asks for a client certificate gets it; without one there is an outage."""
        remote = self.remote(clients=self.authority.file)
        mine = str(self.authority.issue("gateway.example"))
        known = self.gateway(remote, client_certificate_file=mine, client_key_file=mine)
        self.assertEqual(self.ask(known, "good").status, 200)
        unknown = self.gateway(remote)
        self.outage(unknown, "good")
        self.assertEqual(remote.asked, {"good": 1})
        self.assertNotIn("Traceback", unknown.log())

    def test_unknown(self) -> None:
        """A certificate of an unknown issuer is an outage."""
        self.refused("certificate of an unknown issuer", self.remote(), ca_file=None)


class ReloadTests(RemotesTestCase):
    """A reload while a remote is being asked."""

    def test_under_way_T49(self) -> None:
        """Requests under way are answered by old providers, and new ones by new providers."""
        remote = self.remote()
        daemon = self.gateway(remote)
        reloads = 'authotron_reloads_total{result="success"}'
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(self.ask, daemon, "waits")
            until(lambda: remote.asked["waits"], "asked")
            daemon.tell(signal.SIGHUP)
            until(lambda: daemon.metric(reloads) == 1, "reloaded", otherwise=daemon.log)
            self.assertEqual(self.ask(daemon, "good").status, 200)
            self.assertFalse(waiting.done())
            remote.ended["waits"].set()
            self.assertEqual(waiting.result().status, 200)
        self.assertEqual(remote.asked, {"waits": 1, "good": 1})

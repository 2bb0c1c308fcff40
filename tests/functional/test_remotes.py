"""Remotes that behave badly, over real TLS connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.awkward_remote import ENDLESS, EXPIRED, MANNERS, Authority, Remote
from tests.functional.daemon import DEADLINE, Daemon


class RemotesTestCase(SynchronousTestCase):
    """A gateway whose provider asks a remote."""

    def setUp(self) -> None:
        self.authority = Authority(Path(self.mktemp()).absolute()).found()

    def remote(self, name: str = "localhost", **certificate: Any) -> Remote:
        remote = Remote(self.authority.issue(name, **certificate)).start()
        self.addCleanup(remote.stop)
        return remote

    def gateway(self, remote: Remote, **given: Any) -> Daemon:
        part = {
            "type": "ecmwf-api",
            "name": "api",
            "realm": "here",
            "uri": f"https://localhost:{remote.port}",
            "ca_file": str(self.authority.file),
            **given,
        }
        daemon = Daemon(Path(self.mktemp()))
        daemon.configure(providers=[part], auth={"timeout_in_ms": 1500}).start()
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
    """What it says, and how."""

    def test_good(self) -> None:
        """A remote with a certificate that we trust is believed, in both directions."""
        daemon = self.gateway(self.remote())
        self.assertEqual(self.ask(daemon, "good").status, 200)
        self.assertEqual(self.ask(daemon, "refuses").status, 401)

    def test_bad_T69(self) -> None:
        """
        Whatever else it does is an outage: never an error of ours, and never without an end.

        Connections that would not end are closed, and no log shows a token.
        """
        remote = self.remote()
        daemon = self.gateway(remote)
        bad = [manner for manner in MANNERS if manner not in ("good", "refuses")]
        for manner in bad:
            self.outage(daemon, manner)
        for manner in ENDLESS:
            self.assertTrue(remote.ended[manner].wait(DEADLINE), manner)
        self.assertEqual(self.ask(daemon, "good").status, 200)
        self.assertNotIn("token=", daemon.log())
        self.assertNotIn("Traceback", daemon.log())


class CertificateTests(RemotesTestCase):
    """Who it is."""

    def refused(self, remote: Remote, **given: Any) -> None:
        daemon = self.gateway(remote, **given)
        self.outage(daemon, "good")
        daemon.logged("no certificate that is good here")

    def test_expired(self) -> None:
        """A certificate that is over."""
        self.refused(self.remote(end=EXPIRED))

    def test_other_name(self) -> None:
        """A certificate of somebody else."""
        self.refused(self.remote("elsewhere.example"))

    def test_unknown(self) -> None:
        """A certificate that nobody signed whom we trust."""
        self.refused(self.remote(), ca_file=None)

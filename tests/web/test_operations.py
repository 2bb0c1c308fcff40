"""The second port."""

from __future__ import annotations

from attrs import define
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.errors import Unavailable
from authotron.parts import IReachable
from tests.web.conversations import ALICE, Gateway


@implementer(IReachable)
@define
class Remote:
    """A part that is out."""

    name: str = "directory"
    type: str = "remote"
    realm: str = "internal"

    async def reach(self) -> None:
        raise Unavailable("connection refused")


class OperationsTests(SynchronousTestCase):
    """Metrics, liveness, readiness."""

    def setUp(self) -> None:
        self.gateway = Gateway({"jwt": {"secret": "sixteen bytes..."}})

    def test_ready(self) -> None:
        """Who can be reached, what to hear about, and that all is well."""
        content = self.gateway.ask("GET /ready", self.gateway.operations).json()
        self.assertTrue(content["ready"])
        self.assertEqual(content["parts"][0]["reachable"], True)
        self.assertIn("32 bytes", content["warnings"][0])
        self.assertEqual(content["last_reload"], "good")

    def test_unreachable(self) -> None:
        """A remote that is out is told, but makes nobody unready."""
        self.gateway.serving.generation.authority.augmenters = [Remote()]  # type: ignore[list-item] # as much of one as is asked
        answer = self.gateway.ask("GET /ready", self.gateway.operations)
        [_, part] = answer.json()["parts"]
        self.assertEqual((answer.status, part["reachable"]), (200, False))
        self.assertEqual(part["reason"], "connection refused")

    def test_stopping(self) -> None:
        """Who is about to stop is not ready."""
        self.gateway.serving.stopping = True
        self.assertEqual(self.gateway.ask("GET /ready", self.gateway.operations).status, 503)

    def test_metrics(self) -> None:
        """Everything that may be counted is there from the start."""
        lists = {"type": "plain", "name": "lists", "realm": "internal", "roles": {}}
        gateway = Gateway({"augmenters": [lists]})
        answer = gateway.ask("GET /metrics", gateway.operations)
        text = answer.body.decode()
        for sample in (
            'auth_requests_total{realm="internal",result="success"} 0.0',
            'auth_requests_total{realm="unknown",result="unavailable"} 0.0',
            'provider_name="staff",provider_type="plain",realm="internal",result="timeout"} 0.0',
            'auth_duration_seconds_count{realm="unknown",result="unavailable"} 0.0',
            'auth_provider_duration_seconds_count{provider_name="staff",provider_type="plain"',
            'augmenter_duration_seconds_count{augmenter_type="plain",realm="internal"} 0.0',
            'authotron_build_info{version="',
            "process_cpu_seconds_total",
        ):
            with self.subTest(sample):
                self.assertIn(sample, text)

    def test_odd_accept_T21(self) -> None:
        """Whatever a scraper says it accepts, it gets something."""
        for accept in ("\xff", "application/openmetrics-text; version=abc", "*/*", ";;;"):
            data = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"
            [answer] = self.gateway.say(data.encode("latin-1"), self.gateway.operations)
            self.assertEqual(answer.status, 200)

    def test_separate(self) -> None:
        """Neither port serves what belongs to the other."""
        self.assertEqual(self.gateway.ask("GET /metrics").status, 404)
        answer = self.gateway.ask("GET /whoami", self.gateway.operations, Authorization=ALICE)
        self.assertEqual(answer.status, 404)

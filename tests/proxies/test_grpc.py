"""
Questions that Envoy 1.40 has really sent, in many circumstances, as the bytes of its connections.

C{grpc.jsonl.xz} holds a question a line: the bytes of its connection, and what they should be
read as. The latter was derived from what the client of Envoy had sent. The only good credential is
that of alice, with the password C{secret}.
"""

from __future__ import annotations

import json
import lzma
from base64 import b64decode
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import UnusableFact
from authotron.model.paths import AmbiguousPath, canonical
from authotron.web.grpc import question
from authotron.web.grpc.calls import PREFIX
from tests.web.conversations import InMemoryGateway
from tests.web.grpc.dialogue import Proxy, Response, grpc_factory

PEOPLE = {"type": "plain", "name": "staff", "realm": "internal"}
ALICE = {"username": "alice", "password": "secret"}


@cache
def questions() -> list[dict[str, Any]]:
    content = lzma.decompress(Path(__file__).with_name("grpc.jsonl.xz").read_bytes())
    return [json.loads(line) for line in content.splitlines()]


def conversations() -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Yield each question, with the bytes of its connection before and with it."""
    before: dict[str, bytes] = {}
    for each in questions():
        sent = b64decode(each["bytes"])
        first = before.get(each["configuration"], b"") if each["question"] > 1 else b""
        yield each, [first, sent]
        before[each["configuration"]] = first + sent


class Replay(Proxy):
    """A connection on which recorded bytes are sent."""

    def play(self, sent: list[bytes]) -> Response:
        """Send recorded bytes, and return the answer to the last question in them."""
        for each in sent:
            self.connection.dataReceived(each)
        answers = self.answers()
        return answers[max(answers)]

    def answers(self) -> dict[int, Response]:
        """Return the answers that are on the wire, as a client would read them."""
        reader = Proxy.__new__(Proxy)
        reader.http2 = _client()
        reader.responses = {}
        for stream in range(1, 8, 2):
            reader.http2.get_next_available_stream_id()
            reader.http2.send_headers(stream, [(":method", "POST"), (":path", "/")])
        reader.http2.clear_outbound_data_buffer()
        for event in reader.http2.receive_data(self.wire.value()):
            reader._note(event)
        return {stream: each for stream, each in reader.responses.items() if each.trailers}


def _client() -> Any:
    return Proxy(begins=True).http2


class RecordedTests(SynchronousTestCase):
    """The recorded questions."""

    def setUp(self) -> None:
        gateway = InMemoryGateway({"providers": [{**PEOPLE, "users": [ALICE]}]})
        self.factory = grpc_factory(gateway)
        self.gateway = gateway
        self.asked: list[question.Question] = []
        read = question.read

        def noted(message: bytes, peer: str | None) -> question.Question:
            self.asked.append(read(message, peer))
            return self.asked[-1]

        self.patch(question, "read", noted)

    def play(self, *sent: bytes) -> Response:
        return Replay(self.gateway, self.factory, begins=False).play([*sent])

    def test_decisions_and_facts(self) -> None:
        """
        Each question gets the decision that the client's credential deserves, and is read as the
        request that the client has made.
        """
        for each, sent in conversations():
            with self.subTest(f"{each['configuration']} {each['case']}"):
                self.assertEqual(self.play(*sent).says, each["status"])
                found = self.asked[-1]
                facts = found.facts
                path, _, query = each["path"].partition("?")
                self.assertEqual(facts.method, each["method"])
                self.assertEqual(facts.address, each["address"])
                self.assertEqual(facts.query or "", query)
                if each["host"]:
                    self.assertEqual(facts.authority, each["host"].lower().rstrip("."))
                try:
                    wanted = canonical(path.encode("latin-1"))
                except AmbiguousPath:
                    self.assertRaises(UnusableFact, lambda facts=facts: facts.path)
                else:
                    self.assertEqual(facts.path, wanted)

    def test_cut_anywhere(self) -> None:
        """How the bytes of a connection are cut into reads does not matter."""
        for index, (each, [first, sent]) in [*enumerate(conversations())][::4]:
            with self.subTest(f"{each['configuration']} {each['case']}"):
                whole = self.play(first, sent)
                cut = (index * 37) % len(sent)
                pieces = self.play(first, sent[:cut], sent[cut:])
                self.assertEqual(pieces.says, whole.says)
                self.assertEqual(len(pieces.message), len(whole.message))
                self.assertGreater(len(whole.message), PREFIX)

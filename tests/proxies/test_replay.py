"""Every recorded question gets the answer and has the facts that follow from its client."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any, NamedTuple

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, UnusableFact
from authotron.model.identity import Credential, Identity
from authotron.model.request import FACTS, Facts
from authotron.plugin.interfaces import Affinity, IProvider
from tests.proxies import recorded
from tests.proxies.derive import CONFIGURATIONS, USERS, derived, expected
from tests.web.conversations import Answer, InMemoryGateway, answered
from tests.web.fastcgi.conversations import FastCgiGateway, answer

PROXY = IPv4Address("TCP", "192.0.2.7", 4711)
TRUSTING = {"server": {"trusted_proxies": ["192.0.2.0/24"]}}
"""A configuration that trusts the proxy, and not the clients at the loopback interface."""

UNUSABLE = "unusable"


@define
class NotingCondition:
    """A condition that every request meets, and that notes the facts of the request."""

    seen: dict[str, object] = field(factory=dict)

    def holds(self, facts: Facts) -> bool:
        self.seen = {name: _fact(facts, name) for name in FACTS}
        return True


def _fact(facts: Facts, name: str) -> object:
    try:
        return getattr(facts, name)
    except UnusableFact:
        return UNUSABLE


@implementer(IProvider)
@define(eq=False)
class Users:
    """A provider with the users of the recording, all of whose requests are noted."""

    condition: NotingCondition
    name: str = "recorded"
    type: str = "recorded"
    realm: str = "internal"
    scheme: str = "basic"
    local: bool = True

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    async def authenticate(self, credential: Credential) -> Authentication:
        username, password = credential.username_and_password()
        if USERS.get(username) != password:
            raise Rejected("unknown user or wrong password")
        identity = Identity(realm=self.realm, username=username)
        return Authentication(identity, self.name, conditions=(self.condition,))


def serve_recorded_users(gateway: InMemoryGateway) -> NotingCondition:
    """Let a gateway know the users of the recording, and return what notes the facts."""
    condition = NotingCondition()
    gateway.serving.gateway.authenticator.providers = [Users(condition)]
    return condition


class Case(NamedTuple):
    """One recorded question, and what is expected of its answer."""

    record: dict[str, Any]
    status: int
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.record['configuration']} {self.record['case']} {self.record['question']}"

    @property
    def head(self) -> bytes:
        """The head of an HTTP question, with the path of the contract."""
        path = CONFIGURATIONS[self.record["configuration"]].path
        method, rest = self.record["bytes"].split(" ", 1)
        assert rest.startswith("/authenticate")
        text = f"{method} {path}{rest.removeprefix('/authenticate')}"
        return text.encode("latin-1")

    @property
    def body(self) -> bytes:
        """What followed the head."""
        body = self.record["body"] or {"length": 0}
        if "repeat" in body:
            return bytes(body["repeat"], "latin-1") * int(body["length"])
        return bytes(body.get("bytes") or "", "latin-1")

    @property
    def announces_body(self) -> bool:
        """Whether the head says that a body follows."""
        lines = self.head.lower().split(b"\r\n")
        lengths = [line.partition(b":")[2].strip() for line in lines if b"content-length:" in line]
        is_chunked = any(line.startswith(b"transfer-encoding:") for line in lines)
        return is_chunked or any(length.strip(b"0") for length in lengths)

    @property
    def keeps(self) -> bool:
        """Whether the connection stays open after the answer."""
        lines = self.head.lower().split(b"\r\n")
        ends = any(
            line.startswith(b"connection:") and b"close" in line.replace(b",", b" ").split()
            for line in lines
        )
        is_new = lines[0].endswith(b"http/1.1")
        return is_new and not (ends or self.announces_body or self.status == 400)


def cases(wire: str) -> Iterator[Case]:
    """Yield the recorded questions by one protocol that are replayed."""
    for record, wanted in zip(recorded(), expected(), strict=True):
        if wanted is not None and record["wire"] == wire:
            yield Case(record, wanted["status"], wanted["facts"])


class HttpReplayTests(SynchronousTestCase):
    """The questions by HTTP, on the fast path and on the site alone."""

    def test_expectations_follow_from_the_clients(self) -> None:
        """The expectations are what C{python -m tests.proxies.derive} derives from the clients."""
        self.assertEqual(derived(), expected())

    def test_fast_path_answers_every_question(self) -> None:
        """
        Each question gets one answer with its status and its facts on the fast path; none without
        a body is handed over, and a body ends the connection.
        """
        gateway = InMemoryGateway(TRUSTING)
        condition = serve_recorded_users(gateway)
        wrong: list[str] = []
        left: list[str] = []
        self.patch(gateway.metrics, "fast_path_left", lambda: left.append(""))
        for case in cases("http"):
            left.clear()
            wrong += self.replay(case, gateway, condition, gateway.entrance)
            is_short = len(case.head) <= gateway.entrance.longest
            is_ordinary = is_short and case.status != 400
            if is_ordinary and not case.announces_body and left:
                wrong.append(f"{case.name}: handed over")
        self.assertEqual(wrong, [])

    def test_site_answers_every_question(self) -> None:
        """Each question gets one answer with the same status and facts from the site alone."""
        gateway = InMemoryGateway(TRUSTING)
        condition = serve_recorded_users(gateway)
        wrong = [
            each
            for case in cases("http")
            for each in self.replay(case, gateway, condition, gateway.public)
        ]
        self.assertEqual(wrong, [])

    def test_both_ways_answer_alike(self) -> None:
        """The fast path and the site send the same headers and the same body to each question."""
        gateway = InMemoryGateway(TRUSTING)
        serve_recorded_users(gateway)
        different: list[str] = []
        for case in cases("http"):
            answers = [_answer(case, gateway, way) for way in (gateway.entrance, gateway.public)]
            if answers[0] != answers[1]:
                different.append(f"{case.name}: {answers}")
        self.assertEqual(different, [])

    def replay(
        self, case: Case, gateway: InMemoryGateway, condition: NotingCondition, way: Any
    ) -> Iterator[str]:
        """Send a question on a connection of its own, and yield what is wrong with its answer."""
        condition.seen = {}
        connection, wire = gateway.connect(way)
        connection.dataReceived(case.head)
        if case.body and not (wire.disconnecting or wire.disconnected):
            connection.dataReceived(case.body)
        written = wire.value()
        status = int(written[9:12]) if written.startswith(b"HTTP/1.") else 0
        if status != case.status:
            yield f"{case.name}: {status} instead of {case.status}"
            return
        if written.count(b"HTTP/1.") != 1:
            yield f"{case.name}: several answers"
        is_ended = wire.disconnecting or wire.half_closed or wire.disconnected
        if is_ended == case.keeps:
            yield f"{case.name}: the connection is {'closed' if is_ended else 'kept'}"
        if status == 200:
            yield from wrong_facts(case, condition)


def _answer(case: Case, gateway: InMemoryGateway, way: Any) -> list[Answer]:
    """Return the answer to a question, without its date and its JWT."""
    connection, wire = gateway.connect(way)
    connection.dataReceived(case.head)
    found = answered(wire.value())
    for each in found:
        del each.headers["date"]
        if each.headers.pop("authorization", ""):
            each.headers["authorization"] = "a JWT"
    return found


def wrong_facts(case: Case, condition: NotingCondition) -> Iterator[str]:
    """Yield each fact that is not the expected one."""
    for name, wanted in case.facts.items():
        found = condition.seen[name]
        if found != wanted and not (wanted is None and found == UNUSABLE):
            yield f"{case.name}: {name} is {str(found)[:80]!r} instead of {str(wanted)[:80]!r}"


class FastCgiReplayTests(SynchronousTestCase):
    """The questions of Apache by FastCGI."""

    def test_every_question_is_answered(self) -> None:
        """Each question gets its status and its facts, and the connection is closed then."""
        served = FastCgiGateway(TRUSTING)
        condition = serve_recorded_users(served.gateway)
        wrong: list[str] = []
        for case in cases("fastcgi"):
            condition.seen = {}
            wire = served.send(b64decode(case.record["bytes"]))
            found = answer(wire.value())
            if found.status != case.status or not wire.disconnecting:
                wrong.append(f"{case.name}: {found.status} instead of {case.status}")
            elif found.status == 200:
                wrong += wrong_facts(case, condition)
        self.assertEqual(wrong, [])

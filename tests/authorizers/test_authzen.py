"""The authorizer that asks a policy decision point by the AuthZEN API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.authorizers import authzen
from authotron.model.errors import ConfigError, TimedOut, Unavailable
from authotron.model.identity import Identity
from authotron.plugin.evaluation import Evaluation
from authotron.plugin.interfaces import CheckResult
from authotron.testing.remotes import Action, BeginResponse, FakeRemote, Hang, Respond, start
from authotron.testing.worlds import NOW, clock_at, make_plugin, world

URL = "https://pdp.example/access/v1/evaluation"
JSON = {"Content-Type": "application/json"}
ALICE = Identity(
    "internal",
    "alice",
    ("reader", "ops"),
    {"email": "alice@example.org"},
    {"sso": ("write", "read")},
)
QUESTION = Evaluation(ALICE, "staff", "GET", "/data/x", "/", "app.example.org", "192.0.2.7")


def says(decision: Any, **more: Any) -> Respond:
    """Return the response with a decision."""
    return Respond({"decision": decision, **more}, headers=JSON)


class AuthZenCase(SynchronousTestCase):
    """A policy decision point, and the authorizer that asks it."""

    def setUp(self) -> None:
        self.action: Action = says(True)
        self.pdp = FakeRemote(lambda _: self.action)
        self.clock = clock_at(NOW)
        self.make()

    def make(self, **keys: Any) -> None:
        given = world(self.clock, self.pdp)
        self.authorizer = make_plugin(authzen, given, **{"url": URL, **keys})

    def start(self, question: Evaluation = QUESTION) -> Deferred[bool]:
        asked: Deferred[bool] = start(self.authorizer.allows(question))
        self.pdp.flush()
        return asked

    def allows(self, question: Evaluation = QUESTION) -> bool:
        return self.successResultOf(self.start(question))

    def outage(self, action: Action) -> str:
        """Return the reason for which a response is not a decision."""
        self.action = action
        self.make()
        self.pdp.agent = FakeRemote(self.pdp.script).agent
        return str(self.failureResultOf(self.start(), Unavailable).value)


class QuestionTests(AuthZenCase):
    """What the policy decision point is sent."""

    def test_whole(self) -> None:
        """The body of the request is an evaluation of AuthZEN."""
        self.assertTrue(self.allows())
        [received] = self.pdp.requests
        self.assertEqual(
            (received.method, received.address), ("POST", "pdp.example/access/v1/evaluation")
        )
        self.assertEqual(received.headers["content-type"], "application/json")
        self.assertNotIn("authorization", received.headers)
        expected = {
            "subject": {
                "type": "user",
                "id": "internal-alice",
                "properties": {
                    "realm": "internal",
                    "username": "alice",
                    "roles": ["ops", "reader"],
                    "attributes": {"email": "alice@example.org"},
                    "scopes": {"sso": ["read", "write"]},
                    "provider": "staff",
                },
            },
            "action": {"name": "GET"},
            "resource": {
                "type": "route",
                "id": "/data/x",
                "properties": {"host": "app.example.org", "namespace": "/"},
            },
            "context": {"address": "192.0.2.7"},
        }
        self.assertEqual(received.json, expected)

    def test_unknown_facts(self) -> None:
        """Host and address are left out if they are not known."""
        self.allows(evolve(QUESTION, host=None, address=None))
        content = self.pdp.requests[0].json
        self.assertEqual(content["resource"]["properties"], {"namespace": "/"})
        self.assertEqual(content["context"], {})

    def test_configured_names(self) -> None:
        """Types and ids are those that the policies of the operator expect."""
        self.make(subject_type="identity", subject_id="username", resource_type="http")
        self.allows()
        content = self.pdp.requests[0].json
        subject = content["subject"]
        self.assertEqual((subject["type"], subject["id"]), ("identity", "alice"))
        self.assertEqual(content["resource"]["type"], "http")

    def test_secrets_from_files(self) -> None:
        """Token and headers come from files, which are read anew for each request."""
        token, headers = Path(self.mktemp()), Path(self.mktemp())
        token.write_text("first\n")
        headers.write_text("X-Tenant: blue\n")
        self.make(token_file=str(token.absolute()), headers_file=str(headers.absolute()), cache=0)
        self.allows()
        token.write_text("second\n")
        self.allows()
        sent = [each.headers["authorization"] for each in self.pdp.requests]
        self.assertEqual(sent, ["Bearer first", "Bearer second"])
        self.assertEqual(self.pdp.requests[0].headers["x-tenant"], "blue")
        token.write_text("two words")
        reason = self.failureResultOf(self.start(), Unavailable)
        self.assertNotIn("two words", str(reason.value))


class AnswerTests(AuthZenCase):
    """What the policy decision point answers."""

    def test_decision(self) -> None:
        """The JSON values true and false are decisions; other members do not matter."""
        for decision in (True, False):
            self.make()
            self.action = says(decision, context={"reason_user": {"en": "x"}})
            self.assertIs(self.allows(), decision)
        self.action = Respond(
            b'{"decision": true}', headers={"Content-Type": "Application/JSON; charset=utf-8"}
        )
        self.make()
        self.assertIs(self.allows(), True)

    def test_other_values_S_PDP(self) -> None:
        """Whatever else a response has as its decision is an outage, not an allow."""
        for decision in ("true", "false", 1, 0, None, [True], {"decision": True}, "allow"):
            self.assertIn("a decision", self.outage(says(decision)), repr(decision))
        for content in (b"true", b"[true]", b'"true"', b"", b"{", b'{"decision": True}'):
            self.assertIn("JSON", self.outage(Respond(content, headers=JSON)), content)
        others: tuple[Any, ...] = ({}, {"Decision": True}, {"result": True}, {"evaluations": []})
        for other in others:
            self.assertIn("answered without a decision", self.outage(Respond(other, headers=JSON)))

    def test_duplicate_key_S_PDP(self) -> None:
        """A response with two decisions is an outage."""
        for content in (
            b'{"decision": false, "decision": true}',
            b'{"decision":true,"decision":true}',
        ):
            self.assertIn("strict JSON", self.outage(Respond(content, headers=JSON)))

    def test_encoding_S_PDP(self) -> None:
        """A response that is not UTF-8, or begins with a byte order mark, is an outage."""
        content = b'{"decision": true}'
        for sent in (
            content.decode().encode("utf-16"),
            b"\xef\xbb\xbf" + content,
            content + b"\xff",
        ):
            self.outage(Respond(sent, headers=JSON))

    def test_status_S_PDP(self) -> None:
        """Only a 200 carries a decision: no other success, no redirect, no error."""
        for status in (201, 202, 204, 206, 301, 302, 307, 400, 401, 403, 404, 429, 500, 503):
            headers = {**JSON, "Location": URL}
            found = self.outage(Respond({"decision": True}, status, headers))
            self.assertIn(f"answered {status}", found)

    def test_content_type_S_PDP(self) -> None:
        """A response of another content type is an outage, such as the page of a portal."""
        for media_type in ("text/html", "text/plain", "application/json-seq", "application/jsonx"):
            found = self.outage(Respond({"decision": True}, headers={"Content-Type": media_type}))
            self.assertIn("content type application/json", found)

    def test_size_S_PDP(self) -> None:
        """A response of more than 64 KiB is an outage, and the connection is closed."""
        long = b'{"decision": true, "x": "' + b"x" * 65_536 + b'"}'
        self.assertIn("too large", self.outage(Respond(long, headers=JSON)))
        self.assertIn("too large", self.outage(BeginResponse(b" " * 70_000)))

    def test_slow_S_PDP(self) -> None:
        """A response that does not come, or does not end, in time is an outage."""
        for action in (Hang(), BeginResponse(b'{"decision": true')):
            self.action = action
            asked = self.start()
            self.assertNoResult(asked)
            self.clock.advance(5)
            self.failureResultOf(asked, TimedOut)
            self.pdp.flush()
        self.assertEqual(self.pdp.abandoned, 2)

    def test_cancelled(self) -> None:
        """If the client leaves, the connection to the policy decision point is closed."""
        self.action = Hang()
        asked = self.start()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.pdp.flush()
        self.assertEqual(self.pdp.abandoned, 1)


class CacheTests(AuthZenCase):
    """Decisions that are used again."""

    def test_ten_seconds(self) -> None:
        """A decision is used for equal questions for C{cache} seconds, 10 by default."""
        for decision in (True, False):
            self.make()
            self.pdp.requests.clear()
            self.action = says(decision)
            self.assertIs(self.allows(), decision)
            self.action = says(not decision)
            self.clock.advance(9.9)
            self.assertIs(self.allows(), decision)
            self.clock.advance(0.1)
            self.assertIs(self.allows(), not decision)
            self.assertEqual(len(self.pdp.requests), 2)

    def test_switched_off(self) -> None:
        """With C{cache: 0} each question is sent."""
        self.make(cache=0)
        for _ in range(3):
            self.allows()
        self.assertEqual(len(self.pdp.requests), 3)

    def test_other_questions_S_PDP(self) -> None:
        """A decision counts for its own question alone, whatever part of another one differs."""
        identities: tuple[dict[str, Any], ...] = (
            {"realm": "internal-alice", "username": "x"},
            {"username": "bob"},
            {"roles": ("reader",)},
            {"roles": ("reader,ops",)},
            {"attributes": {}},
            {"scopes": {}},
        )
        others = (
            evolve(QUESTION, method="HEAD"),
            evolve(QUESTION, path="/data/y"),
            evolve(QUESTION, namespace="/x"),
            evolve(QUESTION, host="b.example.org"),
            evolve(QUESTION, host=None),
            evolve(QUESTION, address="192.0.2.8"),
            evolve(QUESTION, address=None),
            evolve(QUESTION, provider="other"),
            *(evolve(QUESTION, identity=ALICE._replace(**each)) for each in identities),
        )
        self.assertTrue(self.allows())
        self.action = says(False)
        for each in others:
            self.assertFalse(self.allows(each), each)
        self.assertTrue(self.allows())

    def test_outages_are_not_kept(self) -> None:
        """After an outage the policy decision point is asked again."""
        self.action = Respond(b"", 500)
        self.failureResultOf(self.start(), Unavailable)
        self.action = says(True)
        self.assertTrue(self.allows())

    def test_equal_questions_at_once(self) -> None:
        """Equal questions at the same time are sent once."""
        self.action = Hang()
        first, second = self.start(), self.start()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        self.assertEqual((len(self.pdp.requests), self.pdp.abandoned), (1, 0))

    def test_bound_T83a(self) -> None:
        """The decisions take a bounded number of bytes, whatever paths clients ask for."""
        given = evolve(world(self.clock, self.pdp), memory=20_000)
        self.authorizer = make_plugin(authzen, given, url=URL)
        for number in range(60):
            self.allows(evolve(QUESTION, path=f"/{number}"))
        self.assertLessEqual(self.authorizer._cache.size, 20_000)


class ConfigTests(SynchronousTestCase):
    """The section C{authorizer}."""

    def problem(self, **keys: Any) -> str:
        error = self.assertRaises(ConfigError, make_plugin, authzen, **keys)
        [problem] = error.problems
        return str(problem)

    def test_mistakes(self) -> None:
        """Mistakes are named with their key."""
        for keys, expected in (
            ({}, "url: is missing"),
            ({"url": "pdp.example"}, "url: "),
            ({"url": "https://pdp.example"}, "url: has no path; the URL of the endpoint"),
            ({"url": "https://pdp.example/"}, "url: has no path; the URL of the endpoint"),
            ({"url": URL, "subject_id": "email"}, "subject_id: "),
            ({"url": URL, "cache": -1}, "cache: "),
            ({"url": URL, "token_file": "/nowhere/token"}, "token_file: cannot read"),
            ({"url": URL, "headers_file": "/nowhere/headers"}, "headers_file: cannot read"),
            ({"url": URL, "on_error": "allow"}, "unknown key"),
        ):
            found = self.problem(**keys)
            self.assertTrue(found.startswith(expected), found)


class DoctorTests(AuthZenCase):
    """C{authotron doctor}."""

    def test_decides(self) -> None:
        """The check asks about a user that does not exist, and shows the decision."""
        self.action = says(False)

        async def first() -> CheckResult:
            given = world(self.clock, self.pdp)
            config: Any = self.authorizer._config
            return await anext(config.run_checks(given, None))

        checked = start(first())
        self.pdp.flush()
        found = self.successResultOf(checked)
        self.assertTrue(found.good)
        self.assertEqual(found.detail, "GET / is denied to a user that does not exist")

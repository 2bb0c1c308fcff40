"""The certification scenario of AuthZEN 1.0, section by section."""

from __future__ import annotations

from typing import Any

from tests.web.authzen import scenarios
from tests.web.authzen.scenarios import Json
from tests.web.conversations import Answer
from tests.web.policy_case import AskingCase

ARCHIVED = {"type": "record", "id": "record-2", "properties": {"status": "archived"}}
ADMIN = {"type": "user", "id": "bob", "properties": {"role": "admin"}}
CONTEXT = {"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}


def asks(who: str = "alice", action: str = "read", record: str = "record-1", **more: Any) -> Json:
    """Return a question about a user and a record of the fixture."""
    return {
        "subject": {"type": "user", "id": who},
        "action": {"name": action},
        "resource": {"type": "record", "id": record},
        **more,
    }


class CertificationCase(AskingCase):
    """A gateway with the required fixture."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway = self.make(policy=scenarios.CERTIFIED)

    def ask(self, api: str, request: Json, **headers: str) -> Answer:
        return self.post(f"/access/v1/{api}", request, **headers)

    def decided(self, request: Json) -> bool:
        answer = self.ask("evaluation", request)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/json")
        found = answer.json()["decision"]
        self.assertIsInstance(found, bool)
        return bool(found)


class BasicTests(CertificationCase):
    """Section 5: the Access Evaluation API."""

    def test_core_decisions(self) -> None:
        """5.2: the decisions 1 to 4, with and without context, properties and unknown keys."""
        for more in (Json(), {"context": CONTEXT}, {"foo": "bar", "futureField": {"nested": True}}):
            self.assertTrue(self.decided(asks(**more)))
            self.assertTrue(self.decided(asks("alice", "write", **more)))
            self.assertTrue(self.decided(asks("bob", "read", **more)))
            self.assertFalse(self.decided(asks("bob", "write", **more)))
        request = asks()
        request["subject"]["properties"] = {"department": "Sales", "role": "manager"}
        request["action"]["properties"] = {"method": "GET"}
        request["resource"]["properties"] = {"status": "active", "owner": "bob"}
        self.assertTrue(self.decided(request))

    def test_properties(self) -> None:
        """5.2: the decisions 5 to 8, which depend on properties."""
        self.assertFalse(self.decided(asks("alice", "write", resource=ARCHIVED)))
        self.assertTrue(self.decided(asks(action="write", subject=ADMIN, resource=ARCHIVED)))
        for soft in (True, False):
            action = {"name": "delete", "properties": {"soft": soft}}
            self.assertEqual(self.decided({**asks(), "action": action}), soft)

    def test_missing_keys(self) -> None:
        """5.4: a missing key, or one of another type, is a 400 with a message."""
        for request, message in (
            ({**asks(), "subject": None}, "subject must be an object"),
            ({**asks(), "subject": "alice"}, "subject must be an object"),
            ({**asks(), "subject": {"id": "alice"}}, "subject.type is missing"),
            ({**asks(), "subject": {"type": "user"}}, "subject.id is missing"),
            ({**asks(), "action": {}}, "action.name is missing"),
            ({**asks(), "action": {"name": 123}}, "action.name must be a string"),
            ({**asks(), "resource": {"id": "record-1"}}, "resource.type is missing"),
            ({**asks(), "resource": {"type": "record"}}, "resource.id is missing"),
            ({**asks(), "context": []}, "context must be an object"),
            ({**asks(), "context": {"ip": 1}}, "context.ip must be a string"),
        ):
            answer = self.ask("evaluation", request)
            self.assertEqual((answer.status, answer.json()), (400, message))
        for key in ("subject", "action", "resource"):
            request = asks()
            del request[key]
            answer = self.ask("evaluation", request)
            self.assertEqual((answer.status, answer.json()), (400, f"{key} is missing"))

    def test_bodies(self) -> None:
        """5.4: another content type, malformed JSON and an empty body are a 400."""
        for path in ("evaluation", "evaluations", "search/subject"):
            for body, kind in ((b"{}", "text/plain"), (b"{", "application/json")):
                answer = self.raw(f"/access/v1/{path}", body, kind=kind)
                self.assertEqual(answer.status, 400)
                self.assertIsInstance(answer.json(), str)
            self.assertEqual(self.raw(f"/access/v1/{path}", b"").status, 400)

    def test_request_id(self) -> None:
        """5.5: the reply repeats C{X-Request-ID}, also if it is an error."""
        for request, who, status in (
            (asks(), None, 200),
            ({}, None, 400),
            (asks(), "Basic eDp5", 401),
        ):
            headers = {"X_Request_ID": "a b/ü"} if who is None else {"X_Request_ID": "1"}
            given = {} if who is None else {"who": who}
            answer = self.post("/access/v1/evaluation", request, **given, **headers)
            self.assertEqual(answer.status, status)
            self.assertEqual(
                answer.headers["x-request-id"].encode("latin-1").decode(), headers["X_Request_ID"]
            )
        self.assertNotIn("x-request-id", self.ask("evaluation", asks()).headers)

    def test_repeated(self) -> None:
        """5.6: the same question has the same answer."""
        self.assertEqual({self.decided(asks()) for _ in range(5)}, {True})

    def test_unauthenticated(self) -> None:
        """A client that does not authenticate gets a 401 with a challenge."""
        answer = self.post("/access/v1/evaluation", asks(), "")
        self.assertEqual((answer.status, answer.json()), (401, "Unauthorized access"))
        self.assertIn("www-authenticate", answer.headers)


class BatchTests(CertificationCase):
    """Section 6: the Access Evaluations API."""

    def batch(self, *evaluations: Any, **more: Any) -> list[Any]:
        answer = self.ask("evaluations", {**more, "evaluations": [*evaluations]})
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual([*answer.json()], ["evaluations"])
        found: list[Any] = answer.json()["evaluations"]
        return found

    def decisions(self, *evaluations: Any, **more: Any) -> list[bool]:
        return [each["decision"] for each in self.batch(*evaluations, **more)]

    def test_defaults(self) -> None:
        """6.2: an evaluation has the entities of the request that it does not state itself."""
        bob = {"type": "user", "id": "bob"}
        record = {"type": "record", "id": "record-1"}
        read, write = {"action": {"name": "read"}}, {"action": {"name": "write"}}
        found = self.decisions(read, write, subject=bob, resource=record)
        self.assertEqual(found, [True, False])
        whole = asks("alice", "write")
        whole["resource"]["properties"] = {"status": "active"}
        self.assertEqual(self.decisions({}, {"resource": ARCHIVED}, **whole), [True, False])
        alice = {"subject": {"type": "user", "id": "alice"}}
        found = self.decisions(alice, {"subject": ADMIN}, resource=ARCHIVED, **write)
        self.assertEqual(found, [False, True])

    def test_no_defaults(self) -> None:
        """6.2: evaluations may state everything themselves; a context of their own replaces."""
        found = self.decisions(asks(), asks("bob", "write"), context=CONTEXT)
        self.assertEqual(found, [True, False])
        other = {"context": {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}}
        self.assertEqual(self.decisions({}, other, **asks(context=CONTEXT)), [True, True])

    def test_unused_default(self) -> None:
        """A default that no evaluation uses is not checked, as the Todo application sends it."""
        given = {"resource": {"type": "record", "id": "record-1"}}
        request = {**asks(), "resource": {}}
        self.assertEqual(self.decisions(given, given, **request), [True, True])

    def test_broken_evaluation(self) -> None:
        """6.4: a malformed evaluation among others is a denial that says why."""
        request = asks(options={"evaluations_semantic": "execute_all"})
        record = request.pop("resource")
        found = self.batch({"resource": record}, {}, 7, {"resource": []}, **request)
        self.assertEqual([each["decision"] for each in found], [True, False, False, False])
        errors = [each["context"]["error"] for each in found[1:]]
        self.assertEqual({each["status"] for each in errors}, {400})
        self.assertEqual(errors[0]["message"], "resource is missing")

    def test_without_evaluations(self) -> None:
        """6.4: without evaluations, or with none, the answer is that of a single question."""
        for more in (Json(), Json(evaluations=[])):
            found = self.ask("evaluations", asks(**more)).json()
            self.assertEqual(found, {"decision": True})
        self.assertEqual(self.ask("evaluations", {"evaluations": []}).status, 400)

    def test_semantics(self) -> None:
        """The answers end with the first denial, or with the first permission, if so asked."""
        yes, no = asks(), asks("bob", "write")
        for semantic, given, expected in (
            ("execute_all", (no, yes, no), [False, True, False]),
            ("deny_on_first_deny", (yes, no, yes), [True, False]),
            ("deny_on_first_deny", (yes, {}, yes), [True, False]),
            ("deny_on_first_deny", (yes, yes), [True, True]),
            ("permit_on_first_permit", (no, {}, yes, no), [False, False, True]),
            ("permit_on_first_permit", (no, no), [False, False]),
        ):
            options = {"evaluations_semantic": semantic, "another_option": "value"}
            self.assertEqual(self.decisions(*given, options=options), expected, semantic)

    def test_malformed(self) -> None:
        """A request that is malformed as a whole is a 400."""
        more: Json
        for more in (
            {"evaluations": {}},
            {"evaluations": None},
            {"options": []},
            {"options": {"evaluations_semantic": "all"}},
            {"options": {"evaluations_semantic": ["execute_all"]}},
            {"evaluations": [{}] * 1001},
        ):
            self.assertEqual(self.ask("evaluations", asks(**more)).status, 400, more)


class SearchTests(CertificationCase):
    """Section 7: the three searches."""

    def found(self, kind: str, request: Json) -> list[str]:
        answer = self.ask(f"search/{kind}", request)
        self.assertEqual(answer.status, 200, answer.body)
        results = answer.json()["results"]
        searched = request.get(kind, {}).get("type")
        self.assertEqual({each.get("type") for each in results} - {searched}, set())
        return [each["name" if kind == "action" else "id"] for each in results]

    def test_subjects(self) -> None:
        """7.2: an id and a context do not matter."""
        for subject in ({"type": "user"}, {"type": "user", "id": "alice"}):
            for more in (Json(), {"context": CONTEXT}):
                request = {**asks(**more), "subject": subject}
                self.assertEqual(self.found("subject", request), ["alice", "bob"])
        request = {**asks(action="write", resource=ARCHIVED), "subject": {"type": "user"}}
        self.assertEqual(self.found("subject", request), ["bob"])

    def test_found_subject_may(self) -> None:
        """A subject that a search finds may do it, by the claims that the search states."""
        request = asks(action="write", resource=ARCHIVED, subject={"type": "user"})
        [result] = self.ask("search/subject", request).json()["results"]
        self.assertTrue(self.decided({**request, "subject": result}))

    def test_resources(self) -> None:
        """7.3: an id and a context do not matter."""
        for resource in ({"type": "record"}, {"type": "record", "id": "record-2"}):
            for more in (Json(), {"context": CONTEXT}):
                request = {**asks(**more), "resource": resource}
                self.assertEqual(self.found("resource", request), ["record-1", "record-2"])
        request = asks(action="write", subject=ADMIN, resource={"type": "record"})
        self.assertEqual(self.found("resource", request), ["record-2"])

    def test_actions(self) -> None:
        """7.4: the request has no action."""
        for more in (Json(), {"context": CONTEXT}):
            request = asks(**more)
            del request["action"]
            self.assertEqual(self.found("action", request), ["read", "write"])
        request = {"subject": ADMIN, "resource": ARCHIVED}
        self.assertEqual(self.found("action", request), ["read", "write"])

    def test_pages(self) -> None:
        """7.5: a limit makes pages; the last one has an empty token."""
        request = {**asks(), "subject": {"type": "user"}, "page": {"limit": 1}}
        first = self.ask("search/subject", request).json()
        self.assertEqual([each["id"] for each in first["results"]], ["alice"])
        token = first["page"]["next_token"]
        request["page"]["token"] = token
        second = self.ask("search/subject", request).json()
        self.assertEqual([each["id"] for each in second["results"]], ["bob"])
        request["page"] = {"token": token}
        self.assertEqual(self.ask("search/subject", request).status, 400)

    def test_nothing_found(self) -> None:
        """7.6: an unknown id or type is no error."""
        request = asks("nonexistent-user")
        del request["action"]
        self.assertEqual(self.found("action", request), [])
        self.assertEqual(self.found("subject", asks(subject={"type": "spaceship"})), [])
        self.assertEqual(self.found("resource", asks(resource={"type": "spaceship"})), [])

    def test_missing_keys(self) -> None:
        """7.7: all entities but the searched one must be complete."""
        for kind, request in (
            ("subject", {"subject": {"type": "user"}, "resource": asks()["resource"]}),
            ("subject", {**asks(), "resource": {"type": "record"}}),
            ("subject", {**asks(), "subject": {}}),
            ("resource", {"action": {"name": "read"}, "resource": {"type": "record"}}),
            ("resource", {**asks(), "subject": {"type": "user"}}),
            ("action", {"subject": asks()["subject"]}),
            ("action", {**asks(), "subject": {"type": "user"}}),
        ):
            self.assertEqual(self.ask(f"search/{kind}", request).status, 400, request)


class DiscoveryTests(CertificationCase):
    """Section 9: the metadata."""

    def test_metadata(self) -> None:
        """The metadata name all endpoints below the URL that the client has used."""
        answer = self.gateway.ask("GET /.well-known/authzen-configuration")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        base = "https://gate"
        expected = {
            "policy_decision_point": base,
            "access_evaluation_endpoint": f"{base}/access/v1/evaluation",
            "access_evaluations_endpoint": f"{base}/access/v1/evaluations",
            "search_subject_endpoint": f"{base}/access/v1/search/subject",
            "search_resource_endpoint": f"{base}/access/v1/search/resource",
            "search_action_endpoint": f"{base}/access/v1/search/action",
        }
        self.assertEqual(answer.json(), expected)
        self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_configured(self) -> None:
        """The configuration may name the URL of the decision point."""
        stated = {**scenarios.CERTIFIED, "decision_point": "https://pdp.example.org/team/"}
        self.gateway = self.make(policy=stated)
        found = self.gateway.ask("GET /.well-known/authzen-configuration").json()
        self.assertEqual(found["policy_decision_point"], "https://pdp.example.org/team")
        endpoint = found["access_evaluation_endpoint"]
        self.assertEqual(endpoint, "https://pdp.example.org/team/access/v1/evaluation")

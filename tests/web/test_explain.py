"""C{?explain}: an asker is answered which rule decides, and which rules nearly do."""

from __future__ import annotations

from typing import Any

from tests.web.conversations import Answer
from tests.web.policy_case import BOB, PDP, AskingCase


class ExplainCase(AskingCase):
    """Questions with C{?explain}."""

    def authz(self, resource: str, query: str = "?explain", who: str = PDP, **more: Any) -> Answer:
        given = {"token": self.token(BOB), "resource": resource, "action": "GET"}
        return self.post(f"/authz{query}", {**given, "namespace": "/", **more}, who)

    def evaluate(self, path: str, content: dict[str, Any], who: str = PDP) -> Answer:
        given = {
            "subject": {"type": "user", "id": "bob", "properties": {"role": ["reader"]}},
            "action": {"name": "GET"},
        }
        return self.post(f"/access/v1/{path}", {**given, **content}, who)


class AuthzTests(ExplainCase):
    """C{POST /authz?explain}."""

    def test_allowed(self) -> None:
        """An allowed request is a 200 with the rule that decides."""
        answer = self.authz("/data/x")
        self.assertEqual((answer.status, answer.headers["cache-control"]), (200, "no-store"))
        found = answer.json()
        self.assertEqual((found["decision"], found["rule"]), ("allow", "read"))
        self.assertIn("username=bob", found["claims"])
        self.assertEqual(found["near_misses"][0]["rule"], "secret")

    def test_denied(self) -> None:
        """A denied request is a 403 with its reason and the rules that would allow it."""
        answer = self.authz("/inside", ip="192.0.2.1")
        self.assertEqual((answer.status, answer.headers["x-auth-reason"]), (403, "network"))
        [missed, *_] = answer.json()["near_misses"]
        self.assertEqual(
            missed,
            {
                "rule": "inside",
                "effect": "allow",
                "permission": "/inside:GET",
                "failed": "networks",
                "needed": ["10.0.0.0/8"],
                "found": "192.0.2.1",
            },
        )

    def test_limited_token(self) -> None:
        """What a limit of the token refuses is denied, although a rule allows it."""
        answer = self.authz("/data/x", token=self.token(BOB, networks=["10.0.0.0/8"]))
        found = answer.json()
        self.assertEqual((answer.status, found["decision"]), (403, "deny"))
        self.assertEqual((found["reason"], found["matches"][0]["rule"]), ("restricted", "read"))

    def test_hidden_role(self) -> None:
        """The claims are named that the token leaves out."""
        found = self.authz("/data/x", token=self.token(BOB, roles=[])).json()
        self.assertEqual(found["hidden_claims"], ["role=reader"])

    def test_not_an_asker_S_LISTHIDE(self) -> None:
        """Explanations name rules, so only an asker gets them."""
        answer = self.authz("/data/x", who=BOB)
        self.assertEqual(answer.status, 403)
        self.assertNotIn("rule", answer.json())
        self.assertEqual(self.authz("/data/x", "", BOB).status, 204)

    def test_parameter(self) -> None:
        """The parameter may have a value; 0 and false ask for no explanation."""
        for query, status in (
            ("?explain=1", 200),
            ("?x=%FF&explain", 200),
            ("?explain=0", 204),
            ("?explain=false", 204),
            ("?explained", 204),
            ("?", 204),
        ):
            self.assertEqual(self.authz("/data/x", query).status, status, query)


PATH = {"resource": {"type": "path", "id": "/admin"}}


class AuthzenTests(ExplainCase):
    """C{?explain} in the AuthZEN API."""

    def test_evaluation(self) -> None:
        """The context of an answer has the explanation."""
        found = self.evaluate("evaluation?explain", PATH).json()
        explanation = found["context"]["explanation"]
        self.assertEqual((found["decision"], explanation["decision"]), (False, "deny"))
        self.assertEqual(found["context"]["reason"], "no-matching-policy")
        self.assertEqual(explanation["claims"], ["role=reader", "username=bob"])
        resource = {"resource": {"type": "path", "id": "/data/x"}}
        found = self.evaluate("evaluation?explain", resource).json()
        self.assertEqual(found["context"]["explanation"]["rule"], "read")
        self.assertEqual(self.evaluate("evaluation", resource).json(), {"decision": True})

    def test_evaluations(self) -> None:
        """Each of several answers has an explanation; there is a maximum number of them."""
        answer = self.evaluate("evaluations?explain", {"evaluations": [PATH]})
        [found] = answer.json()["evaluations"]
        self.assertEqual(found["context"]["explanation"]["reason"], "no-matching-policy")
        answer = self.evaluate("evaluations?explain", {"evaluations": [PATH] * 51})
        self.assertEqual(answer.status, 400)

    def test_not_an_asker_S_LISTHIDE(self) -> None:
        """Explanations name rules, so only an asker gets them."""
        self.assertEqual(self.evaluate("evaluation?explain", PATH, BOB).status, 403)

"""The published scenarios of AuthZEN, whose expected decisions must all hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.web.authzen import scenarios
from tests.web.authzen.scenarios import Json, Row
from tests.web.policy_case import AskingCase


class ScenarioTests(AskingCase):
    """The decisions that the working group of AuthZEN has published."""

    def ask(self, api: str, request: Json) -> Any:
        answer = self.post(f"/access/v1/{api}", request)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def hold(self, api: str, rows: Iterator[Row], number: int, key: str = "") -> None:
        """Ask all questions of a scenario; C{key} names the part of results that is compared."""
        listed = [*rows]
        self.assertEqual(len(listed), number)
        for request, expected in listed:
            found = self.ask(api, request)
            if not key:
                self.assertEqual(found["decision"], expected, request)
                continue
            results = [each[key] for each in found["results"]]
            self.assertEqual(sorted(results), sorted(expected), request)
            self.assertEqual(len(results), len(expected), request)

    def test_todo(self) -> None:
        """The Todo application: all decisions, also by the API for several questions."""
        self.gateway = self.make(policy=scenarios.TODO)
        self.hold("evaluation", scenarios.todo_rows(), 40)
        self.hold("evaluations", scenarios.todo_rows(), 40)
        batches = [*scenarios.todo_batches()]
        for request, expected in batches:
            found = self.ask("evaluations", request)["evaluations"]
            self.assertEqual([each["decision"] for each in found], expected)
        self.assertEqual(len(batches), 3)

    def test_todo_in_one_batch(self) -> None:
        """All decisions of the Todo application, asked in one request."""
        self.gateway = self.make(policy=scenarios.TODO)
        rows = [*scenarios.todo_rows()]
        body = {"evaluations": [each.request for each in rows]}
        found = self.ask("evaluations", body)["evaluations"]
        self.assertEqual([each["decision"] for each in found], [each.expected for each in rows])

    def test_gateways(self) -> None:
        """API gateways that ask about routes."""
        self.gateway = self.make(policy=scenarios.GATEWAYS)
        self.hold("evaluation", scenarios.gateway_rows(), 25)

    def test_action_search(self) -> None:
        """The search application: what may this user do with this record?"""
        self.gateway = self.make(policy=scenarios.SEARCH)
        self.hold("search/action", scenarios.action_searches(), 120, "name")

    def test_resource_search(self) -> None:
        """The search application and the identity provider: which records may this user see?"""
        self.gateway = self.make(policy=scenarios.SEARCH)
        self.hold("search/resource", scenarios.resource_searches(), 18, "id")

    def test_subject_search(self) -> None:
        """The search application: who may do this with this record?"""
        self.gateway = self.make(policy=scenarios.SEARCH)
        self.hold("search/subject", scenarios.subject_searches(), 60, "id")

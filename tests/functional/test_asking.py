"""Services ask a real gateway what identities may do: AuthZEN, and C{POST /authz}."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.functional.test_tokens import post
from tests.waiting import until
from tests.web.authzen import scenarios

USERS: list[dict[str, Any]] = [
    {"username": "pdp", "password": "point", "roles": ["asker"]},
    {"username": "bob", "password": "builder", "roles": ["reader"]},
]
PROVIDERS = [{"name": "local", "type": "plain", "realm": "here", "users": USERS}]
PDP = {"Authorization": wire.basic("pdp", "point")}
BOB = {"Authorization": wire.basic("bob", "builder")}
READERS = scenarios.rule("readers", [["role=reader"]], "/data/**:GET")


class AskingTests(SynchronousTestCase):
    """A gateway with two workers."""

    def start(self, policy: Any) -> None:
        self.daemon = Daemon(Path(self.mktemp()))
        self.configure(policy)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)

    def configure(self, policy: Any) -> None:
        store = {"type": "sqlite", "path": str(Path(self.daemon.folder).absolute() / "tokens.db")}
        more = {} if policy is None else {"policy": policy}
        self.daemon.configure(providers=PROVIDERS, store=store, server={"workers": 2}, **more)

    def ask(self, path: str, content: Any, headers: dict[str, str] = PDP) -> tuple[int, Any]:
        return post(self.daemon.port, path, content, headers)

    def test_scenario(self) -> None:
        """All published decisions of the Todo application, one by one and in one request."""
        self.start(scenarios.TODO)
        rows = [*scenarios.todo_rows()]
        for request, expected in rows:
            found = self.ask("/access/v1/evaluation", request)
            self.assertEqual((found[0], found[1]["decision"]), (200, expected), request)
        given = {"evaluations": [each.request for each in rows]}
        _, answer = self.ask("/access/v1/evaluations", given)
        decisions = [each["decision"] for each in answer["evaluations"]]
        self.assertEqual(decisions, [each.expected for each in rows])
        name = 'authotron_policy_questions_total{api="evaluation",result="allow"}'
        allowed = sum(each.expected for each in rows)
        until(lambda: self.daemon.metric(name) == allowed, "counted")
        self.daemon.logged("asked by evaluation whether")

    def test_authz(self) -> None:
        """The bearer of an API token may do what the rules say, until the token is revoked."""
        self.start({"askers": ["asker"], "rules": [READERS]})
        made = post(self.daemon.port, "/tokens", {}, BOB)[1]
        question = {"token": made["token"], "resource": "/data/x", "action": "GET"}
        for more, by, status in (
            ({"namespace": "/"}, PDP, 204),
            ({"namespace": "/"}, BOB, 204),
            ({"namespace": "/", "action": "PUT"}, PDP, 403),
            ({"namespace": "/", "ip": "192.0.2.1"}, BOB, 403),
            ({"namespace": "/"}, {}, 401),
            ({}, PDP, 422),
        ):
            self.assertEqual(self.ask("/authz", {**question, **more}, by)[0], status, more)
        answer = wire.ask(self.daemon.port, f"/tokens/{made['id']}", BOB, "DELETE")
        self.assertEqual(answer.status, 204)
        for _ in range(8):  # Each of the workers has accepted some of the connections.
            self.assertEqual(self.ask("/authz", {**question, "namespace": "/"})[0], 401)
        self.assertNotIn(made["token"], self.daemon.log())

    def test_reload(self) -> None:
        """A reload with a section C{policy} adds the API, and one without it removes the API."""
        self.start(None)
        path = "/.well-known/authzen-configuration"
        self.assertEqual(wire.ask(self.daemon.port, path).status, 404)
        for policy, status in (({"rules": [READERS]}, 200), (None, 404)):
            self.configure(policy)
            self.daemon.tell(signal.SIGHUP)
            until(
                lambda status=status: wire.ask(self.daemon.port, path).status == status,  # type: ignore[misc] # mypy cannot infer the type of the default
                "reloaded",
            )

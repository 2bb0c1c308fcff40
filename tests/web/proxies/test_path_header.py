"""The path on which an answer is based, as a backend learns it, at every entrance."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.web.conversations import ALICE, basic
from tests.web.entrances import Answer, Entrances

HEADER = "X-Auth-Path"
POLICY = {
    "rules": [
        {"name": "all", "subject": [["realm=internal"]], "permissions": ["/public/**:*", "/data:*"]}
    ]
}


class PathHeaderTests(SynchronousTestCase):
    """C{server.answers.path_header}."""

    def serve(self, **over: Any) -> Entrances:
        return Entrances({"server": {"answers": {"path_header": HEADER}}, **over})

    def ask(self, entrances: Entrances, path: str, authorization: str = ALICE) -> dict[str, Answer]:
        """Ask about a path at every entrance, and by the contracts that state it differently."""
        stated = {"X_Forwarded_Method": "GET", "X_Forwarded_Uri": path}
        found = {
            f"{line} {where}": answer
            for line, headers in (
                (f"GET /auth/envoy{path}", {}),
                ("GET /auth/traefik", stated),
                ("GET /auth/nginx", {"X_Original_URI": path, "X_Original_Method": "GET"}),
                ("GET /authenticate", {"X_Original_URI": path, "X_Original_Method": "GET"}),
            )
            for where, answer in entrances.ask_http(line, authorization, **headers).items()
        }
        return {**found, **entrances.ask_protocols(path, authorization)}

    def test_canonical_T19(self) -> None:
        """A 200 states the path in its one spelling, without the query, whatever was cached."""
        entrances = self.serve()
        for path, expected in (
            ("/data/x?y=/z", "/data/x"),
            ("/a/../data/%78", "/data/x"),
            ("/data%20x/%c3%a9", "/data%20x/%C3%A9"),
        ):
            for where, answer in self.ask(entrances, path).items():
                with self.subTest(where, path=path):
                    self.assertEqual(answer.status, 200)
                    self.assertEqual(answer.headers["x-auth-path"], expected)

    def test_ambiguous_T19(self) -> None:
        """A path that a backend could take for another one is a 400."""
        entrances = self.serve()
        for path in ("/a//b", "/a%2fb", "/a/..;/b", "/%2e%2e/b"):
            for where, answer in self.ask(entrances, path).items():
                with self.subTest(where, path=path):
                    self.assertEqual(answer.status, 400)
                    self.assertNotIn("authorization", answer.headers)
                    self.assertNotIn("x-auth-path", answer.headers)

    def test_not_stated_T19(self) -> None:
        """A question that states no path is a 400; what the client sends does not count."""
        for answer in self.serve().ask_http(X_Auth_Path="/public").values():
            self.assertEqual(answer.status, 400)
            self.assertNotIn("/public", str(answer))

    def test_policy_T19_T20(self) -> None:
        """The path is the one to which a rule applies; a path without a rule is a 403."""
        entrances = self.serve(policy=POLICY)
        for path, status in (("/public/../data", 200), ("/public/x", 200), ("/admin", 403)):
            for where, answer in self.ask(entrances, path).items():
                with self.subTest(where, path=path):
                    self.assertEqual(answer.status, status)
                    expected = {"/public/../data": "/data"}.get(path, path)
                    found = answer.headers.get("x-auth-path")
                    self.assertEqual(found, expected if status == 200 else None)

    def test_refused_T19(self) -> None:
        """A refused credential is a 401 without a path, also if the path is ambiguous."""
        for path in ("/data", "/a//b"):
            for answer in self.ask(self.serve(), path, basic("alice", "no")).values():
                self.assertEqual(answer.status, 401)
                self.assertNotIn("x-auth-path", answer.headers)

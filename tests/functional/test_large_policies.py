"""A reload with a long file of rules, while clients send requests."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon
from tests.waiting import until

COUNT = 4_000
"""Number of rules that take some seconds to read."""

AT_LEAST = 100
"""Number of requests, one after the other, that are answered while these rules are read."""

RELOADS = 'authotron_reloads_total{result="success"}'


def rules(allowed: str) -> list[dict[str, Any]]:
    """Return many rules, of which the last one allows a path."""
    teams = (
        {
            "name": f"team {number}",
            "subject": [[f"role=team-{number}"]],
            "permissions": [f"/teams/{number}/**:*", f"-/teams/{number}/private/**:DELETE"],
        }
        for number in range(COUNT)
    )
    readers = {"name": "r", "subject": [["role=reader"]], "permissions": [f"{allowed}:GET"]}
    return [*teams, readers]


class LargePoliciesTests(SynchronousTestCase):
    """A gateway whose rules are in a long file."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "rules.yaml"
        self.file.write_text("rules: []")

    def start(self, **server: Any) -> Daemon:
        trusted = {"trusted_proxies": ["127.0.0.1/32"], **server}
        daemon = Daemon(self.folder).configure(server=trusted, policy={"files": ["rules.yaml"]})
        daemon.start()
        self.addCleanup(daemon.stop)
        return daemon

    def status(self, daemon: Daemon, path: str) -> int:
        headers = {
            "Authorization": wire.basic("alice", "wonder"),
            "X-Original-URI": path,
            "X-Original-Method": "GET",
        }
        return wire.ask(daemon.port, "/authenticate", headers).status

    def test_requests_are_answered_meanwhile(self) -> None:
        """While a long file is read, requests are answered by the old rules; then the new count."""
        daemon = self.start()
        self.assertEqual(self.status(daemon, "/new"), 403)
        self.file.write_text(json.dumps({"rules": rules("/new")}))
        daemon.tell(signal.SIGHUP)
        answered = 0
        while self.status(daemon, "/new") == 403:
            answered += 1
        self.assertGreater(answered, AT_LEAST, daemon.log())
        until(lambda: daemon.metric(RELOADS) == 1, "reloaded", otherwise=daemon.log)
        self.assertEqual(self.status(daemon, "/teams/1/x"), 403)

    def test_refused(self) -> None:
        """Of very many mistakes the first ones are logged, and the old rules stay."""
        self.file.write_text(json.dumps({"rules": rules("/old")}))
        daemon = self.start()
        wrong = [{**each, "name": "same"} for each in rules("/new")[:300]]
        self.file.write_text(json.dumps({"rules": wrong}))
        daemon.tell(signal.SIGHUP)
        daemon.logged("rules[1].name: another one of the rules has the same name")
        self.assertEqual(self.status(daemon, "/old"), 200)

    def test_workers(self) -> None:
        """Several workers get the rules from the supervisor, after a reload as well."""
        daemon = self.start(workers=2)
        self.file.write_text(json.dumps({"rules": rules("/new")}))
        daemon.tell(signal.SIGHUP)
        until(lambda: self.status(daemon, "/new") == 200, "reloaded", otherwise=daemon.log)
        self.assertEqual(self.status(daemon, "/teams/1/x"), 403)

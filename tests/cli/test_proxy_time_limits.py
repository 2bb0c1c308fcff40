"""The part of C{authotron doctor} about the time limits of proxies."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.cli import proxy_time_limits
from tests.proxy_examples import GIVEN, gateway


class TimeLimitsTests(SynchronousTestCase):
    """Which proxies give up before the gateway decides."""

    def shown(self, milliseconds: int, **server: Any) -> list[str]:
        built = gateway(auth={"timeout_in_ms": milliseconds}, server={**GIVEN["server"], **server})
        printed = StringIO()
        with redirect_stdout(printed):
            proxy_time_limits.show(built)
        return printed.getvalue().splitlines()

    def test_below(self) -> None:
        """Each proxy with a usual limit below the longest decision is named, with its setting."""
        first, *rest = self.shown(2_500)
        self.assertEqual(first, "proxies: a decision may take 2.5 s")
        self.assertEqual([each.split()[1] for each in rest], ["envoy", "skipper"])
        self.assertIn("gives up after 0.2 s, unless `timeout` is set", rest[0])

    def test_not_configurable(self) -> None:
        """What helps with a proxy whose limit is fixed is a shorter timeout of the gateway."""
        lines = self.shown(30_000, contracts=["traefik", "caddy"])
        self.assertEqual(len(lines), 2)
        self.assertIn("traefik gives up after 30 s, which cannot be configured", lines[1])

    def test_only_contracts(self) -> None:
        """A proxy that may not ask is not named."""
        self.assertEqual(len(self.shown(5_000, contracts=["nginx", "haproxy"])), 1)

    def test_json(self) -> None:
        """The same as JSON."""
        found = proxy_time_limits.row(gateway(server={**GIVEN["server"], "contracts": ["envoy"]}))
        limit = {"proxy": "envoy", "seconds": 0.2, "setting": "timeout"}
        self.assertEqual(found, {"decision": 5.0, "limits": [limit]})

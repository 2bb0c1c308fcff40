"""Which providers may look for credentials in the same part of a request."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import check
from authotron.daemon.compose import compose
from authotron.model.errors import ConfigError
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import world
from tests.config.cases import BASE, laid_over
from tests.config.test_credentials import TOKENS

STAFF = BASE["providers"][0]
KEY = {"header": "X-API-Key"}


class ProblemTests(SynchronousTestCase):
    """Combinations that cannot work."""

    def problems(self, *providers: Any, **over: Any) -> list[str]:
        config = check.check(laid_over(BASE, {"providers": list(providers), **over}))
        try:
            compose(config, world(Clock()), Metrics())
        except ConfigError as error:
            return [str(each) for each in error.problems]
        return []

    def test_half_of_a_password_provider(self) -> None:
        """One half of Basic cannot be a user name and password."""
        [found] = self.problems({**STAFF, "credentials": {"basic": "password"}})
        self.assertEqual(
            found,
            "providers[0].credentials: one half of a Basic credential can only be a token, and the "
            "provider judges Basic credentials",
        )

    def test_two_schemes(self) -> None:
        """One carrier cannot carry credentials of two schemes."""
        key = {"credentials": KEY}
        [found] = self.problems({**TOKENS, **key}, {**STAFF, **key})
        self.assertEqual(
            found,
            "providers[1].credentials: header x-api-key carries Bearer credentials of 'keys', so "
            "it cannot carry Basic credentials",
        )
        [found] = self.problems({**STAFF, **key}, store={"type": "memory", **key})
        self.assertIn("'token-store'", found)

    def test_several_providers(self) -> None:
        """Providers of one scheme may share a carrier; words of schemes keep others apart."""
        self.assertEqual(self.problems(*[{**TOKENS, "credentials": KEY}] * 2), [])
        words = [{"header": "Proxy-Authorization", "scheme": each} for each in ("Basic", "Bearer")]
        providers = ({**STAFF, "credentials": words[0]}, {**TOKENS, "credentials": words[1]})
        self.assertEqual(self.problems(*providers), [])

    def test_header_with_a_fact_T27b(self) -> None:
        """A header in which a proxy states a fact carries no credential."""
        nginx = {"type": "nginx", "headers": {"path": "X-API-Key"}}
        for server in ({"contracts": [nginx]}, {"forwarded": {"host": "x-api-key"}}):
            [found] = self.problems({**TOKENS, "credentials": KEY}, server=server)
            self.assertEqual(
                found,
                "providers[0].credentials: header x-api-key states a fact in a contract of a proxy",
            )

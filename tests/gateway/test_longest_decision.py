"""How long a decision may take, as a configuration says."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.longest_decision import longest_decision
from tests.proxy_examples import gateway

PLAIN = {"type": "plain", "realm": "here", "users": []}
LDAP = {"type": "ldap", "realm": "here", "uri": "ldap://a", "search_base": "dc=x"}


def providers(*names: str) -> list[dict[str, Any]]:
    return [{**PLAIN, "name": name} for name in names]


class LongestDecisionTests(SynchronousTestCase):
    """The longest decision about one credential."""

    def seconds(self, **sections: Any) -> float:
        return longest_decision(gateway(**sections))

    def test_providers(self) -> None:
        """Providers of one scheme are asked in up to two groups, each with one timeout."""
        for names, expected in (("", 0), ("a", 5), ("ab", 10), ("abc", 10)):
            self.assertEqual(self.seconds(providers=providers(*names)), expected)

    def test_schemes(self) -> None:
        """A credential has one scheme, and the token store is asked with the other providers."""
        token = {
            "type": "static-token",
            "name": "t",
            "realm": "here",
            "tokens": [{"username": "u", "token": "t" * 32}],
        }
        self.assertEqual(self.seconds(providers=[*providers("a"), token]), 5)
        store = {"type": "memory"}
        self.assertEqual(self.seconds(providers=[*providers("a"), token], store=store), 10)

    def test_authorizer(self) -> None:
        """The authorizer is asked after the providers, and twice about some API tokens."""
        section = {"type": "authzen", "url": "https://pdp.example/access/v1/evaluation"}
        self.assertEqual(self.seconds(providers=providers("a"), authorizer=section), 10)
        section["timeout"] = "2s"
        self.assertEqual(self.seconds(providers=providers("a"), authorizer=section), 7)
        store = {"type": "memory"}
        found = self.seconds(providers=providers("a"), authorizer=section, store=store)
        self.assertEqual(found, 9)

    def test_tokens_in_basic(self) -> None:
        """If a token may stand in Basic, providers of both schemes may be asked in turn."""
        store = {"type": "memory", "credentials": {"basic": "password"}}
        self.assertEqual(self.seconds(providers=providers("a"), store=store), 10)

    def test_tokens_in_both_halves(self) -> None:
        """If each half of Basic may be a token, the providers of tokens are asked twice."""
        name, password = {"basic": "username"}, {"basic": "password"}
        token = {
            "type": "static-token",
            "name": "t",
            "realm": "here",
            "tokens": [{"username": "u", "token": "t" * 32}],
        }
        for listed, expected in (
            ([name], 15),
            ([name, password], 25),
            ([name, password, {"cookie": "c"}], 25),
        ):
            store = {"type": "memory", "credentials": listed}
            found = self.seconds(
                providers=[*providers("a"), {**token, "credentials": name}], store=store
            )
            self.assertEqual(found, expected)

    def test_augmenters(self) -> None:
        """The augmenters of a realm are asked together, with their own timeouts."""
        augmenters = [
            {"type": "plain", "name": "p", "realm": "here", "roles": {}},
            {**LDAP, "name": "one", "timeout": 3},
            {**LDAP, "name": "two", "timeout": 7},
            {**LDAP, "name": "three", "realm": "there", "timeout": 8},
        ]
        self.assertEqual(self.seconds(providers=providers("a"), augmenters=augmenters[:1]), 5)
        self.assertEqual(self.seconds(providers=providers("a"), augmenters=augmenters), 13)

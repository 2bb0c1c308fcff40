"""The key C{claims} of providers, and C{jwt.emit_claims}."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from authotron.config.claim_filter import filter_of
from authotron.config.plugins import ProviderConfig
from tests.config.cases import BASE, ConfigCase, laid_over

RULES = [{"name": "r", "subject": [["role=a"]], "permissions": ["/**:*"]}]


def with_claims(claims: Any, **over: Any) -> dict[str, Any]:
    return {**over, "providers": [{**BASE["providers"][0], "claims": claims}]}


class ClaimsTests(ConfigCase):
    """What a filter of claims may say."""

    def read(self, **claims: Any) -> Any:
        [provider] = self.changed(**with_claims(claims)).providers
        assert isinstance(provider, ProviderConfig)
        assert provider.claims is not None
        return provider.claims.as_filter()

    def wrong(self, **claims: Any) -> str:
        return self.problem(**with_claims(claims))

    def test_read(self) -> None:
        """All keys are read; prefixes in any case, keys in normal form."""
        found = self.read(
            include=["Email=", "role="],
            ignore=["iat", "a=\u0338", "cafe\u0301="],
            rename={"https://x.org/groups": "group", "e\u0301": "e"},
            lowercase=["email", "username"],
        )
        self.assertEqual(
            (found.include, found.ignore), (("email=", "role="), ("iat", "a=\u0338", "caf\u00e9="))
        )
        self.assertEqual(found.rename, {"https://x.org/groups": "group", "\u00e9": "e"})
        self.assertEqual(found.lowercase, {"email", "username"})

    def test_prefixes(self) -> None:
        """Prefixes that can have no effect are mistakes."""
        for key in ("include", "ignore"):
            self.assertIn("begins with @", self.wrong(**{key: ["@source:type=jwt"]}))
            for blank in ("", " ", "a= ", " a="):
                self.assertIn("blanks", self.wrong(**{key: [blank]}))
        for claim in ("username=", "realm=x", "USERNAME=bob"):
            self.assertIn("a claim of every identity", self.wrong(ignore=[claim]))
        self.read(include=["username=", "realm="])

    def test_rename_reserved_S_CHOICE(self) -> None:
        """No key is renamed to a claim that only the gateway sets, nor is such a claim renamed."""
        for rename in ({"a": "@group:name"}, {"@a": "b"}):
            self.assertIn("begins with @", self.wrong(rename=rename))
        for own in ("realm", "username", "role", "scope"):
            self.assertIn(f"the key {own} is made of", self.wrong(rename={"a": own}))
            self.assertIn(f"the key {own} is made of", self.wrong(rename={own: "a"}))

    def test_rename_malformed(self) -> None:
        """Keys that no claim has, and renaming to the same key, are mistakes."""
        for key in ("", "a b", "a=b", "a\u00a0b"):
            self.assertIn("is not the key of a claim", self.wrong(rename={"x": key}))
        self.assertIn("write the key alone, mail", self.wrong(rename={"mail=": "email"}))
        for same in ("a", "e\u0301"):
            self.assertIn("renamed to itself", self.wrong(rename={same: same}))
        twice = {"e\u0301": "a", "\u00e9": "b"}
        self.assertIn("two keys are spellings of one key", self.wrong(rename=twice))

    def test_lowercase(self) -> None:
        """Only values of keys that rules can name become lower case."""
        self.assertIn("write the key alone, email", self.wrong(lowercase=["email="]))
        self.assertIn("begins with @", self.wrong(lowercase=["@source:name"]))
        self.assertIn("the name in the configuration", self.wrong(lowercase=["realm"]))
        self.assertIn("write email", self.wrong(rename={"mail": "email"}, lowercase=["mail"]))
        self.read(rename={"mail": "email", "old": "mail"}, lowercase=["mail"])

    def test_all_at_once(self) -> None:
        """The mistakes of all keys are listed together."""
        claims = {"ignore": ["@x"], "rename": {"a": "role", "b": "@c"}, "lowercase": ["x="]}
        given = laid_over(BASE, with_claims(claims))
        found = "; ".join(self.problems(given))
        for text in ("ignore[0]", "the key role", "'@c' begins with @", "lowercase[0]"):
            self.assertIn(text, found)

    def test_key_of_another_package(self) -> None:
        """A key C{claims} that a plugin of another package defines is no filter."""
        self.assertIsNone(filter_of(SimpleNamespace(claims=["a"])))
        self.assertIsNone(filter_of(SimpleNamespace()))

    def test_unknown_key(self) -> None:
        """A misspelt key is named."""
        self.assertIn("did you mean 'lowercase'", self.wrong(lowercases=["email"]))


class WarningTests(ConfigCase):
    """What an operator should look at."""

    def warned(self, claims: Any, **over: Any) -> list[str]:
        found = self.changed(**with_claims(claims, **over)).warnings
        return [each for each in found if "claims" in each]

    def test_without_effect(self) -> None:
        """Claims that nothing reads are without effect."""
        claims = {"ignore": ["iat="]}
        [warning] = self.warned(claims)
        self.assertIn("providers[0].claims: without effect", warning)
        self.assertEqual(self.warned(claims, jwt={"emit_claims": True}), [])
        self.assertEqual(self.warned(claims, policy={"rules": RULES}), [])

    def test_impossible_tags(self) -> None:
        """A claim that a rule or group names, and that no provider can yield, is named."""
        tags = [["mail=a"], ["email=A", "role=a"], ["email=a"], ["iat=5"]]
        rules = [{**RULES[0], "subject": tags}]
        groups = [{"name": "g", "subject": [["exp=5"]]}]
        claims = {"ignore": ["iat=", "exp="], "rename": {"mail": "email"}, "lowercase": ["email"]}
        policy = {"rules": rules, "groups": groups}
        found = self.warned(claims, policy=policy)
        named = [each.split(" names ")[1].split(",")[0] for each in found]
        self.assertEqual(named, ["mail=a", "email=A", "iat=5", "exp=5"])
        self.assertIn("group 'g'", found[-1])

    def test_another_provider(self) -> None:
        """What any provider can yield is no mistake."""
        other = {**BASE["providers"][0], "name": "other"}
        over = with_claims({"ignore": ["role="]}, policy={"rules": RULES})
        over["providers"].append(other)
        self.assertEqual([each for each in self.changed(**over).warnings if "role=a" in each], [])

"""All problems of a configuration are reported at once, each with its origin."""

from __future__ import annotations

from typing import Any, Self

from pydantic import field_validator, model_validator

from authotron.config import section
from authotron.config.problems import of_key, require_none
from authotron.config.section import NonEmptyStr, Secret, Section
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError
from tests.config.cases import BASE, ConfigCase, laid_over
from tests.config.test_origins import OriginsCase


class Inner(Section):
    """A section inside another one, with a validator of its own."""

    low: int
    high: int = 9

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise of_key("low", "is more than high")
        return self


class Outer(Section):
    """A section with several validators."""

    name: NonEmptyStr
    secret: Secret
    other: Secret | None = None
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    count: int = 1
    amount: int | NonEmptyStr | tuple[int, ...] = 1

    @field_validator("inners", mode="before")
    @classmethod
    def _as_tuple(cls, given: object) -> object:
        return tuple(given) if isinstance(given, list) else given

    @model_validator(mode="after")
    def _check_count(self) -> Self:
        if self.count > len(self.name):
            raise ValueError("count exceeds the length of name")
        return self

    @model_validator(mode="after")
    def _check_secrets(self) -> Self:
        if self.other is not None:
            require_none([("other", "is too much"), ("", "there are two secrets")])
        return self


class AllErrorsTests(ConfigCase):
    """What one reading of a section reports."""

    def all(self, **given: Any) -> list[str]:
        sources = Sources(self.folder, {"GOOD": "a good secret"})
        error = self.assertRaises(ConfigError, section.read, Outer, given, "it", sources)
        return [str(each) for each in error.problems]

    def test_validators_of_the_whole_section_W_ONCE(self) -> None:
        """Every validator of a section reports its problems, also if another one fails."""
        self.assertEqual(
            self.all(name="a", secret="s", count=3, other="o"),
            [
                "it: count exceeds the length of name",
                "it.other: is too much",
                "it: there are two secrets",
            ],
        )

    def test_missing_keys_W_ONCE(self) -> None:
        """Validators run although a key is missing; what mentions the missing key is not said."""
        self.assertEqual(
            self.all(count=3, other="o"),
            [
                "it.name: is missing",
                "it.secret: is missing",
                "it.other: is too much",
                "it: there are two secrets",
            ],
        )

    def test_secrets_that_cannot_be_read_W_ONCE(self) -> None:
        """Each secret that cannot be read is reported, and the other keys are read."""
        found = self.all(name=5, secret_file="none", other_env="NONE", count="x")
        self.assertEqual(
            [each.partition(": ")[0] for each in found],
            ["it.secret_file", "it.other_env", "it.name", "it.count"],
        )

    def test_sections_inside_W_ONCE(self) -> None:
        """Sections inside a section are validated on their own, and each item of a list is."""
        inner: dict[str, Any] = {"low": 5, "high": 1}
        self.assertEqual(
            self.all(name="a", secret_env="GOOD", inner=inner, inners=[{}, inner, {"low": "x"}]),
            [
                "it.inner.low: is more than high",
                "it.inners[0].low: is missing",
                "it.inners[1].low: is more than high",
                "it.inners[2].low: must be a whole number",
            ],
        )

    def test_value_of_several_types_W_ONCE(self) -> None:
        """A value that fits none of several types is one problem, without names of types."""
        base = {"name": "a", "secret_env": "GOOD"}
        [problem] = self.all(**base, amount=1.5)
        self.assertTrue(problem.startswith("it.amount: must be a whole number, or "), problem)
        [problem] = self.all(**base, amount="")
        self.assertIn("must not be empty", problem)


class WholeFileTests(OriginsCase):
    """What one look at a file reports."""

    def paths(self, content: Any, **environ: str) -> list[str]:
        return [each.partition(": ")[0] for each in self.problems(content, **environ)]

    def test_other_sections_W_ONCE(self) -> None:
        """Problems of all sections, plugins and the store are reported together."""
        over = {
            "server": {"port": 0},
            "jwt": {"alg": "ES256", "key_file": "none.pem", "secret": ...},
            "providers": [
                5,
                {"type": "oidc", "name": "a", "realm": "r"},
                {"type": "plain", "name": "c", "realm": " ", "users": [{}]},
            ],
            "augmenters": [{"type": "http", "name": "b", "realm": "r"}],
            "store": {"type": "redis", "hosts": "h"},
        }
        self.assertEqual(
            self.paths(laid_over(BASE, over)),
            [
                "server.port",
                "jwt.key_file",
                "providers[0]",
                "providers[1].type",
                "providers[2].realm",
                "providers[2].users[0].username",
                "providers[2].users[0]",
                "augmenters[0].url",
                "store.hosts",
            ],
        )

    def test_pepper_and_workers_W_ONCE(self) -> None:
        """What the store needs is reported also if other sections are invalid."""
        key = {"alg": "ES256", "key_file": "none.pem", "secret": ..., "exp": 0}
        found = self.paths(laid_over(BASE, {"jwt": key, "store": {"type": "redis"}}))
        self.assertEqual(found, ["jwt.key_file", "jwt.exp", "store.pepper"])
        server = {"workers": 2, "port": 0}
        found = self.paths(laid_over(BASE, {"server": server, "store": {"type": "memory"}}))
        self.assertEqual(found, ["server.port", "store.type"])

    def test_duplicate_keys_W_ONCE(self) -> None:
        """All duplicate keys are reported, with the problems of the first values."""
        text = "version: '2.0.0'\nserver: {port: 0}\njwt: {iss: a, iss: b}\nserver: {port: 1}\n"
        found = self.located(text)
        self.assertEqual(
            found[:2],
            [
                "config.yaml:3:15: duplicate key 'iss' (first defined on line 3)",
                "config.yaml:4:1: duplicate key 'server' (first defined on line 2)",
            ],
        )
        self.assertEqual(found[2], "server.port: must be at least 1 (config.yaml:2)")
        self.assertEqual(len(found), 4)

    def test_version_W_ONCE(self) -> None:
        """An unknown version, and an address that cannot be read, do not hide other problems."""
        for version, first in (
            ({"version": ...}, "version"),
            ({"version": "3"}, "version"),
            ({"version": "1.0.0", "server": ..., "bind_address": "x"}, "bind_address"),
            ({"version": "1.0.0", "bind_address": "a:1"}, "server"),
        ):
            over = {**version, "jwt": {"exp": 0}}
            self.assertEqual(self.paths(laid_over(BASE, over)), [first, "jwt.exp"])

    def test_secret_files_are_origins_W_ONCE(self) -> None:
        """A problem of a secret names the file or variable that holds the secret, and its key."""
        (self.folder / "key").write_text("short")
        text = "version: '2.0.0'\nserver: {port: 1}\njwt: {iss: a, secret_file: key}\n"
        [problem] = self.located(text)
        self.assertTrue(problem.endswith(" (secret file key (config.yaml:3))"), problem)
        [problem] = self.located(text.replace("secret_file: key", "secret_env: KEY"), KEY="short")
        self.assertTrue(problem.endswith(" (variable KEY (config.yaml:3))"), problem)

    def test_words_W_ONCE(self) -> None:
        """Problems are in words, whatever the type of the value."""
        for over, words in (
            ({"server": {"workers": 0}}, "server.workers: must be at least 1, or must be 'auto'"),
            ({"server": {"port": ..., "listen": ["tcp:99999"]}}, "names a port above 65535"),
            ({"jwt": {"aud": 5}}, "jwt.aud: must be a string; put it in quotes, or must be a list"),
            ({"jwt": {"aud": [5]}}, "jwt.aud[0]: must be a string"),
            (
                {"store": {"type": "sqlite", "path": ""}},
                "store.path: must be the path of a file",
            ),
        ):
            with self.subTest(words):
                self.assertIn(words, self.problem(**over))

    def test_names_of_other_programs_W_ONCE(self) -> None:
        """The type that another program has another name for is suggested."""
        for kind, name, meant in (
            ("providers", "oidc", "jwt"),
            ("providers", "OAuth2", "introspection"),
            ("providers", "active-directory", "ldap"),
            ("providers", "auth0", "jwt"),
        ):
            with self.subTest(name):
                problem = self.problem(
                    **{kind: [{"type": name.lower(), "name": "a", "realm": "r"}]}
                )
                self.assertIn(f"did you mean {meant!r}?", problem)
        self.assertIn("did you mean 'mongo'?", self.problem(store={"type": "mongodb"}))

"""The section C{server.answers}."""

from __future__ import annotations

from typing import Any

from authotron.config.check import Config
from authotron.model.errors import ConfigError
from tests.config.cases import BASE, ConfigCase, laid_over

CUSTOM = {"X-Who": "{username}"}


class AnswersTests(ConfigCase):
    """Which settings are accepted."""

    def answers(self, **keys: Any) -> Config:
        return self.load(laid_over(BASE, {"server": {"answers": keys}}))

    def problem(self, **keys: Any) -> str:
        with self.assertRaises(ConfigError) as caught:
            self.answers(**keys)
        return "\n".join(map(str, caught.exception.problems))

    def test_profile(self) -> None:
        """The profile is that of the section, or follows from C{include_legacy_headers}."""
        self.assertEqual(self.answers().file.profile, "jwt")
        self.assertEqual(self.changed(include_legacy_headers=True).file.profile, "legacy")
        self.assertEqual(self.answers(profile="remote-user").file.profile, "remote-user")
        self.assertIn("must be one of", self.problem(profile="remote_user"))

    def test_contradiction(self) -> None:
        """C{include_legacy_headers} beside another profile is a problem."""
        for profile in ("jwt", "remote-user"):
            over = {"server": {"answers": {"profile": profile}}, "include_legacy_headers": True}
            with self.assertRaises(ConfigError) as caught:
                self.load(laid_over(BASE, over))
            self.assertIn("include_legacy_headers: is true, but", str(caught.exception))
        same = {"server": {"answers": {"profile": "legacy"}}, "include_legacy_headers": True}
        self.assertEqual(self.load(laid_over(BASE, same)).file.profile, "legacy")

    def test_custom(self) -> None:
        """The profile custom needs headers, and headers need the profile."""
        self.assertIn("answers.custom: is missing", self.problem(profile="custom"))
        self.assertIn("answers.custom: is used by no proxy", self.problem(custom=CUSTOM))
        self.answers(profile="custom", custom=CUSTOM)
        self.answers(contracts={"caddy": {"profile": "custom"}}, custom=CUSTOM)

    def test_templates(self) -> None:
        """A template is checked when the configuration is loaded."""
        found = self.problem(profile="custom", custom={"X-Who": "{name}"})
        self.assertIn("server.answers.custom.#1: has the unknown placeholder {name}", found)

    def test_names(self) -> None:
        """A custom header has a name of its own, which no proxy takes for another."""
        for name in (
            *("Authorization", "content-length", "Set-Cookie", "Transfer-Encoding", "X-Error-Body"),
            *("X-Envoy-Auth-Headers-To-Remove", "X-Accel-Redirect", "Access-Control-Allow-Origin"),
        ):
            found = self.problem(profile="custom", custom={name: "{username}"})
            self.assertIn("custom.#1: has a meaning of its own", found)
        for name in ("X Who", "X-Who:", "X-Wh\xf6", ""):
            self.problem(profile="custom", custom={name: "{username}"})
        self.assertIn("underscore", self.problem(profile="custom", custom={"X_Who": ""}))
        twice = {"X-Who": "{username}", "x-who": "{realm}"}
        self.assertIn("same header as X-Who", self.problem(profile="custom", custom=twice))
        many = {f"X-{number}": "" for number in range(33)}
        self.assertIn("more than 32", self.problem(profile="custom", custom=many))

    def test_path_header(self) -> None:
        """The header with the path has a name of its own."""
        self.answers(path_header="X-Auth-Path")
        for name in ("Authorization", "X_Path", "Location"):
            self.assertIn("answers.path_header: has", self.problem(path_header=name))
        for name in ("remote-user", "X-Auth-Roles", "x-who"):
            over = {"profile": "custom", "custom": CUSTOM}
            self.assertIn("answers.path_header: is", self.problem(path_header=name, **over))

    def test_contracts(self) -> None:
        """Only contracts that may ask can have answers of their own."""
        found = self.problem(contracts={"cady": {"profile": "jwt"}})
        self.assertIn("server.answers.contracts.cady: is not a contract", found)
        self.assertIn("caddy", found)
        self.answers(contracts={"fastcgi": {"profile": "jwt"}, "grpc": {"max_head_bytes": 2000}})
        only = {"server": {"contracts": ["nginx"], "answers": {"contracts": {"caddy": {}}}}}
        with self.assertRaises(ConfigError):
            self.load(laid_over(BASE, only))
        for size in (1_023, 1_048_577):
            self.problem(contracts={"nginx": {"max_head_bytes": size}})

    def test_all_problems(self) -> None:
        """Problems of one key hide no others, and cause none."""
        found = self.problem(
            encoding="latin-1",
            contracts={"nginx": {"max_head_bytes": 1}, "caddy": {"profil": "jwt"}, "grpc": {}},
        )
        self.assertEqual(len(found.splitlines()), 3, found)
        for text in ("encoding: must be", "max_head_bytes: must be", "did you mean 'profile'"):
            self.assertIn(text, found)

    def test_variables(self) -> None:
        """Environment variables set the keys of a contract."""
        at = "AOT_SERVER__ANSWERS__"
        environ = {f"{at}PROFILE": "legacy", f"{at}CONTRACTS__NGINX__MAX_HEAD_BYTES": "4096"}
        answers = self.load(BASE, **environ).file.server.answers
        self.assertEqual(answers.of_contract("nginx").max_head_bytes, 4_096)
        self.assertEqual(answers.profile, "legacy")

    def test_realms(self) -> None:
        """Headers without the realm are a warning if there are several realms."""
        other = {**BASE["providers"][0], "name": "guests", "realm": "external"}
        for answers, count in (
            ({"profile": "remote-user"}, 1),
            ({"profile": "auth-request"}, 1),
            ({"contracts": {"caddy": {"profile": "remote-user"}}}, 1),
            ({"profile": "custom", "custom": CUSTOM}, 1),
            ({"profile": "custom", "custom": {"X-Who": "{sub}"}}, 0),
            ({"profile": "legacy"}, 0),
            ({}, 0),
        ):
            over = {"server": {"answers": answers}}
            for providers, expected in (([*BASE["providers"], other], count), (..., 0)):
                content = {**over, "providers": providers} if providers is not ... else over
                found = self.load(laid_over(BASE, content)).warnings
                about = [each for each in found if each.startswith("server.answers")]
                self.assertEqual(len(about), expected, answers)

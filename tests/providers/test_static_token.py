"""The static-token provider."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, Rejected
from authotron.model.identity import Credential, Identity
from authotron.plugin.interfaces import IProvider
from authotron.providers import static_token
from authotron.testing.contracts import ProviderContract
from authotron.testing.worlds import as_deferred, world

TOKEN = "secret-token-of-more-than-32-characters"


def config(*tokens: dict[str, Any], folder: Path = Path()) -> static_token.Config:
    given = {"type": "static-token", "name": "it", "realm": "here", "tokens": list(tokens)}
    return section.read(static_token.Config, given, sources=Sources(folder))


def provider(*tokens: dict[str, Any], folder: Path = Path()) -> IProvider:
    return static_token.make(config(*tokens, folder=folder), world())


class StaticTokenContractTests(ProviderContract, SynchronousTestCase):
    """The static-token provider is a provider."""

    def provider(self) -> IProvider:
        return provider({"token": TOKEN, "username": "robot", "roles": ["reader"]})

    def good(self) -> Credential:
        return Credential("bearer", TOKEN)

    def bad(self) -> Credential:
        return Credential("bearer", TOKEN[:-1])


class StaticTokenTests(SynchronousTestCase):
    """Rules of the static-token provider."""

    def ask(self, judge: IProvider, token: str) -> Identity:
        credential = Credential("bearer", token)
        return self.successResultOf(as_deferred(judge.authenticate, credential)).identity

    def problem(self, **entry: Any) -> str:
        given = {"token": TOKEN, "username": "robot", **entry}
        wanted = {key: value for key, value in given.items() if value is not ...}
        return str(self.assertRaises(ConfigError, config, wanted).problems[0])

    def test_several(self) -> None:
        """Each token stands for its own user."""
        entries = [{"token": c * 32, "username": c, "roles": [c.upper()]} for c in "ab"]
        judge = provider(*entries)
        self.assertEqual(self.ask(judge, "b" * 32), Identity("here", "b", ("B",)))
        self.assertEqual(self.ask(judge, "a" * 32), Identity("here", "a", ("A",)))

    def test_file(self) -> None:
        """A token may come from a file; the line end is not part of it."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "token").write_text(TOKEN + "\n")
        judge = provider({"token_file": "token", "username": "robot"}, folder=folder)
        self.assertEqual(self.ask(judge, TOKEN).username, "robot")

    def test_environment(self) -> None:
        """A token may come from an environment variable."""
        with_variable = {"token_env": "HOME_OF_A_TOKEN", "username": "robot"}
        self.assertIn("token_env", str(self.assertRaises(ConfigError, config, with_variable)))
        self.patch(os, "environ", {"HOME_OF_A_TOKEN": TOKEN})
        self.assertEqual(self.ask(provider(with_variable), TOKEN).username, "robot")
        self.assertIn("one of", self.problem(token_env="HOME_OF_A_TOKEN"))

    def test_bad_tokens(self) -> None:
        """A short token, or one that a header cannot contain, is a mistake that is not repeated."""
        for token in (
            "canary",
            "canary " * 8,
            "canary," * 8,
            "canary\u2603" * 8,
            "aot_" + "x" * 40,
        ):
            message = self.problem(token=token)
            self.assertTrue(message.startswith("tokens[0].token: "), message)
            self.assertNotIn("canary", message)
        self.assertIn("missing", self.problem(token=...))

    def test_odd_credentials(self) -> None:
        """Any other string is rejected and causes no other error."""
        judge = provider({"token": TOKEN, "username": "robot"})
        for text in ("", "\u2603", "\ud800", TOKEN + " "):
            answer = as_deferred(judge.authenticate, Credential("bearer", text))
            self.failureResultOf(answer, Rejected)

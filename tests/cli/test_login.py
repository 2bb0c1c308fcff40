"""The commands for clients of a gateway: their options, and what they refuse at once."""

from __future__ import annotations

import json
import os
from typing import Any

from click.testing import Result
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.login_options import as_wish
from tests.cli.cases import CommandCase

NOTHING: dict[str, Any] = {
    **dict.fromkeys(("validity", "namespace")),
    **dict.fromkeys(("roles", "scopes", "audience", "cloak"), ()),
    **dict.fromkeys(("permissions", "methods", "hosts", "networks"), ()),
}


class WishTests(SynchronousTestCase):
    """The options that make a token narrower."""

    def test_nothing(self) -> None:
        """Without options the request body is empty."""
        self.assertEqual(as_wish(NOTHING), {})

    def test_all(self) -> None:
        """Options for requests become one restriction set, and scopes are sorted by service."""
        given = {
            "validity": "2h",
            "roles": ("reader",),
            "scopes": ("data=read", "data=list", "mail=send"),
            "audience": ("a",),
            "cloak": ("*",),
            "namespace": "/x",
            "permissions": ("/data/**:GET",),
            "methods": ("GET", "HEAD"),
            "hosts": ("data.example",),
            "networks": ("10.0.0.0/8",),
        }
        restriction = {
            "namespace": "/x",
            "permissions": ["/data/**:GET"],
            "methods": ["GET", "HEAD"],
            "hosts": ["data.example"],
            "networks": ["10.0.0.0/8"],
        }
        wish = as_wish(given)
        self.assertEqual(wish.pop("restrictions"), [restriction])
        scopes = {"data": ["read", "list"], "mail": ["send"]}
        lists = {"roles": ["reader"], "audience": ["a"], "cloak": ["*"]}
        self.assertEqual(wish, {"validity": "2h", "scopes": scopes, **lists})


class LoginCommandsTests(CommandCase):
    """Command lines and settings that are refused before a credential is sent."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.folder.absolute()

    def run_alone(self, *words: str, text: str = "", **environ: str) -> Result:
        """Run a command of a user without settings."""
        given = {name: None for name in os.environ if name.startswith("AUTHOTRON_")}
        alone = {"HOME": str(self.folder), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
        found: dict[str, Any] = {**given, **alone, **environ}
        return self.run_command(*words, text=text, **found)

    def test_no_gateway(self) -> None:
        """Without a gateway the command says where it can be named."""
        for words in (["login", "basic"], ["logout"], ["tokens", "get"], ["tokens", "exchange"]):
            found = self.run_alone(*words)
            self.assertEqual(found.exit_code, 2, found.output)
            self.assertIn(f"{self.folder}/.config/authotron/default.yaml", found.output)

    def test_unencrypted(self) -> None:
        """A gateway on another machine without TLS gets no credential."""
        words = ("login", "token", "--gateway", "http://gate.example")
        found = self.run_alone(*words, text="SECRET\n")
        self.assertEqual(found.exit_code, 78)
        self.assertIn("unencrypted", found.output)
        report = json.loads(self.run_alone(*words, "--json", text="SECRET\n").stdout)
        self.assertEqual(report["problems"][0]["path"], "gateway")

    def test_no_credential(self) -> None:
        """The kind of credential, and each part of it, must be known."""
        gateway = "https://gate.example"
        for words, text, expected in (
            (["login"], "", "name the credential"),
            (["login", "basic"], "", "User name"),
            (["login", "basic", "--user", "alice"], "\n", "Password"),
            (["login", "basic", "--user", "-"], "a:b\n", "colon"),
            (["login", "token"], "a\x1bb\n", "control character"),
            (["login", "certificate"], "", "--client-certificate-file"),
            (["tokens", "exchange", "--provider", "token"], "", "Token"),
        ):
            with self.subTest(words):
                found = self.run_alone(*words, text=text, AUTHOTRON_GATEWAY=gateway)
                self.assertEqual(found.exit_code, 2, found.output)
                self.assertIn(expected, found.output)

    def test_profile(self) -> None:
        """The name of a profile is no path."""
        for name in ("../evil", "a/b", ".hidden", ""):
            found = self.run_alone("logout", "--profile", name, AUTHOTRON_PROFILE="../evil")
            self.assertEqual(found.exit_code, 2)
            self.assertIn("name of a file", found.output)

    def test_scope(self) -> None:
        """A scope without its service is refused."""
        words = ("tokens", "exchange", "--scope", "read")
        found = self.run_alone(*words, AUTHOTRON_GATEWAY="https://gate.example")
        self.assertIn("SERVICE=SCOPE", found.output)

    def test_git(self) -> None:
        """A helper gives nothing for other services, for other actions, and does not fail."""
        gateway = {"AUTHOTRON_GATEWAY": "https://gate.example"}
        for action, text in (
            ("get", "protocol=https\nhost=evil.example\n\n"),
            ("get", "protocol=http\nhost=gate.example\n\n"),
            ("get", "protocol=https\nhost=gate.example:444\n\n"),
            ("erase", "protocol=https\nhost=evil.example\n\n"),
            ("store", ""),
            ("capability", ""),
        ):
            with self.subTest(f"{action} {text}"):
                found = self.run_alone("tokens", "git-credential", action, text=text, **gateway)
                self.assertEqual((found.exit_code, found.stdout), (0, ""))

    def test_nothing_is_created(self) -> None:
        """A command that is refused leaves no folder behind."""
        self.run_alone("login", "basic", AUTHOTRON_GATEWAY="https://gate.example")
        self.assertEqual([*self.folder.iterdir()], [])

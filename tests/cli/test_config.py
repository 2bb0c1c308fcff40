"""C{authotron config show}."""

from __future__ import annotations

import json

from tests.cli.cases import CommandCase


class ShowTests(CommandCase):
    """The values in force."""

    def test_values_without_secrets(self) -> None:
        """Values and defaults are printed one a line, and secrets are starred."""
        result = self.run_command("config", "show", self.file())
        self.assertEqual(result.exit_code, 0, result.output)
        lines = result.output.splitlines()
        for line in (
            "server.port: 8080",
            "metrics.port: 9090",
            'jwt.secret: "***"',
            'providers[0].users[0].password: "***"',
        ):
            self.assertIn(line, lines)
        self.assertNotIn("long enough", result.output)
        self.assertNotIn("wonder", result.output)

    def test_origins(self) -> None:
        """With C{--origin} each line ends with file and line, or says that it is a default."""
        path = self.file()
        result = self.run_command("config", "show", "--origin", "--config", path)
        self.assertRegex(result.output, rf"(?m)^server\.port: 8080 +# {path}:\d+$")
        self.assertRegex(result.output, r"(?m)^metrics\.port: 9090 +# default$")

    def test_only_what_is_set(self) -> None:
        """With C{--set} defaults are left out."""
        result = self.run_command("config", "show", "--set", self.file())
        self.assertIn("server.port: 8080", result.output)
        self.assertNotIn("metrics.port", result.output)

    def test_json(self) -> None:
        """With C{--json} the values stand within each other, and origins have their own member."""
        path = self.file()
        found = json.loads(self.run_command("config", "show", "--json", path).output)
        self.assertEqual(found["server"]["port"], 8080)
        self.assertEqual(found["providers"][0]["users"][0]["password"], "***")
        both = json.loads(self.run_command("config", "show", "--json", "--origin", path).output)
        self.assertEqual(both["config"], found)
        self.assertEqual(both["origin"]["server.port"]["file"], path)
        self.assertEqual(both["origin"]["metrics.port"], {"default": True})

    def test_invalid_configuration_exits_with_78(self) -> None:
        """An invalid configuration is printed as its problems, with their lines."""
        path = self.file(server={"port": "x"})
        result = self.run_command("config", "show", path)
        self.assertEqual(result.exit_code, 78)
        self.assertRegex(result.output, rf"server\.port: .* \({path}:\d+\)")

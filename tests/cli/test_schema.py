"""C{authotron schema} prints JSON Schemas."""

from __future__ import annotations

import json

from tests.cli.cases import CommandCase
from tests.config.cases import ROOT


class SchemaTests(CommandCase):
    """The forms of which there is a JSON Schema."""

    def test_default(self) -> None:
        """The default is the schema of the configuration."""
        text = self.run_command("schema").stdout
        self.assertIn("providers", json.loads(text)["properties"])
        self.assertEqual(self.run_command("schema", "configuration").stdout, text)

    def test_permission_list(self) -> None:
        """The schema of the answer of GET /permissions is printed as it is shipped."""
        printed = json.loads(self.run_command("schema", "permission-list").stdout)
        path = ROOT / "authotron" / "web" / "assets" / "permission-list.schema.json"
        self.assertEqual(printed, json.loads(path.read_text()))

    def test_unknown_form(self) -> None:
        """An unknown form is an invalid command line."""
        self.assertEqual(self.run_command("schema", "permissions").exit_code, 2)

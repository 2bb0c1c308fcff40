"""C{authotron schema} prints JSON Schemas."""

from __future__ import annotations

import json

import jsonschema

from tests.cli.cases import CommandCase


class SchemaTests(CommandCase):
    """The forms of which there is a JSON Schema."""

    def test_each_is_a_schema(self) -> None:
        """Each form has a valid JSON Schema; the default is that of the configuration."""
        found = {
            form: self.run_command("schema", *form).stdout for form in ((), ("permission-list",))
        }
        for text in found.values():
            jsonschema.Draft202012Validator.check_schema(json.loads(text))
        self.assertEqual(self.run_command("schema", "configuration").stdout, found[()])

    def test_unknown_form(self) -> None:
        """An unknown form is an invalid command line."""
        self.assertEqual(self.run_command("schema", "permissions").exit_code, 2)

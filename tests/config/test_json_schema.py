"""The shipped schema is current, and fits what the gateway accepts."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import yaml

from authotron.config import json_schema
from tests.config.cases import BASE, ROOT, ConfigCase, laid_over


class ShippedTests(ConfigCase):
    """What is shipped under etc/."""

    def test_sample(self) -> None:
        """The commented sample loads, without a warning but about its files."""
        text = (ROOT / "etc" / "authotron.yaml").read_text()
        (self.folder / "jwt-secret").write_text("a secret that is long enough for HS256\n")
        (self.folder / "alice-password").write_text("wonder\n")
        self.assertEqual(self.load(text).warnings, [])

    def test_schema_is_current(self) -> None:
        """The schema under etc/ is the one that is printed; `make schema` writes it."""
        shipped = json.loads((ROOT / "etc" / "authotron.schema.json").read_text())
        self.assertEqual(shipped, json.loads(json.dumps(json_schema.json_schema())))

    def test_schema_fits(self) -> None:
        """By the schema the base, the sample and the quick start are good, and a typo is not."""
        schema = json_schema.json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        good = [ROOT / "etc" / "authotron.yaml", ROOT / "authotron" / "cli" / "quickstart.yaml"]
        for content in (BASE, *(yaml.safe_load(path.read_text()) for path in good)):
            jsonschema.validate(content, schema)
        typos: tuple[dict[str, Any], ...] = (
            {"servr": {}},
            {"jwt": {"audience": "x"}},
            {"server": {"port": "8080"}},
        )
        for typo in typos:
            with self.subTest(repr(typo)):
                self.assertRaises(
                    jsonschema.ValidationError, jsonschema.validate, laid_over(BASE, typo), schema
                )

"""The shipped schemas are current, and fit what the gateway accepts and answers."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import yaml

from authotron.config import json_schema, policy_schemas, yaml_core
from tests.config.cases import BASE, ROOT, ConfigCase, laid_over


class ShippedTests(ConfigCase):
    """The files under etc/."""

    def test_sample_loads_without_warnings(self) -> None:
        """The commented sample can be loaded without a warning."""
        text = (ROOT / "etc" / "authotron.yaml").read_text()
        (self.folder / "jwt-secret").write_text("a secret that is long enough for HS256\n")
        (self.folder / "alice-password").write_text("wonder\n")
        self.assertEqual(self.load(text).warnings, [])

    def test_shipped_schema_is_current(self) -> None:
        """The schema under etc/ is what C{authotron schema} prints; C{make schema} writes it."""
        shipped = json.loads((ROOT / "etc" / "authotron.schema.json").read_text())
        self.assertEqual(shipped, json.loads(json.dumps(json_schema.json_schema())))

    def test_shipped_schemas_of_policies_are_current(self) -> None:
        """The schemas of rules and of tests are what C{authotron schema} prints for them."""
        for kind in ("policy-rules", "policy-tests"):
            shipped = json.loads((ROOT / "etc" / f"authotron-{kind}.schema.json").read_text())
            self.assertEqual(shipped, json.loads(json.dumps(policy_schemas.schema_of(kind))))

    def test_schemas_of_policies_accept_documented_files(self) -> None:
        """The schemas accept the rules and the tests of the documentation, and reject a typo."""
        page = (ROOT / "docs" / "policies.md").read_text()
        texts = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        blocks = [
            yaml_core.Values(str).value_of(node) for node in map(yaml_core.compose, texts) if node
        ]
        for kind, key in (("policy-rules", "rules"), ("policy-tests", "tests")):
            schema = policy_schemas.schema_of(kind)
            jsonschema.Draft202012Validator.check_schema(schema)
            validator = jsonschema.Draft202012Validator(schema)
            listed = [each.get("policy", each) for each in blocks if isinstance(each, dict)]
            found = [{key: each[key]} for each in listed if key in each]
            self.assertTrue(found)
            for content in found:
                validator.validate(content)
                wrong = {key: [{**content[key][0], "nmae": "x"}]}
                self.assertRaises(jsonschema.ValidationError, validator.validate, wrong)

    def test_schema_accepts_shipped_files(self) -> None:
        """The schema accepts the base, the sample and the quick start, and rejects a typo."""
        schema = json_schema.json_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        good = [ROOT / "etc" / "authotron.yaml", ROOT / "authotron" / "cli" / "quickstart.yaml"]
        for content in (BASE, *(yaml.safe_load(path.read_text()) for path in good)):
            validator.validate(content)
        typos: tuple[dict[str, Any], ...] = (
            {"servr": {}},
            {"jwt": {"audience": "x"}},
            {"server": {"port": "8080"}},
        )
        for typo in typos:
            with self.subTest(repr(typo)):
                wrong = laid_over(BASE, typo)
                self.assertRaises(jsonschema.ValidationError, validator.validate, wrong)

    def test_permission_list(self) -> None:
        """The schema of the answer of GET /permissions is valid."""
        path = ROOT / "authotron" / "web" / "assets" / "permission-list.schema.json"
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))

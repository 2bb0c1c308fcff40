"""The tests of policies that pages of the documentation show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cli.cases import CommandCase
from tests.config.cases import ROOT

PAGES = sorted((ROOT / "docs").glob("policies*.md"))


def tested(page: Path) -> Iterator[tuple[Any, Any]]:
    """Yield each block of tests on a page, with the policy of the configuration before it."""
    policy = None
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        content = yaml.load(block, yaml.CSafeLoader)
        if "tests" in content:
            yield policy, content
        elif "policy" in content:
            policy = content["policy"]


class PolicyPagesTests(CommandCase):
    """Pages with policies and their tests."""

    def test_tests_pass(self) -> None:
        """Every block of tests passes with the policy that the page shows before it."""
        for page in PAGES:
            blocks = [*tested(page)]
            self.assertTrue(blocks, page.name)
            for policy, content in blocks:
                file = self.folder / "tests.yaml"
                file.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper))
                config = self.file(policy=policy)
                result = self.run_command("policy", "test", "--config", config, str(file))
                self.assertEqual(result.exit_code, 0, f"{page.name}: {result.output}")

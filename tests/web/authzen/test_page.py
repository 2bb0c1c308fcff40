"""The examples of docs/authzen.md are answered as the page says."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tests.config.cases import ROOT
from tests.web.conversations import basic
from tests.web.policy_case import AskingCase

_CURL = re.compile(
    r"```sh\ncurl -u ([^:]+):(\S+) https://[^/]+(\S+) [^\n]*-d '([^']*)'\n```\n\n"
    r"```json\n(.*?)\n```",
    re.DOTALL,
)


class PageTests(AskingCase):
    """The commands of the page, with its configuration."""

    def test_examples(self) -> None:
        """Each command whose answer the page shows has this answer."""
        page = (ROOT / "docs" / "authzen.md").read_text(encoding="utf-8")
        configuration = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0]
        given: dict[str, Any] = yaml.safe_load(configuration)
        self.gateway = self.make(**given)
        examples = _CURL.findall(page)
        self.assertGreaterEqual(len(examples), 3)
        for username, password, path, body, expected in examples:
            answer = self.post(path, json.loads(body), basic(username, password))
            self.assertEqual((answer.status, answer.json()), (200, json.loads(expected)), path)

"""What watches the gateway asks for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.config.cases import ROOT
from tests.daemon.test_service import ServiceCase

PROMETHEUS = ROOT / "etc" / "prometheus"
DASHBOARD = ROOT / "etc" / "grafana" / "authotron.json"
LABELS = frozenset({"instance", "job", "le", "version", "up"})
"""What Prometheus adds, and what only some families have."""
WORDS = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")
FUNCTIONS = frozenset({"histogram_quantile", "count_values", "label_values"})


def alerts() -> list[dict[str, Any]]:
    content = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return content


def expressions() -> Iterator[str]:
    """Every question to Prometheus that we hand out."""
    yield from (rule["expr"] for rule in alerts())
    found = dashboard()
    yield from (target["expr"] for panel in found["panels"] for target in panel["targets"])
    yield from (each["expr"] for each in found["annotations"]["list"])
    yield from (
        each["query"]["query"] for each in found["templating"]["list"] if each["type"] == "query"
    )


def names_in(expression: str) -> set[str]:
    """The metrics and labels that a question names."""
    bare = re.sub(r"\"[^\"]*\"|\$\w+", "", expression)
    grouped = re.findall(r"\bby \(([^)]*)\)", bare)
    matched = re.findall(r"(\w+)=", bare)
    return {*WORDS.findall(bare), *matched, *re.findall(r"\w+", " ".join(grouped))}


class NamesTests(ServiceCase):
    """Names in alert rules and in the dashboard."""

    def known(self) -> set[str]:
        """The names of all samples that a gateway can show, and of their labels."""
        augmenter = {"type": "plain", "name": "more", "realm": "internal", "roles": {}}
        service = self.make(augmenters=[augmenter])
        service.serving.metrics.request_answered("/authenticate", "GET", 200, 0.0)
        text, _ = service.serving.metrics.text()
        names: set[str] = set(LABELS)
        for name, kind in re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text.decode()):
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names.update(name + end for end in ends)
        names.update(re.findall(r"([a-z_]+)=\"", text.decode()))
        return names

    def test_known(self) -> None:
        """Each metric and each label is one of the gateway's."""
        known = self.known() | FUNCTIONS
        asked = list(expressions())
        self.assertGreater(len(asked), 30)
        for expression in asked:
            self.assertEqual(names_in(expression) - known, set(), expression)

    def test_told(self) -> None:
        """Each alert says what it is and what to do, and how bad."""
        for rule in alerts():
            self.assertEqual(set(rule["annotations"]), {"summary", "description"}, rule["alert"])
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"), rule["alert"])

    def test_places(self) -> None:
        """No two panels of the dashboard overlap."""
        taken: set[tuple[int, int]] = set()
        for panel in dashboard()["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            taken |= cells

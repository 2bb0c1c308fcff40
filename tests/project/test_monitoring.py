"""Alerts and dashboard use existing metrics and labels."""

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
    """Yield every Prometheus expression of alerts and dashboard."""
    yield from (rule["expr"] for rule in alerts())
    found = dashboard()
    yield from (target["expr"] for panel in found["panels"] for target in panel["targets"])
    yield from (each["expr"] for each in found["annotations"]["list"])
    yield from (
        each["query"]["query"] for each in found["templating"]["list"] if each["type"] == "query"
    )


def names_in(expression: str) -> set[str]:
    """Return the metrics and labels that an expression names."""
    bare = re.sub(r"\"[^\"]*\"|\$\w+", "", expression)
    grouped = re.findall(r"\bby \(([^)]*)\)", bare)
    matched = re.findall(r"(\w+)=", bare)
    return {*WORDS.findall(bare), *matched, *re.findall(r"\w+", " ".join(grouped))}


class NamesTests(ServiceCase):
    """Names in alert rules and in the dashboard."""

    def known(self) -> set[str]:
        """Return the names of all samples of a gateway, and of their labels."""
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
        """Every metric and every label in alerts and dashboard exists in the gateway."""
        known = self.known() | FUNCTIONS
        asked = list(expressions())
        self.assertGreater(len(asked), 30)
        for expression in asked:
            self.assertEqual(names_in(expression) - known, set(), expression)

    def test_texts(self) -> None:
        """Each alert has a summary, a description and a severity."""
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

"""What a package, an image or a chart is made of fits the program."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from authotron import __version__
from authotron.config.check import Config
from tests.config.cases import ROOT, STRONG, ConfigCase

CHART = ROOT / "etc" / "helm"


def read(*path: str) -> str:
    return ROOT.joinpath(*path).read_text(encoding="utf-8")


def mapping(*path: str) -> dict[str, Any]:
    content = yaml.safe_load(read(*path))
    assert isinstance(content, dict)
    return content


def valued(values: Any, path: str) -> Any:
    """What stands at the end of a path such as C{server.port}."""
    for step in path.split("."):
        values = values[step]
    return values


def variables() -> list[tuple[str, str]]:
    """Those that the chart sets, and the paths of their values."""
    pattern = r"- name: (AOT_\w+)\s+value: {{ \.Values\.([\w.]+) \| quote }}"
    return re.findall(pattern, template("deployment"))


def template(name: str) -> str:
    return read("etc", "helm", "templates", f"{name}.yaml")


class VersionTests(SynchronousTestCase):
    """The version stands in several files."""

    def test_same(self) -> None:
        """All have that of the program."""
        debian = re.match(r"authotron \(([^)]+)\)", read("debian", "changelog"))
        assert debian is not None
        chart = mapping("etc", "helm", "Chart.yaml")
        found = {debian[1], chart["version"], chart["appVersion"]}
        self.assertEqual(found, {__version__})


class ConfigurationTests(ConfigCase):
    """Configurations that are shipped are good."""

    def credential(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a secret that is long enough for HS256")

    def test_debian(self) -> None:
        """That of the package, with the secret that its installation makes; nobody gets in."""
        self.credential("credentials/jwt-secret")
        found = self.load(read("debian", "authotron.yaml"))
        self.assertEqual(
            found.warnings, ["providers: none configured, so only API tokens can be accepted"]
        )
        self.assertEqual(list(found.providers), [])

    def test_debian_example(self) -> None:
        """The same with what is commented out in it."""
        self.credential("credentials/jwt-secret")
        self.credential("credentials/alice-password")
        password = self.folder / "credentials" / "alice-password"
        password.write_text("$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$aaaaaaaaaaaaaaaaaaaaaa")
        text = re.sub(r"(?m)^#  ", "  ", read("debian", "authotron.yaml"))
        found = self.load(text.replace("providers: []", "providers:"))
        self.assertEqual([provider.name for provider in found.providers], ["local-users"])

    def test_compose(self) -> None:
        """That of the compose example, whose secrets are handed in."""
        text = read("etc", "compose", "authotron.yaml")
        for name in re.findall(r"/run/secrets/(\S+)", text):
            self.credential(name)
        self.load(text.replace("/run/secrets", str(self.folder.absolute())))

    def chart(self) -> Config:
        """That of the chart, with the variables that it sets."""
        values = mapping("etc", "helm", "values.yaml")
        return self.load(
            values["config"],
            **STRONG,
            **{name: json.dumps(valued(values, path)) for name, path in variables()},
        )

    def test_chart(self) -> None:
        """That of the chart serves the ports that its pods are said to have."""
        values, found = mapping("etc", "helm", "values.yaml"), self.chart().file
        ports = re.findall(r"containerPort: {{ \.Values\.([\w.]+) }}", template("deployment"))
        self.assertEqual(
            [found.server.port, found.metrics.port], [valued(values, path) for path in ports]
        )

    def test_end(self) -> None:
        """A pod serves while proxies are told that it goes, then there is time to finish."""
        [told] = re.findall(
            r'preStop: {exec: {command: \[sleep, "(\d+)"]}}', template("deployment")
        )
        longest = mapping("etc", "helm", "values.yaml")["terminationGracePeriodSeconds"]
        self.assertGreater(int(told), 0)
        self.assertGreater(longest, int(told) + self.chart().file.server.grace)


class ChartTests(SynchronousTestCase):
    """The chart for Kubernetes."""

    def test_values(self) -> None:
        """Every value that a template uses has a default, and every default is used."""
        values = mapping("etc", "helm", "values.yaml")
        used = {
            path
            for template in CHART.glob("templates/*.yaml")
            for path in re.findall(r"\.Values\.([\w.]+)", template.read_text(encoding="utf-8"))
        }
        for path in used:
            found: Any = values
            for step in path.split("."):
                self.assertIn(step, found, path)
                found = found[step]
        self.assertEqual({path.partition(".")[0] for path in used}, set(values))

    def test_blocks(self) -> None:
        """Every block of a template ends."""
        for template in CHART.glob("templates/*.yaml"):
            text = template.read_text(encoding="utf-8")
            begun = len(re.findall(r"{{-? (?:if|with|range) ", text))
            self.assertEqual(begun, len(re.findall(r"{{-? end }}", text)), template.name)

    def test_probes(self) -> None:
        """Kubernetes asks C{/health} whether it lives and C{/ready} whether it is ready."""
        text = template("deployment")
        either = r'{{ ternary "metrics" "http" .Values.metrics.enabled }}'
        self.assertRegex(text, rf"livenessProbe:\s+httpGet: {{path: /health, port: {either}}}")
        self.assertRegex(text, r"httpGet: {path: /ready, port: metrics}")

    def test_ports(self) -> None:
        """Services lead to the ports by their names, whatever numbers they are given."""
        named = re.findall(r"- name: (\w+)\s+containerPort: ", template("deployment"))
        self.assertEqual(re.findall(r"targetPort: (.+)", template("service")), named)

    def test_job(self) -> None:
        """Scraped by the operator it has the job that the alerts ask for."""
        label = re.findall(r"jobLabel: (\S+)", template("servicemonitor"))
        _, metrics = template("service").split("\n---\n")
        self.assertIn(f"{label[0]}: {{{{ .Chart.Name }}}}\n", metrics)
        jobs = set(re.findall(r'job="(\w+)"', read("etc", "prometheus", "alerts.yaml")))
        self.assertEqual(jobs, {mapping("etc", "helm", "Chart.yaml")["name"]})


class ImageTests(SynchronousTestCase):
    """The image, and the example that uses it."""

    def test_sources(self) -> None:
        """All that is copied into it is there, and is not ignored."""
        kept = set(re.findall(r"(?m)^!(\S+)$", read(".dockerignore")))
        copied = {
            name
            for line in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", read("Dockerfile"))
            for name in line.split()
        }
        self.assertEqual(copied, kept)
        self.assertEqual([name for name in copied if not (ROOT / name).exists()], [])

    def test_user(self) -> None:
        """It does not run as root, and says whether it is healthy."""
        final = read("Dockerfile").rpartition("\nFROM ")[2]
        self.assertRegex(final, r"(?m)^USER [1-9]\d*:[1-9]\d*$")
        self.assertIn("\nHEALTHCHECK ", final)

    def test_compose(self) -> None:
        """Files that its services mount are there."""
        folder = ROOT / "etc" / "compose"
        services = mapping("etc", "compose", "compose.yaml")["services"]
        mounted = [
            folder / volume.split(":")[0]
            for service in services.values()
            for volume in service.get("volumes", [])
        ]
        self.assertEqual(len(mounted), 2)
        self.assertEqual([path for path in mounted if not Path(path).is_file()], [])

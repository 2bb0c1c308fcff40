"""The files of package, image and chart fit the program."""

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
    """Return the value at a path such as C{server.port}."""
    for step in path.split("."):
        values = values[step]
    return values


def variables() -> list[tuple[str, str]]:
    """Return the variables that the chart sets, with the paths of their values."""
    pattern = r"- name: (AOT_\w+)\s+value: {{ \.Values\.([\w.]+) \| quote }}"
    return re.findall(pattern, template("deployment"))


def template(name: str) -> str:
    return read("etc", "helm", "templates", f"{name}.yaml")


class VersionTests(SynchronousTestCase):
    """The version of the program, in several files."""

    def test_same(self) -> None:
        """All files have the version of the program."""
        debian = re.match(r"authotron \(([^)]+)\)", read("debian", "changelog"))
        assert debian is not None
        chart = mapping("etc", "helm", "Chart.yaml")
        found = {debian[1], chart["version"], chart["appVersion"]}
        self.assertEqual(found, {__version__})


class ConfigurationTests(ConfigCase):
    """The shipped configurations are valid."""

    def credential(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a secret that is long enough for HS256")

    def test_debian(self) -> None:
        """The configuration of the package loads, without a provider."""
        self.credential("credentials/jwt-secret")
        found = self.load(read("debian", "authotron.yaml"))
        self.assertEqual(
            found.warnings, ["providers: none configured, so only API tokens can be accepted"]
        )
        self.assertEqual(list(found.providers), [])

    def test_debian_example(self) -> None:
        """The configuration of the package loads with its commented examples."""
        self.credential("credentials/jwt-secret")
        self.credential("credentials/alice-password")
        password = self.folder / "credentials" / "alice-password"
        password.write_text("$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$aaaaaaaaaaaaaaaaaaaaaa")
        text = re.sub(r"(?m)^#  ", "  ", read("debian", "authotron.yaml"))
        found = self.load(text.replace("providers: []", "providers:"))
        self.assertEqual([provider.name for provider in found.providers], ["local-users"])

    def test_compose(self) -> None:
        """The configuration of the compose example loads with its secrets."""
        text = read("etc", "compose", "authotron.yaml")
        for name in re.findall(r"/run/secrets/(\S+)", text):
            self.credential(name)
        self.load(text.replace("/run/secrets", str(self.folder.absolute())))

    def chart(self) -> Config:
        """Return the configuration of the chart, with the variables that the chart sets."""
        values = mapping("etc", "helm", "values.yaml")
        return self.load(
            values["config"],
            **STRONG,
            **{name: json.dumps(valued(values, path)) for name, path in variables()},
        )

    def test_chart(self) -> None:
        """The configuration of the chart has the ports that the pods declare."""
        values, found = mapping("etc", "helm", "values.yaml"), self.chart().file
        ports = re.findall(r"containerPort: {{ \.Values\.([\w.]+) }}", template("deployment"))
        declared = {path: valued(values, path) for path in ports}
        example = re.findall(r"`listen: (.+?)`", read("etc", "helm", "values.yaml"))
        self.assertEqual(yaml.safe_load(example[0]), [f"grpc:tcp:{declared.pop('grpc.port')}"])
        self.assertEqual([found.server.port, found.metrics.port], [*declared.values()])

    def test_end(self) -> None:
        """A pod still serves while proxies remove it, and then has time to finish requests."""
        [drain] = re.findall(
            r'preStop: {exec: {command: \[sleep, "(\d+)"]}}', template("deployment")
        )
        longest = mapping("etc", "helm", "values.yaml")["terminationGracePeriodSeconds"]
        self.assertGreater(int(drain), 0)
        self.assertGreater(longest, int(drain) + self.chart().file.server.grace)


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
        """Services refer to the ports by their names."""
        named = re.findall(r"- name: (\w+)\s+containerPort: ", template("deployment"))
        self.assertEqual(re.findall(r"targetPort: (.+)", template("service")), named)

    def test_job(self) -> None:
        """The monitor of the operator sets the job that the alerts name."""
        label = re.findall(r"jobLabel: (\S+)", template("servicemonitor"))
        _, metrics = template("service").split("\n---\n")
        self.assertIn(f"{label[0]}: {{{{ .Chart.Name }}}}\n", metrics)
        jobs = set(re.findall(r'job="(\w+)"', read("etc", "prometheus", "alerts.yaml")))
        self.assertEqual(jobs, {mapping("etc", "helm", "Chart.yaml")["name"]})


class ImageTests(SynchronousTestCase):
    """The image, and the example that uses it."""

    def test_sources(self) -> None:
        """Every file that is copied into the image exists, and is not ignored."""
        kept = set(re.findall(r"(?m)^!(\S+)$", read(".dockerignore")))
        copied = {
            name
            for line in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", read("Dockerfile"))
            for name in line.split()
        }
        self.assertEqual(copied, kept)
        self.assertEqual([name for name in copied if not (ROOT / name).exists()], [])

    def test_user(self) -> None:
        """The image does not run as root, and has a health check."""
        final = read("Dockerfile").rpartition("\nFROM ")[2]
        self.assertRegex(final, r"(?m)^USER [1-9]\d*:[1-9]\d*$")
        self.assertIn("\nHEALTHCHECK ", final)

    def test_compose(self) -> None:
        """Files that the services of the compose example mount exist."""
        folder = ROOT / "etc" / "compose"
        services = mapping("etc", "compose", "compose.yaml")["services"]
        mounted = [
            folder / volume.split(":")[0]
            for service in services.values()
            for volume in service.get("volumes", [])
        ]
        self.assertEqual(len(mounted), 2)
        self.assertEqual([path for path in mounted if not Path(path).is_file()], [])

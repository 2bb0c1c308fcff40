"""Shipped configurations set the stricter values; C{check} warns if they are unset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.config.cases import ROOT, ConfigCase
from tests.project.test_docs import configurations

OURS = (
    ROOT / "authotron" / "cli" / "quickstart.yaml",
    ROOT / "debian" / "authotron.yaml",
    ROOT / "etc" / "authotron.yaml",
    ROOT / "etc" / "compose" / "authotron.yaml",
)
JWKS = "https://sso.example.org/realms/main/protocol/openid-connect/certs"


class ShippedTests(ConfigCase):
    """Configurations that authotron ships."""

    def read(self, path: Path) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        return content

    def test_metrics_T85b(self) -> None:
        """The metrics port of every shipped configuration is open to this machine only."""
        for path in OURS:
            self.assertEqual(self.read(path)["metrics"]["host"], "127.0.0.1", path)

    def test_chart_T85b(self) -> None:
        """The chart opens the metrics port to the cluster explicitly."""
        values = self.read(ROOT / "etc" / "helm" / "values.yaml")
        self.assertEqual(values["config"]["metrics"]["host"], "0.0.0.0")

    def test_compat_T86d(self) -> None:
        """Shipped configurations with a store disable C{GET /token}."""
        for path in OURS[:3]:
            self.assertEqual(self.read(path)["store"], {"enabled": False, "compat": False}, path)

    def test_pages_T86d(self) -> None:
        """The stores in the documentation disable C{GET /token}."""
        stores = [content.get("store") or {} for _, content in configurations()]
        written = [store.get("compat") for store in stores if store.get("type") == "sqlite"]
        self.assertEqual(set(written), {False})

    def providers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for place, content in configurations():
            for each in content.get("providers") or ():
                yield place, each

    def test_issuer_T99(self) -> None:
        """Shown C{jwt} providers set C{issuer} and C{audience}."""
        shown = [(place, each) for place, each in self.providers() if each["type"] == "jwt"]
        self.assertGreater(len(shown), 0)
        for place, each in shown:
            self.assertEqual({"issuer", "audience"} - set(each), set(), place)
        sample = (ROOT / "etc" / "authotron.yaml").read_text(encoding="utf-8")
        self.assertIn("#   issuer: https://", sample)
        self.assertIn("#   audience: [", sample)


class WarningsTests(ConfigCase):
    """Warnings about unset keys, with the line to add."""

    def warned(self, part: str, **over: Any) -> list[str]:
        return [each for each in self.changed(**over).warnings if part in each]

    def test_metrics_T85b(self) -> None:
        """There is a warning if the metrics port is open to other machines only by default."""
        everywhere = {"host": "0.0.0.0"}
        for server in (everywhere, {"host": "192.0.2.1"}, {"host": ...}):
            [warning] = self.warned("metrics.host", server=server)
            self.assertIn("`host: 127.0.0.1`", warning)
        only_listen = {"host": ..., "port": ..., "listen": ["unix:/x:mode=660"]}
        self.assertEqual(len(self.warned("metrics.host", server=only_listen)), 1)
        for metrics in (everywhere, {"host": "127.0.0.1"}, {"enabled": False}):
            self.assertEqual(self.warned("metrics", server=everywhere, metrics=metrics), [])
        for host in ("127.0.0.1", "::1", "localhost"):
            self.assertEqual(self.warned("metrics", server={"host": host}), [])

    def test_metrics_elsewhere_T85b(self) -> None:
        """There is a warning if an endpoint string opens the metrics port to all machines."""
        [warning] = self.warned("metrics.listen", metrics={"listen": ["tcp:9090"]})
        self.assertIn("`:interface=127.0.0.1`", warning)
        for text in ("tcp:9090:interface=192.0.2.1", "unix:/x:mode=600"):
            self.assertEqual(self.warned("metrics.listen", metrics={"listen": [text]}), [])

    def test_default_T85b(self) -> None:
        """The default address of the metrics port is that of the main port."""
        found = self.changed(server={"host": "192.0.2.1"})
        self.assertEqual((found.file.metrics.enabled, found.file.metrics.host), (True, None))

    def test_compat_T86d(self) -> None:
        """There is a warning if C{compat} is unset in a store."""
        store = {"type": "memory"}
        [warning] = self.warned("store.compat", store=store)
        self.assertIn("`compat: false`", warning)
        for compat in (True, False):
            self.assertEqual(self.warned("store.compat", store={**store, "compat": compat}), [])
        self.assertEqual(self.warned("store.compat", store={"enabled": False}), [])

    def test_issuer_T99(self) -> None:
        """There is a warning about a C{jwt} provider without issuer or audience."""
        provider = {"type": "jwt", "name": "sso", "realm": "cloud", "cert_uri": JWKS}
        found = self.warned("providers[0]", providers=[provider])
        self.assertEqual([each.split(": ")[1] for each in found], ["issuer", "audience"])
        self.assertIn("`issuer: https://sso.example.org/realms/main`", found[0])
        self.assertIn("`audience: [...]`", found[1])
        complete = {**provider, "issuer": "https://x", "audience": ["gateway"]}
        self.assertEqual(self.warned("providers[0]", providers=[complete]), [])

    def test_vague_type_T81d(self) -> None:
        """There is a warning about the C{typ} JWT, which ID and refresh tokens have, too."""
        provider = {"type": "jwt", "name": "sso", "realm": "cloud", "issuer": "https://x"}
        for typ, count in (("JWT", 1), ("application/jwt", 1), ("at+jwt", 0), ("ID", 0)):
            found = self.warned("providers[0]", providers=[{**provider, "typ": typ}])
            self.assertEqual(sum("typ: JWT" in each for each in found), count, found)

    def test_short_secret_T96(self) -> None:
        """There is a warning about a shared secret that is too short for an allowed algorithm."""
        provider = {"type": "jwt", "name": "sso", "realm": "r", "issuer": "i", "audience": ["a"]}
        for size, algorithms, refused in (
            (40, [], "HS384 and HS512"),
            (48, [], "HS512"),
            (64, [], ""),
            (40, ["HS256"], ""),
        ):
            given = {**provider, "secret": "s" * size, "algorithms": algorithms}
            found = self.warned("secret: too short", providers=[given])
            self.assertEqual(len(found), bool(refused))
            self.assertTrue(all(f"too short for {refused}, whose" in each for each in found))

"""Imports go one way; the libraries that are awkward are each met in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent / "authotron"

LAYERS = (
    (
        "descriptors",
        "endpoint",
        "errors",
        "files",
        "hosts",
        "http_grammar",
        "lru_cache",
        "naming",
        "placeholders",
        "processes",
        "purposes",
        "reactor_time",
        "spelling",
        "strict_json",
        "tallies",
        "terminal",
    ),
    ("certificates", "fair_queue"),
    ("identity",),
    (
        "racing",
        "slots",
        "settings",
        "cache",
        "metrics",
        "systemd",
        "tls",
        "breaker",
        "hash_queue",
        "pipe",
        "wrong_pairs",
        "pieces",
        "gate",
    ),
    ("world", "tls_gates", "turns"),
    ("outward",),
    (
        "logs",
        "bodies",
        "response_heads",
        "signing_keys",
        "web_client",
        "passwords",
        "parts",
        "tokens",
        "bearer",
        "forwarding",
        "redis",
        "sharing",
        "single_thread",
    ),
    ("jwks", "ldap", "claims", "exchange", "accounts"),
    ("providers", "augmenters", "stores", "routing", "asking"),
    ("store_client", "audit"),
    ("imported", "acl_proxy"),
    ("issuing",),
    ("foreign_stores",),
    ("token_provider",),
    ("credentials", "minter"),
    ("authority",),
    ("verdicts",),
    ("config",),
    ("bare", "reloading"),
    ("configfile",),
    ("web",),
    ("compose", "keeping", "listening"),
    ("service",),
    ("worker", "child"),
    ("crew",),
    ("supervisor",),
    ("tap",),
    ("cli", "testing"),
    ("__main__",),
)
"""From values up to the edges. A module imports from lower layers, or its own package's top."""

ALONE = {
    "yaml": {"configfile", "cli.migrate"},
    "prometheus_client": {"metrics"},
    "treq": {"web_client"},
    "ldaptor": {"ldap.wire"},
    "txmongo": {"stores.mongo"},
    "pymongo": {"stores.mongo"},
    "klein": {"web.replies", "web.site", "web.public", "web.operations"},
}
"""Libraries, and the only modules that may import them."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def layer(name: str) -> int:
    top = name.partition(".")[0]
    return next(number for number, names in enumerate(LAYERS) if top in names)


class LayerTests(SynchronousTestCase):
    """The arrows of the design."""

    def test_downwards(self) -> None:
        """No module imports from a layer above its own, nor a part its sibling."""
        for name, tree in modules():
            for target in imports(tree):
                if not target.startswith("authotron.") or name == "__init__":
                    continue
                imported = target.removeprefix("authotron.")
                if imported.startswith("__"):
                    continue
                with self.subTest(f"{name} imports {imported}"):
                    self.assertLessEqual(layer(imported), layer(name))
                    self.assertFalse(self.siblings(name, imported))

    def siblings(self, name: str, imported: str) -> bool:
        parts = {"providers", "augmenters", "stores"}
        package, _, rest = name.partition(".")
        other, _, module = imported.partition(".")
        inside = (ROOT / other / f"{module.partition('.')[0]}.py").exists()
        return package in parts and bool(rest) and other == package and inside

    def test_alone(self) -> None:
        """Libraries that are awkward stay where they are wrapped."""
        for name, tree in modules():
            for target in imports(tree):
                allowed = ALONE.get(target.partition(".")[0])
                with self.subTest(f"{name} imports {target}"):
                    self.assertTrue(allowed is None or name in allowed)

    def test_no_package_in_the_way(self) -> None:
        """The folders of the plugin are no packages, or they would hide Twisted's own."""
        plugins = ROOT.parent / "twisted"
        self.assertEqual(list(plugins.rglob("__init__.py")), [])

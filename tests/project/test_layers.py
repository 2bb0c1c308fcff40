"""Packages import one way, by one table; each awkward library stays in the module that wraps it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.sources import parsed

ROOT = Path(__file__).parents[2] / "authotron"

MAY_IMPORT = {
    # ground
    "model": "",
    "policy": "model",
    "config": "model policy",
    "concurrency": "model",
    "limits": "model concurrency config",
    "telemetry": "model config",
    # the outside
    "net": "model concurrency config limits",
    "jose": "model concurrency config net",
    "ldap": "model concurrency config limits net plugin",
    "mtls": "model concurrency net",
    # what is plugged in
    "plugin": "model concurrency config limits net jose",
    "providers": "model concurrency config limits net jose ldap mtls plugin",
    "augmenters": "model concurrency config net ldap plugin",
    "authorizers": "model config net jose plugin",
    "stores": "model concurrency config limits net plugin",
    # the gateway
    "tokens": "model policy concurrency config limits telemetry net jose plugin",
    "gateway": "model policy concurrency config limits telemetry jose plugin tokens",
    # edges
    "web": "model policy concurrency config limits telemetry jose plugin tokens gateway",
    # proxies in front of the gateway
    "proxy_config": "model config plugin gateway",
    # attacks one of them from outside, so it knows nothing of the gateway: TLS, and which headers
    "probe": "model concurrency net proxy_config",
    # logs clients in at a gateway, as another program that knows its HTTP interface
    "login": "model concurrency config net",
    # processes
    "daemon": "model policy concurrency config limits telemetry net jose plugin tokens gateway web",
    "cli": "model policy concurrency config limits telemetry net jose plugin stores tokens gateway "
    "web proxy_config probe login daemon",
    # for other projects
    "client": "",
    "testing": "model concurrency config net jose plugin gateway",
}
"""
For each package of authotron the other packages that it may import.

Providers, augmenters, authorizers and stores are imported by C{config.plugins.load} alone, by their
C{type:}.
"""

PLUGGED_IN = {"providers", "augmenters", "authorizers", "stores"}

ALONE = {
    "yaml": {"config.yaml_file", "config.yaml_core"},
    "prometheus_client": {"telemetry.metrics"},
    "treq": {"testing.remotes"},
    "ldaptor": {"ldap.encoding"},
    "txmongo": {
        "stores.mongo",
        "stores.mongo_client",
        "stores.mongo_connections",
        "stores.mongo_documents",
        "stores.mongo_records",
    },
    "pymongo": {
        "stores.mongo",
        "stores.mongo_client",
        "stores.mongo_connections",
        "stores.mongo_documents",
        "stores.mongo_errors",
        "stores.mongo_records",
        "stores.mongo_stream",
        "stores.mongo_uri",
    },
    "jwt": {"jose", "cli.jwt", "testing.echo", "testing.issuers", "client"},
    "argon2": {"plugin.passwords"},
    "bcrypt": {"plugin.passwords"},
    "OpenSSL": {"net.http", "net.reasons", "net.tls", "net.tls_gates"},
    "cryptography": {
        "mtls",
        "jose",
        "net.certificates",
        "net.rejections",
        "testing.issuers",
        "client",
    },
    "klein": {"web"},
    "h2": {"web.grpc.connection", "web.grpc.frames"},
    "hyperframe": {"web.grpc.connection"},
    "google": {"web.grpc.messages"},
    "uvloop": {"daemon.uvloop.reactor"},
    "werkzeug": {"web.routing", "client.flask"},
}
"""Libraries, and the only modules or packages that may import them."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), parsed(path)


TREES = dict(modules())


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


IMPORTS = {name: [*imports(tree)] for name, tree in TREES.items()}


def imported_modules(name: str) -> Iterator[str]:
    """Yield the modules of authotron that a module imports, by their names inside the package."""
    for target in IMPORTS[name]:
        if target.startswith("authotron."):
            inside = target.removeprefix("authotron.")
            yield inside if inside in TREES else inside.rpartition(".")[0]


def package(name: str) -> str:
    return name.partition(".")[0]


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """Return the modules in circles of imports, and the modules that import these."""
    left = dict(arrows)
    while done := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in done:
            del left[name]
    return sorted(left)


class LayerTests(SynchronousTestCase):
    """The imports between packages and modules."""

    def test_every_module_is_in_a_package(self) -> None:
        """Besides C{__main__} no module stands at the top, and every package is in the table."""
        found = {package(name) for name in TREES} - {"__init__", "__main__", ""}
        self.assertEqual(found, set(MAY_IMPORT))
        self.assertEqual({path.name for path in ROOT.glob("*.py")}, {"__init__.py", "__main__.py"})

    def test_packages_import_as_the_table_says(self) -> None:
        """A package imports only those that the table names beside it."""
        for name in TREES:
            if name.startswith("__"):
                continue
            allowed = {package(name), *MAY_IMPORT[package(name)].split()}
            for target in imported_modules(name):
                with self.subTest(f"{name} imports {target}"):
                    self.assertIn(package(target) or package(name), allowed)

    def test_table_has_no_circle(self) -> None:
        """No two packages may import each other, directly or through others."""
        self.assertEqual(circles({name: {*to.split()} for name, to in MAY_IMPORT.items()}), [])

    def test_no_circle_inside_a_package(self) -> None:
        """Inside a package no two modules import each other, directly or through others."""
        arrows = {name: {*imported_modules(name)} - {name} for name in TREES}
        self.assertEqual(circles(arrows), [])

    def test_plugins_do_not_know_each_other(self) -> None:
        """No module of a plugin imports another plugin of its package."""
        for name in TREES:
            for target in imported_modules(name):
                if package(name) == package(target) and package(name) in PLUGGED_IN:
                    with self.subTest(f"{name} imports {target}"):
                        self.assertNotIn("make", defined(target))

    def test_awkward_libraries_stay_alone(self) -> None:
        """Each listed library is imported only by the modules that wrap it."""
        for name, targets in IMPORTS.items():
            for target in targets:
                allowed = ALONE.get(target.partition(".")[0])
                with self.subTest(f"{name} imports {target}"):
                    self.assertTrue(allowed is None or allowed & {name, package(name)})

    def test_no_package_in_the_way(self) -> None:
        """The folders of the plugin are no packages, or they would hide Twisted's own."""
        plugins = ROOT.parent / "twisted"
        self.assertEqual(list(plugins.rglob("__init__.py")), [])


def defined(name: str) -> set[str]:
    """Return the functions that a module defines."""
    return {node.name for node in TREES[name].body if isinstance(node, ast.FunctionDef)}

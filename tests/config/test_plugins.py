"""Plugins of other packages with mistakes, as their developers and their operators meet them."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import yaml
from twisted.internet.task import Clock

from authotron.config import json_schema, plugins
from authotron.config.check import Config
from authotron.config.file import load
from authotron.daemon.compose import compose
from authotron.daemon.reload import Reloader
from authotron.model.errors import ConfigError, Problem
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import world
from tests.cli.cases import CommandCase
from tests.config.cases import BASE, laid_over

PLUGIN = """
from typing import Literal
from authotron.plugin import Affinity, ConfigError, IProvider, PluginConfig, Problem
from zope.interface import implementer

class Config(PluginConfig):
    type: Literal["csv-users"]
    file: str = "users.csv"

@implementer(IProvider)
class Users:
    type, scheme, local = "csv-users", "basic", True
    def __init__(self, name, realm):
        self.name, self.realm = name, realm
    def affinity(self, credential):
        return Affinity.POSSIBLE
    def authenticate(self, credential):
        raise NotImplementedError

def make(config, world):
    return Users(config.name, config.realm)
"""

SECTION = {"type": "csv-users", "name": "csv", "realm": "here", "file": "users.csv"}
AT = "providers[0].type: plugin 'csv-users' (csvusers.users)"


class PluginCase(CommandCase):
    """Installs a package with the provider C{csv-users}, whose module a test writes."""

    kind = "providers"

    def setUp(self) -> None:
        super().setUp()
        self.site = self.folder / "site"
        metadata = self.site / "csvusers-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: csvusers\nVersion: 1\n")
        self.point = metadata / "entry_points.txt"
        self.changes = count(1)
        self.patch(sys, "path", [str(self.site.absolute()), *sys.path])
        self.patch(sys, "dont_write_bytecode", True)
        self.addCleanup(self.forget)

    def forget(self) -> None:
        for name in [each for each in sys.modules if each.partition(".")[0] == "csvusers"]:
            del sys.modules[name]
        importlib.invalidate_caches()

    def install(self, code: str, name: str = "csv-users", module: str = "csvusers.users") -> None:
        self.forget()
        self.point.write_text(f"[authotron.{self.kind}]\n{name} = {module}\n")
        package = self.site / "csvusers"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        (package / "users.py").write_text(code)
        # The package counts as installed anew, although its folder stays.
        changed = next(self.changes)
        os.utime(self.site, ns=(changed, changed))
        importlib.invalidate_caches()

    def problems(self) -> list[str]:
        """Check and compose a configuration with the plugin; return its problems."""
        path = Path(self.file(providers=[SECTION]))
        try:
            compose(load(path, {}), world(Clock()), Metrics())
        except ConfigError as error:
            return [str(each).replace(str(path), "x.yaml") for each in error.problems]
        return []

    def line_of(self, text: str) -> int:
        lines = (self.folder / "config.yaml").read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)


class MakeTests(PluginCase):
    """Problems that C{make} reports."""

    def test_good(self) -> None:
        """A plugin without mistakes is accepted."""
        self.install(PLUGIN)
        self.assertEqual(self.problems(), [])

    def made(self, statement: str) -> list[str]:
        self.install(
            PLUGIN.replace("    return Users(config.name", f"    {statement}\n    return (0")
        )
        return self.problems()

    def test_string_W_MAKE(self) -> None:
        """A C{ConfigError} with a string is one problem of the section of the plugin."""
        for error in ("'no users'", "['no users']", "Problem('', 'no users')"):
            with self.subTest(error):
                [problem] = self.made(f"raise ConfigError({error})")
                self.assertEqual(problem, f"providers[0]: no users (x.yaml:{self.line_of('- ')})")

    def test_relative_path_W_MAKE(self) -> None:
        """A path relative to the section is completed, with the line of the key in the file."""
        for path in ("file", "providers[0].file"):
            [problem] = self.made(f"raise ConfigError([Problem({path!r}, 'is empty')])")
            line = self.line_of("file:")
            self.assertEqual(problem, f"providers[0].file: is empty (x.yaml:{line})")

    def test_several_W_MAKE(self) -> None:
        """All problems of one C{ConfigError} are reported; without any the section is named."""
        found = self.made("raise ConfigError([Problem('file', 'one'), 'two'])")
        self.assertEqual(
            [each.partition(" (")[0] for each in found],
            [
                "providers[0].file: one",
                "providers[0]: two",
            ],
        )
        [problem] = self.made("raise ConfigError([])")
        self.assertTrue(problem.startswith("providers[0]: the plugin reports a problem"), problem)

    def test_command_W_MAKE(self) -> None:
        """C{check} prints the problem as text and as JSON and exits with 78."""
        self.made("raise ConfigError('no users')")
        path = self.file(providers=[SECTION])
        done = self.run_command("check", path)
        self.assertEqual((done.exit_code, done.exception), (78, done.exception))
        self.assertIn("providers[0]: no users", done.stderr)
        done = self.run_command("check", "--json", path)
        self.assertEqual(done.exit_code, 78)
        [problem] = json.loads(done.stdout)["problems"]
        self.assertEqual((problem["path"], problem["message"]), ("providers[0]", "no users"))

    def test_validator_W_MAKE(self) -> None:
        """A validator of the section may raise C{ConfigError}, too; its path is completed."""
        validator = (
            "\n    def model_post_init(self, context):\n"
            "        raise ConfigError([Problem('file', 'is empty')])\n"
        )
        self.install(PLUGIN.replace('file: str = "users.csv"\n', f"file: str\n{validator}"))
        [problem] = self.problems()
        line = self.line_of("file:")
        self.assertEqual(problem, f"providers[0].file: is empty (x.yaml:{line})")

    def test_text_is_kept_by_pickle_W_MAKE(self) -> None:
        """An error of a string has the same problem as an error with a list of one problem."""
        self.assertEqual(ConfigError("no users").problems, (Problem("", "no users"),))


MISTAKES = (
    ("import csvv\n" + PLUGIN, "cannot be imported: ModuleNotFoundError: No module named 'csvv'"),
    ("def make(:\n", "cannot be imported: SyntaxError: "),
    ("raise ValueError('canary')\n", "cannot be imported: ValueError at users.py:1"),
    ("raise SystemExit(3)\n", "cannot be imported: SystemExit at users.py:1"),
    (PLUGIN.replace("class Config(", "class Confg("), "it has no class Config; is Confg meant?"),
    (
        PLUGIN.replace("class Config(PluginConfig)", "class Config"),
        "its Config is not a class that",
    ),
    (PLUGIN.replace("def make(", "def build("), "it has no function make(config, world)"),
    (PLUGIN.replace('["csv-users"]', '["csv"]'), "the key type of its Config is Literal['csv']"),
)
"""Modules of plugins with one mistake each, and what the problem of the configuration says."""


class UnusableTests(PluginCase):
    """Plugins that cannot be imported, or whose modules lack what every plugin has."""

    def test_mistakes_W_IMPORT(self) -> None:
        """A mistake in a module is a problem of its type, with file and line, not a traceback."""
        for code, words in MISTAKES:
            with self.subTest(words):
                self.install(code)
                [problem] = self.problems()
                self.assertTrue(problem.startswith(AT), problem)
                self.assertIn(words, problem)
                self.assertTrue(problem.endswith(f"(x.yaml:{self.line_of('type: csv')})"), problem)
                self.assertNotIn("canary", problem)

    def test_missing_module_W_IMPORT(self) -> None:
        """An entry point that names a missing module or attribute is a problem of its type."""
        for module, words in (
            ("csvusers.userz", "ModuleNotFoundError: No module named 'csvusers.userz'"),
            ("csvusers.users:Nothing", "AttributeError: "),
        ):
            self.install(PLUGIN, module=module)
            [problem] = self.problems()
            self.assertIn(f"({module}) cannot be imported: {words}", problem)

    def test_commands_W_IMPORT(self) -> None:
        """C{check}, C{config show} and C{tokens list} exit with 78 and print the problem."""
        path = self.file(providers=[SECTION], store={"type": "memory"})
        for code, words in MISTAKES:
            self.install(code)
            for command in (("check",), ("config", "show"), ("tokens", "list")):
                with self.subTest(f"{words} {command}"):
                    done = self.run_command(*command, "--config", path)
                    self.assertEqual(done.exit_code, 78, done.output)
                    self.assertIn(AT, done.stderr)

    def test_schema_W_IMPORT(self) -> None:
        """The schema has all other types; what is left out is a warning on standard error."""
        for code, words in MISTAKES[::3]:
            with self.subTest(words):
                self.install(code)
                done = self.run_command("schema")
                self.assertEqual(done.exit_code, 0, done.output)
                self.assertIn("plain", done.stdout)
                self.assertNotIn("csv-users", done.stdout)
                [warning] = [each for each in done.stderr.splitlines() if "csv-users" in each]
                self.assertIn(words, warning)
                self.assertTrue(warning.startswith("warning: "), warning)

    def test_no_schema_W_IMPORT(self) -> None:
        """A C{Config} that has no JSON Schema is left out of the schema, with a warning."""
        kept = "    model_config = {'arbitrary_types_allowed': True}\n    file: type(open)\n"
        self.install(PLUGIN.replace('    file: str = "users.csv"\n', kept))
        unusable: list[str] = []
        self.assertNotIn("csv-users", json.dumps(json_schema.json_schema(unusable)))
        [reason] = unusable
        self.assertIn("has no JSON Schema", reason)

    def test_reload_W_IMPORT(self) -> None:
        """A reload keeps the old configuration, and gives the reason."""
        old = load(Path(self.file()), {})
        self.install(MISTAKES[0][0])
        path, refused = Path(self.file(providers=[SECTION])), list[Sequence[str]]()

        async def prepare(_: Config) -> None:
            raise AssertionError

        reloader = Reloader[None](
            lambda: load(path, {}), old, prepare, lambda _: None, refused.append
        )
        self.successResultOf(reloader.reload())
        [[problem]] = refused
        self.assertIn(AT, problem)

    def test_others_are_named_W_IMPORT(self) -> None:
        """A plugin that cannot be used does not hide the known types from another problem."""
        self.install(MISTAKES[0][0])
        error = self.assertRaises(ConfigError, plugins.load, "providers", "plane", "providers[0]")
        self.assertIn("did you mean 'plain'", str(error))

    def test_validator_W_IMPORT(self) -> None:
        """A defect of a method of C{Config} is a problem of the section, with its place."""
        for method in (
            "model_post_init(self, context)",
            "warnings(self)",
            "count_connections(self, limit)",
        ):
            with self.subTest(method):
                body = f"\n    def {method}:\n        return {{}}['canary']\n"
                self.install(PLUGIN.replace('file: str = "users.csv"\n', f"file: str\n{body}"))
                [problem] = self.problems()
                self.assertTrue(problem.startswith("providers[0]: "), problem)
                self.assertRegex(problem, r"failed: KeyError at users.py:\d+ ")
                self.assertNotIn("canary", problem)

    def test_string_of_warnings_W_RESULT(self) -> None:
        """A string that C{warnings} returns is one warning, not one for each letter."""
        body = "\n    def warnings(self):\n        return 'owl'\n"
        self.install(PLUGIN.replace('file: str = "users.csv"\n', f"file: str\n{body}"))
        found = load(Path(self.file(providers=[SECTION])), {})
        self.assertIn("providers[0]: owl", found.warnings)


class PathTests(PluginCase):
    """The values that a plugin gets."""

    def test_absolute_path_W_MAKE(self) -> None:
        """A C{FilePath} is absolute, beside the configuration, and need not exist."""
        code = PLUGIN.replace("PluginConfig, Problem", "FilePath, PluginConfig, Problem")
        self.install(code.replace('file: str = "users.csv"', "file: FilePath"))
        path = Path(self.file(providers=[SECTION]))
        self.assertFalse(path.is_absolute())
        [section] = load(path, {}).providers
        self.assertEqual(vars(section)["file"], path.absolute().parent / "users.csv")


class StoreTests(PluginCase):
    """A token store of another package."""

    kind = "stores"

    def test_store_W_IMPORT(self) -> None:
        """A store whose module has a mistake is a problem of C{store.type}."""
        self.install(PLUGIN)
        given = laid_over(BASE, {"store": {"type": "csv-users"}})
        path = self.folder / "config.yaml"
        path.write_text(yaml.dump(given, Dumper=yaml.CSafeDumper))
        error = self.assertRaises(ConfigError, load, path, {})
        self.assertIn("store.type: plugin 'csv-users'", str(error))
        self.assertIn("not a class that derives from StoreConfig", str(error))


class NotInstalledTests(PluginCase):
    """A type for which no package is installed."""

    def test_unknown_W_IMPORT(self) -> None:
        """The problem names the type that was written, and asks for the package."""
        [problem] = self.problems()
        self.assertIn("providers[0].type: unknown type 'csv-users' of providers", problem)
        self.assertIn("is its package installed in this environment?", problem)


CONTRACT = """
from typing import Literal
from authotron.plugin import ConfigError, Contract, ContractConfig, Endpoint, Header
from authotron.plugin import X_FORWARDED, fixed, sources

class Config(ContractConfig):
    type: Literal["my-proxy"]

def make(config, forwarded):
    return Contract("my-proxy", (fixed(config, X_FORWARDED, "/auth/my-proxy", ["path"]),))
"""


class ContractTests(PluginCase):
    """Contracts of proxies: those of authotron, and those of other packages."""

    kind = "contracts"

    def install(self, code: str, name: str = "my-proxy", module: str = "csvusers.users") -> None:
        super().install(code, name, module)

    def listed(self, contracts: object) -> list[str]:
        """Return the names of the contracts, or the problems."""
        path = Path(self.file(server={**BASE["server"], "contracts": contracts}))
        try:
            gateway = compose(load(path, {}), world(Clock()), Metrics())
        except ConfigError as error:
            return [str(each).partition(" (")[0] for each in error.problems]
        return [each.name for each in gateway.contracts.contracts]

    def test_default(self) -> None:
        """If nothing is configured, every installed contract is used."""
        self.install(CONTRACT)
        self.assertEqual(len(self.listed(None)), 9)
        self.assertIn("my-proxy", self.listed(None))

    def test_other_package(self) -> None:
        """A contract of another package is found by its entry point."""
        self.install(CONTRACT)
        self.assertEqual(self.listed(["envoy", "my-proxy"]), ["envoy", "my-proxy"])
        self.assertEqual(self.listed([{"type": "my-proxy", "required": []}]), ["my-proxy"])
        self.assertEqual(self.listed([]), [])

    def test_problems(self) -> None:
        """Unknown proxies, duplicates and wrong values are problems at their place."""
        for contracts, expected in (
            (["trafik"], "server.contracts[0].type: unknown type 'trafik' of contracts"),
            (["envoy", {"type": "envoy"}], "server.contracts[1].type: is listed twice"),
            ([{"prefix": "X-"}], "server.contracts[0].type: is missing"),
            ([7], "server.contracts[0]: must be the type of a proxy, or a mapping"),
            ([{"type": "envoy", "prefix": "X-"}], "server.contracts[0]: unknown key"),
            ([{"type": "haproxy", "prefix": "X Y"}], "server.contracts[0].prefix: "),
            ("envoy", "server.contracts: "),
        ):
            with self.subTest(contracts):
                [problem] = self.listed(contracts)
                self.assertTrue(problem.startswith(expected), problem)

    def test_defects(self) -> None:
        """A contract whose C{make} fails, or takes the path of another one, is a problem."""
        [make] = [line.strip() for line in CONTRACT.splitlines() if "return" in line]
        for other, expected in (
            ("raise ConfigError('no')", "server.contracts[1]: no"),
            ("1 / 0", "server.contracts[1]: building contract 'my-proxy' failed: ZeroDivision"),
            ("return 7", "server.contracts[1]: make() of contract 'my-proxy' does not return a"),
            (
                'Endpoint("/auth/my-proxy", sources(address=Header("X")))',
                "server.contracts[1]: the contract reads the fact 'address' from Header(name='X')",
            ),
            (
                'return Contract("my-proxy", (Endpoint("/auth/envoy", {}, appends=True),))',
                "server.contracts[1]: has a path that another contract has, too",
            ),
        ):
            with self.subTest(other):
                self.install(CONTRACT.replace(make, other))
                [problem] = self.listed(["envoy", "my-proxy"])
                self.assertTrue(problem.startswith(expected), problem)

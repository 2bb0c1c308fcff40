"""What may stand in a configuration, and how its mistakes are told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from twisted.trial.unittest import SynchronousTestCase

from authotron import config, configfile
from authotron.config import Config
from authotron.errors import ConfigError

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "tests" / "examples").glob("*.yaml"))
STRONG = {"AOT_JWT__SECRET": "a secret that is long enough for HS256"}

BASE: dict[str, Any] = {
    "version": "2.0.0",
    "server": {"host": "127.0.0.1", "port": 8080},
    "jwt": {"iss": "gate", "secret": "a secret that is long enough for HS256"},
    "providers": [
        {
            "type": "plain",
            "name": "staff",
            "realm": "internal",
            "users": [{"username": "alice", "password": "wonder"}],
        }
    ],
}


def laid_over(base: Any, over: Any) -> Any:
    """Mappings are merged, everything else is replaced; C{...} takes a key away."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    merged = {**base, **{key: laid_over(base.get(key), value) for key, value in over.items()}}
    return {key: value for key, value in merged.items() if value is not ...}


class ConfigCase(SynchronousTestCase):
    """How to read one."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def load(self, content: Any, **environ: str) -> Config:
        path = self.folder / "config.yaml"
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return configfile.load(path, environ)

    def changed(self, **over: Any) -> Config:
        return self.load(laid_over(BASE, over))

    def problems(self, content: Any, **environ: str) -> list[str]:
        error = self.assertRaises(ConfigError, self.load, content, **environ)
        return [str(problem) for problem in error.problems]

    def problem(self, **over: Any) -> str:
        [problem] = self.problems(laid_over(BASE, over))
        return problem


class ExamplesTests(ConfigCase):
    """Every example of the documents."""

    def test_all(self) -> None:
        """They load, fragments laid over a small base; the one that must fail, fails."""
        self.assertGreater(len(EXAMPLES), 25)
        for path in EXAMPLES:
            with self.subTest(path.name):
                content = laid_over(BASE, yaml.safe_load(path.read_text()))
                if "fails" in path.name:
                    self.assertIn("8080", self.problems(content, **STRONG)[0])
                else:
                    self.load(content, **STRONG)

    def test_placeholder_T78(self) -> None:
        """An example's secret that everybody knows is refused."""
        path = next(path for path in EXAMPLES if "complete" in path.name)
        problems = self.problems(laid_over(BASE, yaml.safe_load(path.read_text())))
        self.assertTrue(problems[0].startswith("jwt: "))
        self.assertIn("placeholder", problems[0])


class ShippedTests(ConfigCase):
    """What is shipped under etc/."""

    def test_sample(self) -> None:
        """The commented sample loads, without a warning but about its files."""
        text = (ROOT / "etc" / "authotron.yaml").read_text()
        (self.folder / "jwt-secret").write_text("a secret that is long enough for HS256\n")
        (self.folder / "alice-password").write_text("wonder\n")
        self.assertEqual(self.load(text).warnings, [])

    def test_schema_is_current(self) -> None:
        """The schema under etc/ is the one that is printed; `make schema` writes it."""
        shipped = json.loads((ROOT / "etc" / "authotron.schema.json").read_text())
        self.assertEqual(shipped, json.loads(json.dumps(config.schema())))

    def test_schema_fits(self) -> None:
        """By the schema the base, the sample and the quick start are good, and a typo is not."""
        schema = config.schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        good = [ROOT / "etc" / "authotron.yaml", ROOT / "authotron" / "cli" / "quickstart.yaml"]
        for content in (BASE, *(yaml.safe_load(path.read_text()) for path in good)):
            jsonschema.validate(content, schema)
        typos: tuple[dict[str, Any], ...] = (
            {"servr": {}},
            {"jwt": {"audience": "x"}},
            {"server": {"port": "8080"}},
        )
        for typo in typos:
            with self.subTest(repr(typo)):
                self.assertRaises(
                    jsonschema.ValidationError, jsonschema.validate, laid_over(BASE, typo), schema
                )


class MistakesTests(ConfigCase):
    """Each mistake is one clear line with its path."""

    def test_unknown_key_T78(self) -> None:
        """An unknown key comes with a suggestion, at any depth."""
        self.assertIn("did you mean 'exp'", self.problem(jwt={"expp": 5}))
        self.assertEqual(
            self.problem(loging={"level": "info"}), "loging: unknown key; did you mean 'logging'?"
        )
        self.assertEqual(
            self.problem(auth={"cache": {"tll": 5}}),
            "auth.cache.tll: unknown key; did you mean 'ttl'?",
        )

    def test_unknown_key_in_a_part_T78(self) -> None:
        """So it does in the list of providers."""
        provider = {**BASE["providers"][0], "user": []}
        self.assertEqual(
            self.problem(providers=[provider]),
            "providers[0].user: unknown key; did you mean 'users'?",
        )

    def test_unknown_type(self) -> None:
        """An unknown type comes with the known ones."""
        problem = self.problem(providers=[{"type": "plane", "name": "a", "realm": "b"}])
        self.assertIn("providers[0].type", problem)
        self.assertIn("did you mean 'plain'", problem)

    def test_pepper_at_once(self) -> None:
        """A pepper that is missing is told with the rest."""
        key = {"alg": "ES256", "key_file": "key.pem", "secret": ...}
        store = {"type": "redis"}
        over = {"jwt": key, "store": store, "providers": [{"type": "plain"}]}
        problems = self.problems(laid_over(BASE, over))
        self.assertEqual(problems[-1].partition(":")[0], "store.pepper")
        self.assertGreater(len(problems), 1)

    def test_all_at_once(self) -> None:
        """All are told at once."""
        content = laid_over(
            BASE,
            {
                "server": {"port": 99999},
                "jwt": {"exp": 1.5},
                "logging": {"level": "loud"},
                "providers": [{"type": "magic"}, {"type": "plain", "name": "x"}, 5],
            },
        )
        found = self.problems(content)
        for path in (
            "server.port",
            "jwt.exp",
            "logging.level",
            "providers[0].type",
            "providers[1].realm",
            "providers[1].users",
            "providers[2]",
        ):
            with self.subTest(path):
                self.assertTrue(any(line.startswith(f"{path}: ") for line in found), found)

    def test_one_line_each(self) -> None:
        """Each says enough by itself."""
        for over, part in (
            ({"metrics": {"port": 8080}}, "same port"),
            ({"logging": {"level": "loud"}}, "trace"),
            ({"auth": {"cache": {"ttl": "soon"}}}, "auth.cache.ttl: is no duration"),
            ({"auth": {"timeout_in_ms": -1}}, "auth.timeout_in_ms"),
            ({"server": {"host": "not a host"}}, "server.host"),
            ({"server": {"port": "8080"}}, "server.port"),
            (
                {"server": {"host": ..., "port": ..., "listen": ["unx:/x"]}},
                "server.listen[0]: is no",
            ),
            ({"metrics": {"listen": ["tcp:x"]}}, "metrics.listen[0]: is no endpoint"),
            ({"server": {"port": True}}, "server.port"),
            ({"jwt": {"alg": "none"}}, "jwt.alg: must be one of 'HS256', "),
            ({"auth": {"cache": {"ttl": float("inf")}}}, "auth.cache.ttl"),
            ({"auth": {"timeout_in_ms": 10**400}}, "auth.timeout_in_ms"),
            ({"jwt": {"exp": 10**400}}, "jwt.exp"),
            ({"jwt": {"exp": 0}}, "jwt.exp: must be at least 1"),
            ({"jwt": {"alg": "ES256"}}, "key_file"),
            ({"services": [{"name": "x", "scopes": [""]}]}, "services[0].scopes[0]"),
            ({"store": {"enabled": True, "type": "papyrus"}}, "store.type"),
            ({"providers": {}}, "providers: must be a list"),
            ({"include_legacy_headers": "perhaps"}, "true or false"),
        ):
            with self.subTest(part):
                self.assertIn(part, self.problem(**over))

    def test_scalar_is_no_list(self) -> None:
        """A text is not a list of letters."""
        provider = laid_over(BASE["providers"][0], {})
        provider["users"] = [{"username": "a", "password": "b", "roles": "admin"}]
        self.assertEqual(
            self.problem(providers=[provider]), "providers[0].users[0].roles: must be a list"
        )

    def test_empty_items(self) -> None:
        """An empty item of a list is a mistake."""
        provider = laid_over(BASE["providers"][0], {})
        provider["users"] = [{"username": "a", "password": "b", "roles": ["x", " "]}]
        self.assertIn("roles[1]: must not be empty", self.problem(providers=[provider]))

    def test_name_of_an_origin(self) -> None:
        """No provider is called like what stands for it where an owner was imported."""
        name = "imported:acl-proxy"
        provider = laid_over(BASE["providers"][0], {"name": name})
        told = "providers[0].name: must not begin with imported:"
        self.assertEqual(self.problem(providers=[provider]), told)

    def test_doubles(self) -> None:
        """Two providers of one name are a mistake."""
        self.assertEqual(
            self.problem(providers=BASE["providers"] * 2),
            "providers[1].name: 'staff' is the name of providers[0], too",
        )

    def test_secrets_stay_secret_T77(self) -> None:
        """No mistake repeats a secret."""
        provider = laid_over(
            BASE["providers"][0], {"users": [{"password": "CANARY", "x": "CANARY"}]}
        )
        text = "\n".join(
            self.problems(laid_over(BASE, {"jwt": {"secret": "CANARY"}, "providers": [provider]}))
        )
        self.assertNotIn("CANARY", text)


class WorkersTests(ConfigCase):
    """Several processes."""

    def processes(self, **server: Any) -> int:
        return self.laid(server=server).file.server.processes

    def laid(self, **over: Any) -> Config:
        return self.load(laid_over(BASE, over))

    def test_number(self) -> None:
        """One, if nothing is said; as many as are said; or one for each processor."""
        self.assertEqual(self.processes(), 1)
        self.assertEqual(self.processes(workers=3), 3)
        self.assertEqual(self.processes(workers="auto"), len(os.sched_getaffinity(0)))

    def test_odd(self) -> None:
        """None, or very many, or half of one, are mistakes."""
        for number in (0, -1, 257, 1.5, "two", True):
            with self.subTest(repr(number)):
                self.assertTrue(self.problems(laid_over(BASE, {"server": {"workers": number}})))

    def test_memory(self) -> None:
        """They cannot share a store that is in the memory of one of them."""
        problem = self.problem(server={"workers": 2}, store={"type": "memory"})
        self.assertEqual(problem, "store.type: several workers cannot share memory")
        self.laid(server={"workers": 1}, store={"type": "memory"})

    def test_endpoints(self) -> None:
        """They share sockets, and not what an endpoint would do beyond that, such as TLS."""
        server = {"host": ..., "port": ..., "workers": 2}
        listen = ["tcp:80", "tcp6:80", "unix:/x", "systemd"]
        self.laid(server={**server, "listen": listen})
        problem = self.problem(server={**server, "listen": ["ssl:443:privateKey=x"]})
        self.assertIn("several workers cannot share ssl", problem)


class WarningsTests(ConfigCase):
    """What can be run, but somebody should hear of it."""

    def test_none(self) -> None:
        """A good configuration has none."""
        self.assertEqual(self.load(BASE).warnings, [])

    def test_each(self) -> None:
        """Weak secrets, audiences kept back, deprecated parts."""
        for over, part in (
            ({"jwt": {"secret": "sixteen bytes..."}}, "shorter than 32 bytes"),
            ({"jwt": {"aud": "x"}}, "emit_aud"),
            ({"providers": []}, "nobody gets in"),
            (
                {"augmenters": [{"type": "plain", "name": "a", "realm": "internal", "roles": {}}]},
                "deprecated",
            ),
            (
                {"augmenters": [{"type": "plain", "name": "a", "realm": "x", "roles": {}}]},
                "no provider has its realm",
            ),
        ):
            with self.subTest(part):
                self.assertIn(part, "\n".join(self.changed(**over).warnings))

    def test_ambiguous_subjects_T25(self) -> None:
        """A realm that continues another one with a hyphen is a warning: subjects may collide."""
        staff = BASE["providers"][0]
        for realm, warned in (("internal-lab", True), ("internallab", False), ("lab", False)):
            with self.subTest(realm):
                found = self.changed(providers=[staff, {**staff, "name": "b", "realm": realm}])
                text = "\n".join(found.warnings)
                self.assertEqual(f"'internal' and {realm!r}" in text, warned)

    def test_readable_by_others_T78(self) -> None:
        """A file everybody can read holds no secrets."""
        path = self.folder / "open.yaml"
        path.write_text(yaml.safe_dump(BASE))
        path.chmod(0o644)
        self.assertIn("everybody", configfile.load(path, {}).warnings[0])


class SecretsTests(ConfigCase):
    """Where secrets may come from."""

    def secret(self, found: Config) -> str:
        assert found.file.jwt.secret is not None
        return found.file.jwt.secret.get_secret_value()

    def test_file(self) -> None:
        """A file beside the configuration; its line end is no part of the secret."""
        (self.folder / "key").write_text("a secret that is long enough in a file\n")
        found = self.changed(jwt={"secret": ..., "secret_file": "key"})
        self.assertEqual(self.secret(found), "a secret that is long enough in a file")

    def test_systemd_credential(self) -> None:
        """The credentials directory of systemd comes first."""
        credentials = self.folder / "credentials"
        credentials.mkdir()
        (credentials / "key").write_text("a secret that systemd has handed over")
        (self.folder / "key").write_text("a secret that is long enough in a file")
        self.patch_environment("CREDENTIALS_DIRECTORY", str(credentials))
        found = self.changed(jwt={"secret": ..., "secret_file": "key"})
        self.assertEqual(self.secret(found), "a secret that systemd has handed over")

    def test_folder_of_credentials(self) -> None:
        """A folder that systemd loads as credentials; the one beside may be closed to us."""
        credentials = self.folder / "handed-over"
        credentials.mkdir()
        (credentials / "credentials_key").write_text("a secret that systemd has handed over")
        self.patch_environment("CREDENTIALS_DIRECTORY", str(credentials))
        found = self.changed(jwt={"secret": ..., "secret_file": "credentials/key"})
        self.assertEqual(self.secret(found), "a secret that systemd has handed over")

    def patch_environment(self, name: str, value: str) -> None:
        self.addCleanup(os.environ.pop, name)
        os.environ[name] = value

    def test_both(self) -> None:
        """A secret and a file of it are one too many."""
        self.assertIn("not both", self.problem(jwt={"secret_file": "key"}))

    def test_missing(self) -> None:
        """A file that is not there is told by its path."""
        problem = self.problem(jwt={"secret": ..., "secret_file": "nowhere"})
        self.assertTrue(problem.startswith("jwt.secret_file: cannot read "), problem)
        self.assertIn("nowhere", problem)

    def test_not_shown(self) -> None:
        """A configuration does not show them."""
        self.assertNotIn("long enough", repr(self.load(BASE)))
        self.assertNotIn("wonder", repr(self.load(BASE)))


class EnvironmentTests(ConfigCase):
    """C{AOT_SECTION__KEY}."""

    def test_values(self) -> None:
        """Numbers, switches, lists, quoted and plain texts."""
        found = self.load(
            BASE,
            AOT_SERVER__PORT="8081",
            AOT_METRICS__ENABLED="false",
            AOT_JWT__ISS='"12345"',
            AOT_SERVICES='[{name="archive",scopes=["read"]}]',
            AOT_LOGGING__LEVEL="debug",
        )
        file = found.file
        self.assertEqual((file.server.port, file.metrics.enabled), (8081, False))
        self.assertEqual((file.jwt.iss, file.logging.level), ("12345", "debug"))
        self.assertEqual(file.services[0].scopes, ("read",))

    def test_text_that_looks_like_a_number(self) -> None:
        """Where a text is wanted, it is one."""
        found = self.load(
            BASE, AOT_JWT__SECRET="12345678901234567890123456789012", AOT_JWT__ISS="true"
        )
        assert found.file.jwt.secret is not None
        self.assertEqual(
            found.file.jwt.secret.get_secret_value(), "12345678901234567890123456789012"
        )
        self.assertEqual(found.file.jwt.iss, "true")

    def test_unknown(self) -> None:
        """Names nobody knows are not read; below a known section they are mistakes."""
        self.load(BASE, AOT_NONSENSE="1", AOT_CONFIG_PATH="x", AOT_JWT_ISS="x")
        self.assertEqual(
            self.problems(BASE, AOT_JWT__ISSUER="x"),
            ["jwt.issuer: unknown key" + "; did you mean 'iss'?"],
        )

    def test_misspelt_section(self) -> None:
        """A variable of a section nobody knows is not read, and somebody hears of it."""
        found = self.load(BASE, AOT_LOGING__LEVEL="debug")
        self.assertEqual(found.warnings, ["AOT_LOGING__LEVEL is not read; did you mean 'logging'?"])

    def test_json(self) -> None:
        """Lists may be written as JSON, too."""
        found = self.load(BASE, AOT_SERVICES='[{"name": "archive"}]')
        self.assertEqual(found.file.services[0].name, "archive")


class FileTests(ConfigCase):
    """What is no good as a file."""

    def test_hostile_T78(self) -> None:
        """Duplicates, bombs, objects, garbage: a line each, no traceback."""
        bomb = "a: &a [x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n"
            for n in range(20)
        )
        for text, part in (
            ("version: '2.0.0'\nversion: '1.0.0'\n", "stands twice"),
            (bomb, "aliases"),
            ("x: !!python/object/apply:os.system [ls]", "constructor"),
            ("[1, 2]", "mapping"),
            ("", "empty"),
            ("a: [", ""),
            ("? [a]\n: b", ""),
            ("a: !!int ''", ""),
            ("a: !!bool zz", ""),
            ("a: !!timestamp foo", ""),
            ("a: b: c", ":1:"),
            ("version: 2.0", "version"),
            ("\x00", ""),
        ):
            with self.subTest(text[:40]):
                [problem] = self.problems(text)
                self.assertIn(part, problem)

    def test_missing(self) -> None:
        """A file that is not there is told by its path, with a hint."""
        error = self.assertRaises(ConfigError, configfile.load, self.folder / "none.yaml", {})
        self.assertIn("AOT_CONFIG_PATH", str(error))

    def test_not_utf8(self) -> None:
        """A file that is not UTF-8 is refused."""
        path = self.folder / "latin.yaml"
        path.write_bytes(b"version: \xe9")
        self.assertRaises(ConfigError, configfile.load, path, {})


class OlderTests(ConfigCase):
    """Version 1.0.0."""

    def older(self, **over: Any) -> dict[str, Any]:
        base = laid_over(
            BASE, {"version": "1.0.0", "server": ..., "bind_address": "127.0.0.1:8080"}
        )
        merged: dict[str, Any] = laid_over(base, over)
        return merged

    def test_loads(self) -> None:
        """An address becomes host and port; metrics are on 9090."""
        file = self.load(self.older(bind_address="[::1]:81")).file
        self.assertEqual((file.server.host, file.server.port), ("::1", 81))
        self.assertEqual((file.metrics.enabled, file.metrics.port), (True, 9090))

    def test_metrics_ignored(self) -> None:
        """A metrics section is not read, and that is told."""
        found = self.load(self.older(metrics={"enabled": False}))
        self.assertTrue(found.file.metrics.enabled)
        self.assertIn("metrics", "\n".join(found.warnings))

    def test_bad_address(self) -> None:
        """An address that is none is a mistake."""
        for address in (":8080", "localhost", "127.0.0.1:http", 8080, "::1:8080"):
            with self.subTest(repr(address)):
                [problem] = self.problems(self.older(bind_address=address))
                self.assertIn("bind_address", problem)

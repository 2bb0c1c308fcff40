"""What may stand in a configuration, and how its mistakes are told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import given
from hypothesis import strategies as some
from pydantic import BaseModel
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import json_schema, plugins
from authotron.config.check import Config
from authotron.config.environment import KeyKind, read_value
from authotron.config.fields import nested_section, secret_keys
from authotron.config.file import load
from authotron.config.schema import File
from authotron.model.errors import ConfigError

ROOT = Path(__file__).parents[2]
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


JWT = {"type": "jwt", "name": "j", "realm": "j", "cert_uri": "https://x"}
HASH = "$2b$04$abcdefghijklmnopqrstuuIVN9LQBQsaEDuPvlFbP4Fxs5X1E0jgu"
LDAP = {"type": "ldap", "name": "l", "realm": "l", "uri": "ldap://localhost", "search_base": "o=x"}


def laid_over(base: Any, over: Any) -> Any:
    """Mappings are merged, everything else is replaced; C{...} takes a key away."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    merged = {**base, **{key: laid_over(base.get(key), value) for key, value in over.items()}}
    return {key: value for key, value in merged.items() if value is not ...}


def shipped_sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections of the file and of all plugins, those inside of them included."""
    yield "jwt", File.model_fields["jwt"].annotation  # type: ignore[misc] # a section
    for kind in ("providers", "augmenters", "stores"):
        for module in plugins.every(kind):
            yield from sections_in(module.__name__, module.Config)


def sections_in(name: str, section: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield name, section
    for key in section.model_fields:
        below = nested_section(section, key)
        if below is not None:
            yield from sections_in(f"{name}.{key}", below)


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
        return load(path, environ)

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
        self.assertEqual(shipped, json.loads(json.dumps(json_schema.json_schema())))

    def test_schema_fits(self) -> None:
        """By the schema the base, the sample and the quick start are good, and a typo is not."""
        schema = json_schema.json_schema()
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

    def test_secret_for_a_key_T91e(self) -> None:
        """What stands in the place of a key is not shown, as it may be a secret."""
        user = {"username": "alice", "password": "x"}
        plain = BASE["providers"][0]
        for over, path in (
            ({"CANARY": None}, "unknown key, number"),
            ({"jwt": {"secret CANARY": None}}, "jwt: unknown key, number"),
            ({"jwt": {"secret:CANARY": None}}, "jwt: unknown key, number"),
            ({"jwt": {"secretCANARY": "x"}}, "jwt: unknown key, number"),
            ({"jwt": {"CANARY": {"deep": "CANARY"}}}, "jwt: unknown key, number"),
            ({"providers": [{**plain, "CANARY1": 1}]}, "providers[0]: unknown key, number"),
            (
                {"providers": [{**plain, "users": [{**user, "CANARY-2": 1}]}]},
                "providers[0].users[0]",
            ),
            ({"providers": [{**plain, "users": ["CANARY"]}]}, "providers[0].users[0]: must be"),
            (
                {"providers": [{**plain, "users": [{**user, "password": ["CANARY"]}]}]},
                ".password: m",
            ),
            (
                {"providers": [{**plain, "users": [{**user, "password": {"CANARY": 1}}]}]},
                "password",
            ),
            ({"providers": ["CANARY"]}, "providers[0]: must be a mapping"),
            ({"providers": [{**plain, "type": "CANARY"}]}, "providers[0].type: is not a type of"),
            ({"version": "CANARY"}, "version: is unknown"),
            ({"store": {"type": "sqlite", "path": "x", "pepper CANARY": ""}}, "store: unknown key"),
            ({"logging": {"level": "CANARY"}}, "logging.level: must be one of"),
            ({"server": {"port": "CANARY"}}, "server.port"),
            ({"server": "CANARY"}, "server: must be a mapping"),
            (
                {"server": {"port": ..., "listen": ["CANARY"]}},
                "server.listen[0]: is not an endpoint",
            ),
            ({"providers": [{**JWT, "algorithms": ["CANARY"]}]}, "algorithms[0] is not one of"),
            ({"providers": [{**LDAP, "uri": "ldap://a:CANARY@x"}]}, "uri[0]: must have only"),
            ({"providers": [{**LDAP, "uri": "x://a:CANARY@x"}]}, "uri[0]: is not the address"),
            ({"providers": [{**JWT, "cert_uri": "https://a:CANARY@x"}]}, "cert_uri: must not hold"),
            ({"store": {"type": "mongo", "uri": "x://a:CANARY@x", "database": "d"}}, "store.uri: "),
        ):
            with self.subTest(over=str(over)):
                told = "\n".join(self.problems(laid_over(BASE, over)))
                self.assertNotIn("CANARY", told)
                self.assertIn(path, told)

    def test_odd_keys_T91e(self) -> None:
        """Keys that are no texts are not shown either, and end in no traceback."""
        for text in ("1234567: x", "? [1234567]\n: x", "1234567.5: x", "2024-01-01: x", "null: x"):
            told = "\n".join(self.problems(f"{yaml.safe_dump(BASE)}\n{text}\n"))
            self.assertNotIn("1234567", told)
            nested = f"{yaml.safe_dump(laid_over(BASE, {'jwt': ...}))}\njwt: {{{text}}}\n"
            if not text.startswith("?"):
                self.assertNotIn("1234567", "\n".join(self.problems(nested)))

    def test_secret_for_a_chosen_key_T91e(self) -> None:
        """Keys that the configuration chooses are counted, not shown, where their value is bad."""
        entry = {"token": "t" * 40, "username": "u", "attributes": {"mail": "m", "CANARY": None}}
        tokens = {"type": "static-token", "name": "s", "realm": "s", "tokens": [entry]}
        problem, *_ = self.problems(laid_over(BASE, {"providers": [tokens]}))
        self.assertEqual(
            problem, "providers[0].tokens[0].attributes.#1: must be a string; put it in quotes"
        )

    def test_slips_are_shown_T78f(self) -> None:
        """A slip of a known key is shown with a suggestion, a known key with a tail is not."""
        for key, shown in (
            ("secrt", True), ("scret", True), ("secrets", True), ("Secret", True),
            ("audience", True), ("password", False),
            ("secret_fil", True), ("secretfile", True), ("isss42", False), ("secret1", False),
            ("secretary-of-state", False), ("secret_of_mine", False),
            ("hunter", False), ("correct-horse", False), ("expelliarmus", False),
        ):  # fmt: skip
            told = "\n".join(self.problems(laid_over(BASE, {"jwt": {key: "x"}})))
            self.assertEqual(f"jwt.{key}: unknown key" in told, shown, told)
            self.assertEqual(key in told, shown, told)

    def test_variables_T91e(self) -> None:
        """The names and values of environment variables are not shown."""
        for name, value in (
            ("AOT_JWT__SECRET_CANARY", "x"),
            ("AOT_JWT__CANARY", "x"),
            ("AOT_SERVER__PORT", "CANARY"),
            ("AOT_JWT", "CANARY"),
            ("AOT_JWT", '{"CANARY": 1}'),
            ("AOT_PROVIDERS", "[CANARY]"),
            ("AOT_VERSION", "CANARY"),
        ):
            with self.subTest(name):
                self.assertNotIn("CANARY", "\n".join(self.problems(BASE, **{name: value})))
        found = self.load(BASE, AOT_CANARY__X="CANARY")
        self.assertEqual(found.warnings, ["a variable that begins with AOT_ is ignored"])

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
            ({"auth": {"cache": {"ttl": "soon"}}}, "auth.cache.ttl: is not a duration"),
            ({"auth": {"timeout_in_ms": -1}}, "auth.timeout_in_ms"),
            ({"server": {"host": "not a host"}}, "server.host"),
            ({"server": {"port": "8080"}}, "server.port"),
            (
                {"server": {"host": ..., "port": ..., "listen": ["unx:/x"]}},
                "server.listen[0]: is no",
            ),
            ({"metrics": {"listen": ["tcp:x"]}}, "metrics.listen[0]: is not an endpoint"),
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
            "providers[1].name: duplicate name 'staff' (also of providers[0])",
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
            ({"providers": []}, "none configured"),
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

    def test_bad_service_T82b(self) -> None:
        """A provider whose name cannot name a service is a warning: its scopes are left out."""
        for name, warned in (("sso ", True), ("ss\u200bo", True), ("my sso", False)):
            found = self.changed(providers=[{**BASE["providers"][0], "name": name}])
            text = "\n".join(found.warnings)
            self.assertEqual(
                f"scopes of its tokens are left out, as its name {name!a}" in text, warned
            )

    def test_readable_by_others_T78(self) -> None:
        """A file everybody can read holds no secrets."""
        path = self.folder / "open.yaml"
        path.write_text(yaml.safe_dump(BASE))
        path.chmod(0o644)
        self.assertIn("readable by all users", load(path, {}).warnings[0])


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

    def test_all_files_from_credentials_D3(self) -> None:
        """The files of certificates and keys come from the credentials of systemd, too."""
        credentials = self.folder / "credentials"
        credentials.mkdir()
        for name in ("ca.pem", "client.pem", "client.key"):
            (credentials / name).write_text("not a certificate, but read from here")
        self.patch_environment("CREDENTIALS_DIRECTORY", str(credentials))
        remote = {"type": "http", "name": "r", "realm": "r", "url": "https://x"}
        shown = {"client_certificate_file": "client.pem", "client_key_file": "client.key"}
        for files in ({"ca_file": "ca.pem"}, shown):
            [problem] = self.problems(laid_over(BASE, {"providers": [{**remote, **files}]}))
            self.assertIn(f"{credentials}", problem)
            self.assertIn("certificate in PEM", problem)
        mongo = {"type": "mongo", "uri": "mongodb://x/y", "database": "y"}
        for store in (mongo, {"type": "redis"}):
            content = laid_over(BASE, {"store": {**store, "tls": True, "tls_ca_file": "ca.pem"}})
            found: Any = self.load(
                {**content, "store": {**content["store"], "pepper": "p" * 40}}
            ).store
            self.assertEqual(found.tls_ca_file, credentials / "ca.pem")

    def test_data_beside_the_configuration_D3(self) -> None:
        """What is written is never looked for among the credentials, which are to be read."""
        credentials = self.folder / "credentials"
        credentials.mkdir()
        (credentials / "tokens.db").write_text("")
        self.patch_environment("CREDENTIALS_DIRECTORY", str(credentials))
        found: Any = self.changed(store={"type": "sqlite", "path": "tokens.db"}).store
        self.assertEqual(found.path, self.folder / "tokens.db")

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

    def test_twins_of_all_secrets_S_PLACEHOLDER(self) -> None:
        """Every secret of every plugin may come from a file or a variable, as the schema says."""
        secrets = 0
        for name, section in shipped_sections():
            known = section.model_json_schema()["properties"]
            for key in secret_keys(section):
                secrets += 1
                self.assertLessEqual({f"{key}_file", f"{key}_env"}, set(known), (name, key))
        self.assertGreater(secrets, 12)

    def test_variable_S_PLACEHOLDER(self) -> None:
        """Secrets of any section may come from variables, as they stand there."""
        users = [{"username": "alice", "password_env": "ALICE_PASSWORD"}]
        remote = {
            "type": "http", "name": "r", "realm": "r", "url": "https://x", "token_env": "OF_IT",
        }  # fmt: skip
        over = {
            "jwt": {"secret": ..., "secret_env": "OUR_SECRET"},
            "providers": [{"type": "plain", "name": "p", "realm": "p", "users": users}],
            "augmenters": [remote],
            "store": {"type": "redis", "password_env": "OF_REDIS", "pepper_env": "OUR_SECRET"},
        }
        secret = '"quoted" # $and ${more} a secret that is long enough'
        variables = {
            "OUR_SECRET": secret,
            "ALICE_PASSWORD": "w",
            "OF_REDIS": "r",
            "OF_IT": "t",
        }
        content = laid_over(BASE, over)
        content["store"]["pepper_env"] = "PEPPER_OF_IT"
        found = self.load(content, **variables, PEPPER_OF_IT="p" * 40)
        self.assertEqual(self.secret(found), secret)
        sections: Any = (*found.providers, *found.augmenters, found.store)
        provider, augmenter, store = sections
        self.assertEqual(provider.users[0].password.get_secret_value(), "w")
        self.assertEqual(augmenter.token.get_secret_value(), "t")
        self.assertEqual(store.password.get_secret_value(), "r")

    def test_bad_variable_S_PLACEHOLDER(self) -> None:
        """A variable that is not set or empty is a mistake with its path, without its name."""
        for variables, why in (
            ({}, "names an environment variable that is not set"),
            ({"CANARY_1": ""}, "names an environment variable that is empty"),
            ({"CANARY_1": " \n"}, "names an environment variable that is empty"),
        ):
            over = {"secret": ..., "secret_env": "CANARY_1"}
            [problem] = self.problems(laid_over(BASE, {"jwt": over}), **variables)
            self.assertEqual(problem, f"jwt.secret_env: {why}")
            user = {"username": "x", "password_env": "CANARY_1"}
            plain = {"type": "plain", "name": "p", "realm": "p", "users": [user]}
            [problem] = self.problems(laid_over(BASE, {"providers": [plain]}), **variables)
            self.assertEqual(problem, f"providers[0].users[0].password_env: {why}")

    def test_several_ways_S_PLACEHOLDER(self) -> None:
        """A secret comes in one way; which of them is wanted is not guessed."""
        told = "jwt: give one of secret, secret_file and secret_env, not both"
        self.assertEqual(self.problem(jwt={"secret_env": "X"}), told)
        over = {"secret": ..., "secret_env": "X", "secret_file": "y"}
        self.assertEqual(self.problem(jwt=over), told)
        self.assertIn("must be the name", self.problem(jwt={"secret": ..., "secret_env": 5}))

    def test_placeholder_S_PLACEHOLDER(self) -> None:
        """A secret that is nothing but an unfilled C{${...}} is a mistake, wherever it stands."""
        for text in ("${ALICE_PASSWORD}", "${ALICE_PASSWORD:-CANARY}", " ${A} "):
            user = {"username": "alice", "password": text}
            plain = {"type": "plain", "name": "p", "realm": "p", "users": [user, user]}
            remote = {"type": "http", "name": "r", "realm": "r", "url": "https://x", "token": text}
            store = {"type": "mongo", "uri": text, "database": "x"}
            over = {"providers": [plain, remote], "augmenters": [remote], "store": store}
            problems = self.problems(laid_over(BASE, over))
            self.assertNotIn("CANARY", str(problems))
            places = [each.partition(": is a placeholder")[0] for each in problems]
            for place in (
                "providers[0].users[1].password",
                "providers[1].token",
                "augmenters[0].token",
            ):
                self.assertIn(place, places)
        (self.folder / "key").write_text("${SECRET_OF_THE_GATEWAY_TO_BE_FILLED_IN}\n")
        problem = self.problem(jwt={"secret": ..., "secret_file": "key"})
        self.assertIn("jwt.secret: is a placeholder", problem)

    def test_perhaps_placeholder_S_PLACEHOLDER(self) -> None:
        """What may be a placeholder of another tool gets a warning, without the text."""
        for text in ("$ALICE_PASSWORD", "{{ alice.pass }}", "%(alice)s", "%ALICE%", "<password>",
                     "x${Y}z", "$(pass alice)", "change-me", "CHANGEME", "@alice@"):  # fmt: skip
            user = {"username": "alice", "password": text}
            found = self.changed(providers=[{**BASE["providers"][0], "users": [user]}])
            [warning] = found.warnings
            self.assertEqual(
                warning,
                "providers[0].users[0].password: looks like a placeholder that a tool should "
                "have filled in",
            )

    def test_no_placeholder_S_PLACEHOLDER(self) -> None:
        """Hashes and passwords of odd characters are none."""
        for text in ("$ecret", "a$B", "{x}", "a<b>c", "100%", "%41lice", "$", "pa$$w0rd", "x@y@z"):
            user = {"username": "alice", "password": text}
            found = self.changed(providers=[{**BASE["providers"][0], "users": [user]}])
            self.assertEqual(found.warnings, [], text)
        user = {"username": "alice", "password_hash": HASH}
        found = self.changed(providers=[{**BASE["providers"][0], "users": [user]}])
        self.assertEqual(found.warnings, [])

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

    def test_secret_as_it_stands_S_ENVSECRET(self) -> None:
        """A secret is taken as it stands, without at most one pair of double quotes around it."""
        for text, meant in (
            ('"abc"#tail and more', '"abc"#tail and more'),
            ('"abc #tail and more"', "abc #tail and more"),
            ('""abc#tail and more""', '"abc#tail and more"'),
            ("'abc#tail and more'", "'abc#tail and more'"),
            (r'"a\u0041\n#tail and more"', r"a\u0041\n#tail and more"),
            ("0x10203040506070809000000", "0x10203040506070809000000"),
            ('["a", "tail and more"]', '["a", "tail and more"]'),
            ('{a = "tail and more"}', '{a = "tail and more"}'),
            ("  blanks around it  ", "  blanks around it  "),
            ("a line end behind\n", "a line end behind"),
            ("1_000_000_000_000_000", "1_000_000_000_000_000"),
            ('"half of a pair of them', '"half of a pair of them'),
        ):
            found = self.load(BASE, AOT_JWT__SECRET=text)
            assert found.file.jwt.secret is not None
            self.assertEqual(found.file.jwt.secret.get_secret_value(), meant)

    def test_texts_S_ENVSECRET(self) -> None:
        """A string that is not a secret is taken as it stands, without blanks around it."""
        for text, meant in (
            (' "a"#b ', '"a"#b'),
            ("a # b", "a # b"),
            ("'a'", "'a'"),
            ("true", "true"),
            ("1", "1"),
            ("2024-01-01", "2024-01-01"),
            ("[a]", "[a]"),
        ):
            self.assertEqual(self.load(BASE, AOT_JWT__ISS=text).file.jwt.iss, meant)
        found = self.load(BASE, AOT_LOGGING__LEVEL=" debug\n", AOT_JWT__AUD="12", AOT_JWT__KID="1")
        self.assertEqual((found.file.logging.level, found.file.jwt.aud), ("debug", "12"))
        self.assertEqual(self.load(BASE, AOT_JWT__AUD='["a", "b"]').file.jwt.aud, ("a", "b"))
        self.assertIsNone(self.load(BASE, AOT_JWT__AUD="").file.jwt.aud)

    def test_secrets_of_a_store_S_ENVSECRET(self) -> None:
        """The type of the store, of the file or a variable, says which of its keys are secrets."""
        store = {"AOT_STORE__PASSWORD": '"a"#b', "AOT_STORE__PEPPER": "1" * 40}
        for found in (
            self.load({**BASE, "store": {"type": "redis"}}, **store),
            self.load(BASE, **store, AOT_STORE__TYPE="redis"),
        ):
            stored: Any = found.store
            self.assertEqual(stored.password.get_secret_value(), '"a"#b')
            self.assertEqual(stored.pepper.get_secret_value(), "1" * 40)

    def test_secret_file_S_ENVSECRET(self) -> None:
        """The twins of a secret may be given by variables, too."""
        base = laid_over(BASE, {"jwt": {"secret": ...}})
        found = self.load(base, AOT_JWT__SECRET_ENV="OUR", OUR="a secret that is long enough")
        assert found.file.jwt.secret is not None
        self.assertEqual(found.file.jwt.secret.get_secret_value(), "a secret that is long enough")

    def test_lists_without_quotes_S_ENVSECRET(self) -> None:
        """In lists and mappings texts may go without quotes; a hash sign ends nothing."""
        for text, password in (
            ("[{type=plain, name=e, realm=r, users=[{username=eve, password=a#b}]}]", "a#b"),
            ('[{type="plain",name="e",realm="r",users=[{username="eve",password="a#b"}]}]', "a#b"),
            ("[{'type': plain, name: e, realm: r, users: [{username: eve, password: a b}]}]", None),
            ("[{type=plain, name=e, realm=r, users=[{username=eve, password='a b'}]}]", "'a b'"),
            ('[{type=plain,name=e,realm=r,users=[{username=eve,password="]}\\"#"}]}]', ']}"#'),
            (
                '[{"type":"plain","name":"e","realm":"r","users":[{"username":"eve","password":"\\u0061"}]}]',
                "a",
            ),
        ):
            if password is None:
                self.problems(BASE, AOT_PROVIDERS=text)
                continue
            provider: Any = self.load(BASE, AOT_PROVIDERS=text).providers[0]
            self.assertEqual(provider.users[0].password.get_secret_value(), password)

    def test_switches_with_blanks_S_ENVSECRET(self) -> None:
        """Blanks around numbers and switches do not count."""
        found = self.load(BASE, AOT_METRICS__ENABLED=" false\n", AOT_SERVER__PORT=" 8081 ")
        self.assertEqual((found.file.metrics.enabled, found.file.server.port), (False, 8081))

    @given(some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"])))
    def test_any_secret_S_ENVSECRET(self, text: str) -> None:
        """Whatever a variable holds is the secret, letter by letter."""
        self.assertEqual(read_value(f'"{text}"', KeyKind.SECRET), text)
        if not (len(text) > 1 and text[0] == '"') and not text.endswith(("\r", "\n")):
            self.assertEqual(read_value(text, KeyKind.SECRET), text)

    def test_quotes_that_stay_S_ENVSECRET(self) -> None:
        """A variable that keeps quotes or backslashes of a shell or of TOML gets a warning."""
        secret = "a secret that is long enough for it"
        for name, text, warned in (
            ("AOT_JWT__SECRET", f"'{secret}'", True),
            ("AOT_JWT__SECRET", f'"{secret}"#tail', True),
            ("AOT_JWT__SECRET", f'"{secret}" ', True),
            ("AOT_JWT__SECRET", f'"""{secret}"""', True),
            ("AOT_JWT__SECRET", f'"{secret}\\n"', True),
            ("AOT_JWT__SECRET", f'"{secret}"', False),
            ("AOT_JWT__SECRET", f'{secret}"', False),
            ("AOT_JWT__SECRET", f"it's {secret}'", False),
            ("AOT_JWT__SECRET", f"{secret}\\n", False),
            ("AOT_JWT__ISS", "'x'", True),
            ("AOT_JWT__ISS", '"x"', False),
            ("AOT_JWT__AUD", "['x']", True),
            ("AOT_JWT__AUD", '["x"]', False),
            ("AOT_JWT", f"{{iss=x, secret='{secret}'}}", True),
            ("AOT_JWT", f'{{"iss": "x", "secret": "{secret}"}}', False),
        ):
            found = [each for each in self.load(BASE, **{name: text}).warnings if "quotes" in each]
            self.assertEqual(len(found), warned, text)
            self.assertNotIn(secret, str(found))
            self.assertTrue(all(each.startswith(f"{name}: ") for each in found))

    def test_secret_that_ends_a_line_S_ENVSECRET(self) -> None:
        """A secret that keeps the line end of a block scalar gets a warning; a file has none."""
        base = yaml.safe_dump(laid_over(BASE, {"jwt": ...}))
        for written, warned in (("|\n    {}\n", True), ("|-\n    {}\n", False)):
            secret = written.format("a secret that is more than long enough")
            found = self.load(f"{base}\njwt:\n  iss: x\n  secret: {secret}\n")
            self.assertEqual([each.partition(":")[0] for each in found.warnings],
                             ["jwt.secret"] * warned)  # fmt: skip
        (self.folder / "key").write_text("a secret that is more than long enough\n")
        found = self.changed(jwt={"secret": ..., "secret_file": "key"})
        self.assertEqual(found.warnings, [])

    def test_line_end_of_hashes_S_ENVSECRET(self) -> None:
        """The line end of a block scalar is not part of a hash or of a static token."""
        plain = {"username": "alice", "password_hash": f"{HASH}\n"}
        static = {"type": "static-token", "name": "s", "realm": "s"}
        tokens = [{"token": "t" * 40 + "\n", "username": "u"}]
        providers = [{**BASE["providers"][0], "users": [plain]}, {**static, "tokens": tokens}]
        found = self.changed(providers=providers)
        users: Any
        entries: Any
        users, entries = found.providers
        self.assertEqual(users.users[0].password_hash.get_secret_value(), HASH)
        self.assertEqual(entries.tokens[0].token.get_secret_value(), "t" * 40)
        self.assertEqual(found.warnings, [])

    def test_line_end_of_the_file_S_ENVSECRET(self) -> None:
        """A line end that YAML says belongs to a secret is part of it; one of a file is not."""
        base = yaml.safe_dump(laid_over(BASE, {"jwt": ...}))
        for text, end in (("|\n    {}\n", "\n"), ("|-\n    {}\n", ""), ('"{}\\n"', "\n")):
            written = text.format("a secret that is long enough")
            found = self.load(f"{base}\njwt:\n  iss: x\n  secret: {written}\n")
            assert found.file.jwt.secret is not None
            self.assertEqual(
                found.file.jwt.secret.get_secret_value(), f"a secret that is long enough{end}"
            )

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
        self.assertEqual(found.warnings, ["AOT_LOGING__LEVEL is ignored; did you mean 'logging'?"])

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
            (
                "version: '2.0.0'\nversion: '1.0.0'\n",
                "duplicate key 'version' (first defined on line 1)",
            ),
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
            ("CANARY: 1\nCANARY: 2\n", "duplicate key (first defined on line 1)"),
            ("jwt:\n  secret CANARY\n  iss: x\n", ":3:"),
            ("jwt: {secret: 'CANARY}\n", ""),
            ('jwt: {secret: "CANARY\\q"}\n', ""),
            ("jwt: {secret: *CANARY}\n", "quote what begins"),
            ("jwt: {secret: !CANARY x}\n", "quote what begins"),
            ("a: &CANARY 1\nb: &CANARY 2\nc: [", ""),
            ("secret: %CANARY\n", ""),
            ("secret: @CANARY\n", ""),
            ("secret: `CANARY`\n", ""),
            ("a: [CANARY CANARY: : ,\n", ""),
            ("<<: CANARY\n", ""),
            ("a: |CANARY\n x\n", ""),
            ("%CANARY x\n---\n", ""),
            ("a: \x07CANARY\n", ""),
            ("CANARY", "must be a mapping"),
        ):
            with self.subTest(text[:40]):
                [problem] = self.problems(text)
                self.assertIn(part, problem)
                self.assertNotIn("CANARY", problem)

    def test_missing(self) -> None:
        """A file that is not there is told by its path, with a hint."""
        error = self.assertRaises(ConfigError, load, self.folder / "none.yaml", {})
        self.assertIn("AOT_CONFIG_PATH", str(error))

    def test_not_utf8(self) -> None:
        """A file that is not UTF-8 is refused."""
        path = self.folder / "latin.yaml"
        path.write_bytes(b"version: \xe9")
        self.assertRaises(ConfigError, load, path, {})


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

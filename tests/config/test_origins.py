"""Where the values of a configuration came from."""

from __future__ import annotations

import pickle

import yaml
from attrs import evolve

from authotron.config import effective, section
from authotron.config.file import load
from authotron.config.origins import Origins
from authotron.config.plugins import PluginConfig
from authotron.config.section import HIDDEN, Secret, Section
from authotron.model.errors import ConfigError
from tests.config.cases import BASE, ConfigCase, laid_over

TEXT = """\
version: "2.0.0"
server:
  host: 127.0.0.1
  port: 8080
jwt: {iss: gate, secret: a secret that is long enough for HS256}
providers:
  - type: plain
    name: staff
    realm: internal
    users:
      - {username: alice, password: wonder}
"""


class OriginsCase(ConfigCase):
    """Loads a text, or returns its problems with their origins."""

    def origins(self, text: str = TEXT, **environ: str) -> dict[str, str]:
        """The origin of each value, without the folder of the file."""
        found = effective.values(self.load(text, **environ))
        return {each.path: self.short(str(each.origin)) for each in found}

    def located(self, text: str, **environ: str) -> list[str]:
        """The problems of a text, without the folder of the file."""
        error = self.assertRaises(ConfigError, self.load, text, **environ)
        return [self.short(str(each)) for each in error.problems]

    def short(self, text: str) -> str:
        return text.replace(f"{self.folder}/", "")


class ValueTests(OriginsCase):
    """Origins of the values in force."""

    def test_file_variable_and_default(self) -> None:
        """A value comes from a line of the file, from a variable, or is a default."""
        found = self.origins(AOT_METRICS__ENABLED="false", AOT_AUTH="{cache={ttl=7}}")
        for path, origin in (
            ("version", "config.yaml:1"),
            ("server.port", "config.yaml:4"),
            ("jwt.iss", "config.yaml:5"),
            ("providers[0].users[0].username", "config.yaml:11"),
            ("metrics.enabled", "variable AOT_METRICS__ENABLED"),
            ("metrics.port", "default"),
            ("auth.cache.ttl", "variable AOT_AUTH"),
            ("auth.cache.size", "default"),
            ("store.enabled", "default"),
        ):
            self.assertEqual(found[path], origin, path)

    def test_variable_over_a_list(self) -> None:
        """All values of a list come from the variable that replaced the list."""
        text = "[{type=plain, name=n, realm=r, users=[{username=u, password=p}]}]"
        found = self.origins(AOT_PROVIDERS=text)
        self.assertEqual(found["providers[0].users[0].username"], "variable AOT_PROVIDERS")

    def test_secrets_of_files_and_variables(self) -> None:
        """For a secret from a file or a variable, both are named: the secret and its key."""
        (self.folder / "key").write_text("a secret that is long enough for HS256")
        text = TEXT.replace("secret: a secret that is long enough for HS256", "secret_file: key")
        found = self.origins(text)["jwt.secret"]
        self.assertEqual(found, "secret file key (config.yaml:5)")
        text = TEXT.replace("password: wonder", "password_env: ALICE")
        found = self.origins(text, ALICE="wonder")["providers[0].users[0].password"]
        self.assertEqual(found, "variable ALICE (config.yaml:11)")

    def test_version_1(self) -> None:
        """Host and port of a file of version 1.0.0 come from the line of its address."""
        text = TEXT.replace("2.0.0", "1.0.0").replace(
            "server:\n  host: 127.0.0.1\n  port: 8080", 'bind_address: "127.0.0.1:8080"'
        )
        self.assertEqual(self.origins(text)["server.port"], "config.yaml:2")
        found = self.origins(text, AOT_BIND_ADDRESS="127.0.0.1:8081")
        self.assertEqual(found["server.port"], "variable AOT_BIND_ADDRESS")

    def test_merged_and_aliased(self) -> None:
        """A merged value comes from the line where it is written."""
        text = TEXT.replace("jwt: {iss: gate,", "x-j: &j\n  iss: gate\njwt: {<<: *j,")
        self.assertEqual(self.origins(text)["jwt.iss"], "config.yaml:6")

    def test_no_secret_is_listed(self) -> None:
        """Secrets, and users and passwords in addresses, are starred."""
        base = laid_over(
            BASE,
            {
                "jwt": {"secret": "CANARY, which is long enough for HS256"},
                "store": {"type": "mongo", "uri": "mongodb://u:CANARY@h/d", "database": "d"},
            },
        )
        base["providers"] = [
            *BASE["providers"],
            {"type": "jwt", "name": "j", "realm": "r",
             "secret": "CANARY, longer than 32 bytes it is", "algorithms": ["HS256"]},
        ]  # fmt: skip
        found = [*effective.values(self.load(base))]
        self.assertNotIn("CANARY", str(found))
        self.assertIn(HIDDEN, [each.value for each in found])

    def test_secrets_of_plugins_of_others_are_hidden(self) -> None:
        """Secrets in mappings, lists and sections of a plugin are hidden, wherever they stand."""

        class Nested(Section):
            secret: Secret

        class Foreign(PluginConfig):
            headers: dict[str, str]
            secrets: dict[str, Secret]
            nested: list[Nested]
            uri: str

        given = {
            "type": "foreign",
            "name": "a",
            "realm": "r",
            "headers": {"Authorization": "CANARY", "X-Api-Key": "CANARY", "Accept": "text/plain"},
            "secrets": {"first": "CANARY"},
            "nested": [{"secret": "CANARY"}],
            "uri": "amqp://user:CANARY@queue.example/",
        }
        foreign = section.read(Foreign, given)
        config = evolve(self.load(laid_over(BASE, {})), providers=[foreign])
        values = {each.path: each.value for each in effective.values(config)}
        self.assertNotIn("CANARY", str(values))
        self.assertEqual(values["providers[0].headers.Accept"], "text/plain")
        self.assertEqual(values["providers[0].uri"], "amqp://***@queue.example/")

    def test_urls_are_listed_without_passwords_and_queries(self) -> None:
        """Of URLs everything is listed but user, password and query, which may be secrets."""
        http = {"type": "http", "name": "a", "realm": "r", "url": "https://h.example/p?key=CANARY"}
        providers = [{**http, "proxy": "http://u:CANARY@p.example:3128"}]
        values = {
            each.path: each.value
            for each in effective.values(self.load(laid_over(BASE, {"providers": providers})))
        }
        self.assertEqual(values["providers[0].url"], "https://h.example/p?***")
        self.assertEqual(values["providers[0].proxy"], "http://***@p.example:3128")
        self.assertNotIn("CANARY", str(values))

    def test_values_within_each_other(self) -> None:
        """The values can be put together as they stand in a file."""
        found = effective.nested([*effective.values(self.load(TEXT))])
        written = yaml.safe_load(TEXT)
        self.assertEqual(found["server"]["port"], written["server"]["port"])
        self.assertEqual(found["providers"][0]["users"][0]["username"], "alice")
        self.assertEqual(found["augmenters"], [])

    def test_nothing_is_sent_to_workers(self) -> None:
        """Origins, which know the environment, are not part of what workers are sent."""
        config = self.load(TEXT, AOT_JWT__ISS="x", CANARY="CANARY")
        sent = pickle.dumps(config.origins)
        self.assertNotIn(b"CANARY", sent)
        self.assertEqual(pickle.loads(sent), Origins())


class ProblemTests(OriginsCase):
    """Origins of problems."""

    def test_lines_of_the_file(self) -> None:
        """A problem names file and line; a missing key has the line of its section."""
        text = TEXT.replace("port: 8080", "port: 99999\n  hots: x").replace(
            "    realm", "    reelm"
        )
        self.assertEqual(
            self.located(text),
            [
                "server.port: must be at most 65535 (config.yaml:4)",
                "server.hots: unknown key; did you mean 'host'? (config.yaml:5)",
                "providers[0].realm: is missing (config.yaml:8)",
                "providers[0].reelm: unknown key; did you mean 'realm'? (config.yaml:10)",
            ],
        )

    def test_key_that_may_be_a_secret(self) -> None:
        """An unknown key whose name is not shown has its own line."""
        found = self.located(TEXT.replace("  host:", "  CANARY: x\n  host:"))
        self.assertRegex(str(found), r"not shown, as it may be a secret \(config.yaml:3\)")
        self.assertNotIn("CANARY", str(found))

    def test_variable_is_named_W_ENV(self) -> None:
        """A problem of a variable names the variable and shows how its value is written."""
        for name, value, problem in (
            (
                "AOT_METRICS__ENABLED",
                "1",
                "must be true or false (a bool); write {0}=true or {0}=false",
            ),
            ("AOT_SERVER__PORT", "http", "must be a whole number; write a number, as in {}=60"),
            ("AOT_SERVICES", "x", "must be a list; write a list, as in {}='[a, b]'"),
            ("AOT_JWT", "x", "must be a mapping; write a mapping, as in {}='{{key=value}}'"),
        ):
            path = name.removeprefix("AOT_").lower().replace("__", ".")
            expected = f"{path}: {problem.format(name)} (variable {name})"
            self.assertEqual(self.located(TEXT, **{name: value}), [expected])

    def test_misspelt_variable_W_ENV(self) -> None:
        """A variable that is named after a misspelt key is named, with the key that is meant."""
        [problem] = self.located(TEXT, AOT_SERVER__PROT="80")
        expected = "unknown key; did you mean 'port'? (variable AOT_SERVER__PROT)"
        self.assertEqual(problem, f"server.prot: {expected}")

    def test_name_of_a_variable_may_be_a_secret(self) -> None:
        """The name of a variable for an unknown key is not shown."""
        [problem] = self.located(TEXT, AOT_JWT__CANARY="x")
        self.assertIn("(a variable that begins with AOT_)", problem)
        self.assertNotIn("CANARY", problem.upper().replace("CANARY_", ""))

    def test_problems_of_plugins(self) -> None:
        """Problems of whole plugins, too, name the line."""
        found = self.located(TEXT.replace("type: plain", "type: plane"))
        self.assertRegex(str(found), r"providers\[0\].type: .*\(config.yaml:7\)")

    def test_all_problems_at_once_W_ONCE(self) -> None:
        """A weak secret, one port for both, and combinations beside other mistakes come at once."""
        text = TEXT.replace("a secret that is long enough for HS256", "changeme")
        text = text.replace("  port: 8080\n", "  idle_timeout: soon\n") + "metrics: {port: x}\n"
        found = " ".join(self.located(text))
        for problem in (
            "jwt.secret: is a well-known placeholder",
            "server.port: is missing (or listen)",
            "server.idle_timeout: ",
            "metrics.port: ",
        ):
            self.assertIn(problem, found)
        text = TEXT.replace("a secret that is long enough for HS256", "changeme")
        found = " ".join(self.located(text.replace("8080", "9090")))
        self.assertIn("jwt.secret: ", found)
        self.assertIn("server.port: is 9090, the same port as metrics.port", found)

    def test_unreadable_secret_is_not_alone_W_ONCE(self) -> None:
        """A secret that cannot be read is reported with all other problems, and once."""
        text = TEXT.replace("secret: a secret that is long enough for HS256", "secret_file: none")
        text = text.replace("iss: gate,", "iss: gate, exp: soon,")
        text = text.replace("password: wonder", "password_env: NONE").replace("    realm: x\n", "")
        found = self.located(text.replace("name: staff", "name: 5"))
        self.assertEqual(
            [each.partition(": ")[0] for each in found],
            [
                "jwt.secret_file",
                "jwt.exp",
                "providers[0].name",
                "providers[0].users[0].password_env",
            ],
        )

    def test_file_is_missing(self) -> None:
        """The problem of a file that cannot be read names the file once."""
        error = self.assertRaises(ConfigError, load, self.folder / "none.yaml", {})
        self.assertEqual(str(error).count("none.yaml"), 1)


class SecretFileTests(OriginsCase):
    """Files of secrets."""

    def test_odd_files_are_warnings_W_FILE(self) -> None:
        """
        Blanks, further line ends, a byte order mark and other characters of a secret's file that
        are hardly meant are warnings.
        """
        text = TEXT.replace("secret: a secret that is long enough for HS256", "secret_file: key")
        for around, warned in (
            ("{}", ""),
            ("{}\n", ""),
            ("{}\r\n", ""),
            ("{}\n\n", "line end"),
            (" {}", "blanks"),
            ("{}\t\n", "blanks"),
            ("\ufeff{}\n", "byte order mark"),
            ("{}\nanother\n", "line end or an invisible"),
            ("{}\u200b\n", "line end or an invisible"),
            ("a\0{}\n", "line end or an invisible"),
            ("JWT_SECRET={}\n", "NAME=value"),
            ("a={}=", ""),
        ):
            secret = around.format("a CANARY that is long enough for HS256")
            (self.folder / "key").write_text(secret, encoding="utf-8", newline="")
            found = " ".join(self.load(text).warnings)
            self.assertEqual("jwt.secret" in found, bool(warned), around)
            self.assertIn(warned, found)
            self.assertNotIn("CANARY", found)

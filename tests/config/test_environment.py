"""Environment variables over the keys of the file."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as some

from authotron.config.environment import KeyKind, read_value
from authotron.config.file import load
from authotron.model.errors import ConfigError
from tests.config.cases import BASE, ConfigCase, laid_over

HASH = "$2b$04$abcdefghijklmnopqrstuuIVN9LQBQsaEDuPvlFbP4Fxs5X1E0jgu"


class EnvironmentTests(ConfigCase):
    """C{AOT_SECTION__KEY}."""

    def test_variable_holds_number_switch_list_or_string(self) -> None:
        """Variables hold numbers, switches, lists, and quoted or unquoted strings."""
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

    def test_string_that_looks_like_a_number(self) -> None:
        """A variable for a string is a string, even if it looks like a number."""
        found = self.load(
            BASE, AOT_JWT__SECRET="12345678901234567890123456789012", AOT_JWT__ISS="true"
        )
        assert found.file.jwt.secret is not None
        self.assertEqual(
            found.file.jwt.secret.get_secret_value(), "12345678901234567890123456789012"
        )
        self.assertEqual(found.file.jwt.iss, "true")

    def test_secret_is_taken_literally_S_ENVSECRET(self) -> None:
        """A secret is taken literally, without one pair of double quotes around it."""
        for text, meant in (
            ('"abc"#tail and more', '"abc"#tail and more'),
            ('"abc #tail and more"', "abc #tail and more"),
            ('""abc#tail and more""', '"abc#tail and more"'),
            ("'abc#tail and more'", "'abc#tail and more'"),
            (r'"a\u0041\n#tail and more"', r"a\u0041\n#tail and more"),
            ("0x10203040506070809000000", "0x10203040506070809000000"),
            ('["a", "tail and more"]', '["a", "tail and more"]'),
            ('{a = "tail and more"}', '{a = "tail and more"}'),
            ("  blanks around it  ", "blanks around it"),
            ('"  blanks inside quotes  "', "  blanks inside quotes  "),
            ("a comma, so a line end is kept\n", "a comma, so a line end is kept\n"),
            ("a line end behind\n", "a line end behind"),
            ("1_000_000_000_000_000", "1_000_000_000_000_000"),
            ('"half of a pair of them', '"half of a pair of them'),
        ):
            found = self.load(BASE, AOT_JWT__SECRET=text)
            assert found.file.jwt.secret is not None
            self.assertEqual(found.file.jwt.secret.get_secret_value(), meant)

    def test_string_is_taken_literally_S_ENVSECRET(self) -> None:
        """A string that is not a secret is taken literally, without blanks around it."""
        for text, meant in (
            ('"a"#b', '"a"#b'),
            (" a ", "a"),
            (' "a" ', "a"),
            (" a,b ", " a,b "),
            ("[a\n", "[a\n"),
            ("'ab'\n", "'ab'\n"),
            ("truex\n", "truex\n"),
            ("a\n", "a"),
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

    def test_store_type_decides_which_keys_are_secrets_S_ENVSECRET(self) -> None:
        """
        The type of the store, in the file or a variable, decides which of its keys are
        secrets.
        """
        store = {"AOT_STORE__PASSWORD": '"a"#b', "AOT_STORE__PEPPER": "1" * 40}
        for found in (
            self.load({**BASE, "store": {"type": "redis"}}, **store),
            self.load(BASE, **store, AOT_STORE__TYPE="redis"),
        ):
            stored: Any = found.store
            self.assertEqual(stored.password.get_secret_value(), '"a"#b')
            self.assertEqual(stored.pepper.get_secret_value(), "1" * 40)

    def test_type_of_the_authorizer(self) -> None:
        """The type of the authorizer, in the file or a variable, decides which keys are strings."""
        url = {"AOT_AUTHORIZER__URL": "https://pdp.example/access/v1/evaluation"}
        numbers = {"AOT_AUTHORIZER__SUBJECT_TYPE": "7", "AOT_AUTHORIZER__CACHE": "5s"}
        for found in (
            self.load({**BASE, "authorizer": {"type": "authzen"}}, **url, **numbers),
            self.load(BASE, **url, **numbers, AOT_AUTHORIZER__TYPE="authzen"),
        ):
            section: Any = found.authorizer
            self.assertEqual((section.subject_type, section.cache), ("7", 5))

    def test_variable_sets_a_twin_S_ENVSECRET(self) -> None:
        """Variables may set the C{_file} and C{_env} twins of a secret."""
        base = laid_over(BASE, {"jwt": {"secret": ...}})
        found = self.load(base, AOT_JWT__SECRET_ENV="OUR", OUR="a secret that is long enough")
        assert found.file.jwt.secret is not None
        self.assertEqual(found.file.jwt.secret.get_secret_value(), "a secret that is long enough")

    def test_lists_need_no_quotes_S_ENVSECRET(self) -> None:
        """
        Strings in lists and mappings need no quotes, and a hash sign does not begin a
        comment.
        """
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

    def test_blanks_around_switches_are_ignored_S_ENVSECRET(self) -> None:
        """Blanks around numbers and switches are ignored."""
        found = self.load(BASE, AOT_METRICS__ENABLED=" false\n", AOT_SERVER__PORT=" 8081 ")
        self.assertEqual((found.file.metrics.enabled, found.file.server.port), (False, 8081))

    @given(some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"])))
    def test_any_text_is_a_secret_S_ENVSECRET(self, text: str) -> None:
        """Every text in a variable is a secret, character by character."""
        self.assertEqual(read_value(f'"{text}"', KeyKind.SECRET), text)
        if not (len(text) > 1 and text[0] == '"') and not text.endswith(("\r", "\n")):
            self.assertEqual(read_value(text, KeyKind.SECRET), text)

    def test_warning_about_kept_quotes_S_ENVSECRET(self) -> None:
        """A variable that keeps quotes or backslashes of a shell or of TOML gets a warning."""
        secret = "a secret that is long enough for it"
        for name, text, warned in (
            ("AOT_JWT__SECRET", f"'{secret}'", True),
            ("AOT_JWT__SECRET", f'"{secret}"#tail', True),
            ("AOT_JWT__SECRET", f'"{secret}" ', False),
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

    def test_warning_about_a_kept_line_end_S_ENVSECRET(self) -> None:
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

    def test_line_end_is_not_part_of_a_hash_S_ENVSECRET(self) -> None:
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

    def test_line_end_of_a_block_scalar_is_kept_S_ENVSECRET_O_YAML(self) -> None:
        """
        The line end of a block scalar is part of a secret; the line end of a secret's file
        is not.
        """
        base = yaml.safe_dump(laid_over(BASE, {"jwt": ...}))
        for text, end in (("|\n    {}\n", "\n"), ("|-\n    {}\n", ""), ('"{}\\n"', "\n")):
            written = text.format("a secret that is long enough")
            found = self.load(f"{base}\njwt:\n  iss: x\n  secret: {written}\n")
            assert found.file.jwt.secret is not None
            self.assertEqual(
                found.file.jwt.secret.get_secret_value(), f"a secret that is long enough{end}"
            )

    def test_unknown_section_is_ignored(self) -> None:
        """
        Variables of unknown sections are ignored; unknown keys of known sections are
        problems.
        """
        self.load(BASE, AOT_NONSENSE="1", AOT_CONFIG_PATH="x", AOT_JWT_ISS="x")
        self.assertEqual(
            self.problems(BASE, AOT_JWT__ISSUER="x"),
            ["jwt.issuer: unknown key" + "; did you mean 'iss'?"],
        )

    def test_warning_about_an_unknown_section(self) -> None:
        """A variable of an unknown section is ignored, with a warning."""
        found = self.load(BASE, AOT_LOGING__LEVEL="debug")
        self.assertEqual(found.warnings, ["AOT_LOGING__LEVEL is ignored; did you mean 'logging'?"])

    def test_names_are_read_in_any_case_O_ENV(self) -> None:
        """Names of variables are read in any case, with a dot or two low lines between keys."""
        for name in ("aot_jwt__iss", "Aot_Jwt__Iss", " AOT_JWT__ISS ", "AOT_JWT.ISS"):
            self.assertEqual(self.load(BASE, **{name: "x"}).file.jwt.iss, "x", name)
        for name in ("AOT_JWT____ISS", "AOT_JWT__ISS__", "AOT___JWT__ISS", "AOT_"):
            self.assertEqual(self.load(BASE, **{name: "x"}).file.jwt.iss, "gate", name)
        found = self.load(BASE, AOT_JWT__ISS="capital", aot_jwt__iss="small")
        self.assertEqual(found.file.jwt.iss, "capital")
        self.assertIn("AOT_JWT__ISS: used instead of aot_jwt__iss", str(found.warnings))

    def test_section_is_laid_over_the_file_O_ENV(self) -> None:
        """A variable for a whole section replaces only the keys that it names."""
        for text in ("{iss=env}", " { iss = env } ", '{"iss"="env",}', '{"iss": "env"}'):
            jwt = self.load(BASE, AOT_JWT=text).file.jwt
            self.assertEqual((jwt.iss, jwt.secret is None), ("env", False))
        found = self.load(BASE, AOT_AUTH="{cache={ttl=7}}", AOT_AUTH__CACHE__SIZE="8")
        self.assertEqual((found.file.auth.cache.ttl, found.file.auth.cache.size), (7, 8))
        found = self.load(BASE, AOT_JWT__ISS="key", AOT_JWT="{iss=section}")
        self.assertEqual(found.file.jwt.iss, "key")
        self.assertIn("AOT_JWT__ISS: used instead of AOT_JWT", str(found.warnings))

    def test_shared_mapping_is_not_changed_O_ENV(self) -> None:
        """A variable changes one section, not another that shares its mapping by an alias."""
        text = yaml.safe_dump(BASE) + "metrics: &m {port: 9000, enabled: true}\nx-other: *m\n"
        self.assertEqual(self.load(text, AOT_METRICS__PORT="9001").file.metrics.port, 9001)

    def test_switches_in_any_case_W_ENV(self) -> None:
        """A variable for a switch is C{true} or C{false}, in any case, with blanks around it."""
        for text in ("False", "FALSE", " false\n", "false"):
            self.assertFalse(self.load(BASE, AOT_METRICS__ENABLED=text).file.metrics.enabled)
        self.load(BASE, AOT_STORE__ENABLED="False")
        for text in ("yes", "1", "on", '"true"'):
            [problem] = self.problems(BASE, AOT_METRICS__ENABLED=text)
            self.assertIn("must be true or false", problem)

    def test_empty_variable_is_as_if_not_set_W_ENV(self) -> None:
        """An empty variable does not change a key, with a warning; an empty audience is none."""
        for text in ("", " ", "\n"):
            found = self.load(BASE, AOT_JWT__ISS=text, AOT_SERVER__PORT=text, AOT_JWT=text)
            self.assertEqual((found.file.jwt.iss, found.file.server.port), ("gate", 8080))
            self.assertIn("AOT_SERVER__PORT: empty, so ignored", found.warnings)
        base = laid_over(BASE, {"jwt": {"aud": "x"}})
        self.assertIsNone(self.load(base, AOT_JWT__AUD="").file.jwt.aud)

    def test_environment_alone_O_ENV(self) -> None:
        """The file may be missing or empty if variables hold a whole configuration."""
        environ = {
            "AOT_VERSION": "2.0.0",
            "AOT_SERVER": "{port=8080}",
            "AOT_JWT": "{iss=env, secret=a secret that is long enough}",
            "AOT_PROVIDERS": "[{type=plain, name=n, realm=r, users=[{username=u, password=p}]}]",
        }
        self.assertEqual(self.load("", **environ).file.jwt.iss, "env")
        missing = self.folder / "missing.yaml"
        found = load(missing, environ)
        self.assertEqual(found.file.jwt.iss, "env")
        self.assertIn("so only environment variables are used", str(found.warnings))
        older = {"AOT_VERSION": "1.0.0", "AOT_BIND_ADDRESS": "127.0.0.1:8081"}
        found = load(missing, {**environ, **older, "AOT_SERVER": "{port=1}"})
        self.assertEqual((found.file.server.host, found.file.server.port), ("127.0.0.1", 8081))
        del environ["AOT_VERSION"]
        self.assertRaises(ConfigError, load, missing, environ)

    def test_blanks_around_a_secret_are_a_warning_O_ENV(self) -> None:
        """Blanks around a secret are cut or kept as in auth-o-tron; C{check} says which."""
        secret = "a secret that is long enough"
        for text, meant, warned in (
            (secret, secret, ""),
            (f"{secret}\n", secret, ""),
            (f'"{secret}"\n', secret, ""),
            (f"  {secret}", secret, "not part of the secret"),
            (f"{secret}\n\n", secret, "not part of the secret"),
            (f"{secret},\n", f"{secret},\n", "are part of it"),
        ):
            found = self.load(BASE, AOT_JWT__SECRET=text)
            assert found.file.jwt.secret is not None
            self.assertEqual(found.file.jwt.secret.get_secret_value(), meant)
            warnings = [each for each in found.warnings if each.startswith("AOT_JWT__SECRET")]
            self.assertEqual(len(warnings), bool(warned), text)
            self.assertIn(warned, "".join(warnings))

    def test_json_list(self) -> None:
        """Lists may be written as JSON, too."""
        found = self.load(BASE, AOT_SERVICES='[{"name": "archive"}]')
        self.assertEqual(found.file.services[0].name, "archive")

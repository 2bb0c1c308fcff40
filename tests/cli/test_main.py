"""The command C{authotron}."""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jwt
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from authotron.cli import quickstart
from authotron.cli.main import SUMMARIES, main
from authotron.cli.options import Command, clock
from authotron.config import file
from authotron.daemon.tap import Options
from authotron.jose import minter
from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.plugin.passwords import check_hash
from tests.cli.cases import CommandCase
from tests.config.cases import BASE


class TokenArgumentsTests(CommandCase):
    """The arguments of C{authotron tokens}."""

    def test_argument_must_be_printable_utf8_T94(self) -> None:
        """
        An argument that is not UTF-8, or has a control character, is an error that names
        the argument.
        """
        path = self.file(store={"type": "sqlite", "path": str(self.folder / "tokens.db")})
        owner = ("--realm", "here", "--username", "alice")
        for text in ("a\udcffb", "a\nb", "a\x1b[2Jb"):
            for words in (
                ("create", "--realm", text, "--username", "alice"),
                ("create", *owner, "--name", text),
                ("create", *owner, "--owner-role", text),
                ("create", *owner, "--role", text),
                ("create", *owner, "--host", text),
                ("list", "--username", text),
                ("show", text),
                ("revoke", text),
                ("import", "acl-proxy", "--realm", text, "--username", "{email}"),
                ("import", "auth-o-tron", "--realm", text, "--from", path),
            ):
                with self.subTest(f"{words[0]} {text!a}"):
                    group = words[:2] if words[0] == "import" else words[:1]
                    rest = words[len(group) :]
                    done = self.run_command("tokens", *group, "--config", path, *rest)
                    self.assertEqual(done.exit_code, 2, done.output)
                    self.assertIn("not UTF-8", done.output)
                    self.assertNotIn(text, done.output)


class HelpTests(CommandCase):
    """Help texts and invalid command lines."""

    def test_every_command_has_a_help_text(self) -> None:
        """Every command has a help text."""
        context = click.Context(main)
        names = main.list_commands(context)
        self.assertGreater(len(names), 10)
        for name in names:
            with self.subTest(name):
                self.assertEqual(self.run_command(name, "--help").exit_code, 0)
                command = main.get_command(context, name)
                assert command is not None
                self.assertTrue(command.get_short_help_str())

    def test_every_command_has_examples(self) -> None:
        """The help of every command ends with examples of that command, which can be parsed."""

        def commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
            group = context.command
            assert isinstance(group, click.Group)
            for name in group.list_commands(context):
                command = group.get_command(context, name)
                assert command is not None
                inner = click.Context(command, info_name=name, parent=context)
                if command.hidden:
                    continue
                yield inner.command_path, command
                if isinstance(command, click.Group):
                    yield from commands(inner)

        found = [*commands(click.Context(main, info_name="authotron"))]
        self.assertGreater(len(found), 25)
        for path, command in found:
            with self.subTest(path):
                examples = getattr(command, "examples", ())
                if isinstance(command, click.Group) and not examples:
                    continue  # the examples of its commands are enough
                self.assertTrue(examples)
                for example in examples:
                    self.assertIn(path, example)

    def test_summaries_are_those_of_the_commands(self) -> None:
        """The summaries in the help are the first sentences of the commands' own help texts."""
        context = click.Context(main)
        commands = {name: main.get_command(context, name) for name in SUMMARIES}
        found = {name: each.get_short_help_str(80) for name, each in commands.items() if each}
        self.assertEqual(found, SUMMARIES)
        hidden = {"token"}
        self.assertEqual({*main.list_commands(context)} - hidden, {*SUMMARIES})

    def test_completion(self) -> None:
        """Commands, commands of commands and options are completed, each with its summary."""
        for words, current, expected in (
            ("authotron", "to", ["tokens"]),
            ("authotron", "gen", ["generate-key", "generate-secret"]),
            ("authotron", "--ver", ["--version"]),
            ("authotron tokens", "re", ["restore", "revoke"]),
            ("authotron check", "--st", ["--strict"]),
        ):
            with self.subTest(words):
                completing = ShellComplete(main, {}, "authotron", "_AUTHOTRON_COMPLETE")
                found = completing.get_completions(words.split()[1:], current)
                self.assertEqual([each.value for each in found], expected)
                self.assertTrue(all(each.help for each in found))

    def test_summaries_are_whole_in_80_columns(self) -> None:
        """No summary of a command is cut in a terminal of 80 columns."""
        for words in ([], ["tokens"], ["tokens", "import"], ["migrate"], ["config"], ["jwt"]):
            shown = self.run_command(*words, "--help").output
            cut = [line for line in shown.splitlines()[1:] if line.endswith("...")]
            self.assertEqual(cut, [])

    def test_unreadable_configuration_exits_with_78(self) -> None:
        """
        A configuration file that cannot be read is an invalid configuration (78), not an
        invalid command line (2).
        """
        # A gateway postpones garbage collections until it starts, and this one never does.
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        for words in (["check", str(self.folder)], ["run", "--config", str(self.folder)]):
            with self.subTest(words[0]):
                result = self.run_command(*words)
                self.assertEqual(result.exit_code, 78, result.output)
                self.assertIn("cannot be read", result.output)

    def test_unknown_command_exits_with_2(self) -> None:
        """An unknown command is an invalid command line (2)."""
        self.assertEqual(self.run_command("chekc").exit_code, 2)

    def test_completion_script_for_each_shell(self) -> None:
        """C{authotron completion} prints a script for bash, zsh and fish."""
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("_AUTHOTRON_COMPLETE", self.run_command("completion", shell).output)

    def test_no_summary_is_cut(self) -> None:
        """The summaries of C{--help} fit, and every command stands in one group."""
        shown = self.run_command("--help").output
        self.assertNotIn("...", shown.replace("[ARGS]...", ""))
        context = click.Context(main)
        visible = [
            name
            for name in main.list_commands(context)
            if (command := main.get_command(context, name)) and not command.hidden
        ]
        listed = re.findall(r"^  ([a-z][\w-]+)  ", shown, re.MULTILINE)
        self.assertEqual(sorted(listed), sorted(visible))
        self.assertIn("Examples:", shown)

    def test_examples_are_commands(self) -> None:
        """Each example of a command begins with that command or pipes into that command."""
        context = click.Context(main)
        for name in ("check", "doctor", "explain", "generate-key"):
            command = main.get_command(context, name)
            assert isinstance(command, Command), name
            self.assertTrue(command.examples)
            for example in command.examples:
                self.assertIn(f"authotron {name}", example)
                self.assertIn(example, self.run_command(name, "--help").output)


class BareTests(CommandCase):
    """C{authotron} without a command, which is how auth-o-tron is started."""

    def setUp(self) -> None:
        super().setUp()
        self.served: list[Path] = []
        self.patch(sys.modules[main.callback.__module__], "serve", self.served.append)

    def test_runs_the_file_of_the_variable(self) -> None:
        """With C{AOT_CONFIG_PATH} the command starts the gateway, and reports a missing file."""
        result = CliRunner().invoke(main, [], env={"AOT_CONFIG_PATH": "/etc/x.yaml"})
        self.assertEqual((result.exit_code, self.served), (0, [Path("/etc/x.yaml")]))

    def test_runs_the_file_in_the_folder(self) -> None:
        """Without the variable C{./config.yaml} is run, if it is there."""
        runner = CliRunner()
        with runner.isolated_filesystem(temp_dir=self.folder):
            result = runner.invoke(main, [], env={"AOT_CONFIG_PATH": ""})
            self.assertEqual((result.exit_code, self.served), (2, []))
            self.assertIn("Usage: ", result.output)
            Path("config.yaml").write_text("version: 2.0.0\n")
            result = runner.invoke(main, [], env={"AOT_CONFIG_PATH": ""})
            self.assertEqual((result.exit_code, self.served), (0, [Path("config.yaml")]))

    def test_a_command_is_not_run_as_well(self) -> None:
        """With a command the gateway does not run."""
        CliRunner().invoke(main, ["generate-secret"], env={"AOT_CONFIG_PATH": "/etc/x.yaml"})
        self.assertEqual(self.served, [])


class KeyTests(CommandCase):
    """C{authotron generate-key}."""

    def test_keys_fit_their_algorithm(self) -> None:
        """The key of each algorithm signs JWTs of a configuration that names its file."""
        for algorithm in ("ES256", "RS256", "EdDSA"):
            with self.subTest(algorithm):
                made = self.run_command("generate-key", "--alg", algorithm)
                key = self.folder.absolute() / "key.pem"
                key.write_text(made.output)
                key.chmod(0o600)
                jwt = {"alg": algorithm, "key_file": str(key), "secret": ...}
                result = self.run_command("check", self.file(jwt=jwt))
                self.assertEqual(result.exit_code, 0, result.output)
                self.assertIn(f"tokens:    {algorithm}", result.output)

    def test_new_key_each_time(self) -> None:
        """Two keys differ, and another algorithm is an invalid command line."""
        one, other = (self.run_command("generate-key").output for _ in range(2))
        self.assertNotEqual(one, other)
        self.assertEqual(self.run_command("generate-key", "--alg", "HS256").exit_code, 2)


class MigrateTests(CommandCase):
    """C{authotron migrate auth-o-tron}."""

    def migrate(self, path: str) -> Result:
        return self.run_command("migrate", "auth-o-tron", path)

    def test_what_widens_access_comes_first(self) -> None:
        """LDAP filters that begin to give roles are the first remark."""
        directory = {"type": "ldap", "name": "d", "realm": "internal", "search_base": "dc=x"}
        for filters in ({"filter": "(member={dn})"}, {"filters": ["(memberUid={username})"]}):
            augmenter = {**directory, "uri": "ldap://x", "bind_dn": "cn=x", "ldap_password": "p"}
            result = self.migrate(self.file(augmenters=[{**augmenter, **filters}]))
            self.assertEqual(result.exit_code, 0, result.output)
            first = result.output.splitlines()[1]
            self.assertIn("augmenters[0]: WIDENS ACCESS", first)

    def test_nothing_widens(self) -> None:
        """A file without such filters has no such remark, and is not printed again."""
        result = self.migrate(self.file())
        self.assertNotIn("WIDENS", result.output)
        self.assertIn("works unchanged", result.output)
        self.assertEqual([line for line in result.output.splitlines() if line[0] != "#"], [])

    def test_older_version_is_printed_in_the_newer(self) -> None:
        """A file of version 1.0.0 is printed in version 2.0.0, which C{check} accepts."""
        old = Path(self.file(version="1.0.0", server=..., bind_address="127.0.0.1:8099"))
        result = self.migrate(str(old))
        self.assertEqual(result.exit_code, 0, result.output)
        newer = self.folder / "newer.yaml"
        newer.write_text(result.output)
        newer.chmod(0o600)
        checked = self.run_command("check", str(newer))
        self.assertEqual(checked.exit_code, 0, checked.output)
        self.assertIn("127.0.0.1:8099", checked.output)

    def test_unusable_file_exits_with_78(self) -> None:
        """A file that authotron cannot use is an invalid configuration, with all problems."""
        result = self.migrate(self.file(jwt={"exp": 0}))
        self.assertEqual(result.exit_code, 78)
        self.assertIn("jwt.exp", result.output)


class CheckTests(CommandCase):
    """C{authotron check}."""

    def test_check_as_json(self) -> None:
        """C{check --json} prints what a configuration runs and its warnings, without secrets."""
        result = self.run_command("check", "--json", self.file(jwt={"aud": "x"}))
        self.assertEqual(result.exit_code, 0)
        found = json.loads(result.output)
        self.assertTrue(found["good"])
        self.assertEqual(found["gateway"], ["127.0.0.1:8080"])
        self.assertEqual(found["providers"][0]["name"], "staff")
        self.assertIn("emit_aud", " ".join(found["warnings"]))
        self.assertNotIn("wonder", result.output)
        result = self.run_command("check", "--json", self.file(jwt={"exp": 0}))
        self.assertEqual(result.exit_code, 78)
        self.assertEqual(json.loads(result.output)["problems"][0]["path"], "jwt.exp")

    def test_strict_check_fails_on_warnings(self) -> None:
        """C{check --strict} exits with 1 if there are warnings."""
        noisy = self.file(jwt={"aud": "x"})
        self.assertEqual(self.run_command("check", "--strict", noisy).exit_code, 1)
        self.assertEqual(self.run_command("check", noisy).exit_code, 0)

    def test_check_prints_what_would_run(self) -> None:
        """C{check} prints what a configuration runs, without secrets."""
        result = self.run_command("check", self.file())
        self.assertEqual(result.exit_code, 0)
        self.assertIn("127.0.0.1:8080", result.output)
        self.assertIn("staff (plain) in realm internal", result.output)
        self.assertNotIn("wonder", result.output)
        self.assertNotIn("long enough", result.output)

    def test_check_prints_carriers(self) -> None:
        """C{check} prints where credentials stand, if it is configured."""
        keys = {
            "type": "static-token",
            "name": "keys",
            "realm": "machines",
            "tokens": [{"token": "k" * 40, "username": "robot"}],
            "credentials": [{"header": "Authorization"}, {"header": "X-API-Key"}],
        }
        store = {"type": "memory", "credentials": {"basic": "password"}}
        path = self.file(providers=[*BASE["providers"], keys], store=store)
        output = self.run_command("check", path).output
        self.assertIn("staff (plain) in realm internal\n", output)
        where = "Authorization or header x-api-key"
        self.assertIn(f"keys (static-token) in realm machines, credentials in {where}\n", output)
        self.assertIn("memory, credentials in password of Basic\n", output)
        found = json.loads(self.run_command("check", "--json", path).stdout)["providers"]
        self.assertEqual(found[1]["credentials"], ["Authorization", "header x-api-key"])
        self.assertNotIn("credentials", found[0])

    def test_check_prints_the_store(self) -> None:
        """C{check} prints the type of the token store, if there is one."""
        path = self.file()
        self.assertNotIn("store:", self.run_command("check", path).output)
        path = self.file(store={"type": "memory"})
        self.assertIn("store:     memory", self.run_command("check", path).output)

    def test_check_lists_all_problems(self) -> None:
        """C{check} prints all problems and exits with 78."""
        result = self.run_command("check", self.file(jwt={"exp": 0}, logging={"level": "x"}))
        self.assertEqual(result.exit_code, 78)
        self.assertIn("jwt.exp: ", result.output)
        self.assertIn("logging.level: ", result.output)
        self.assertNotIn("Traceback", result.output)

    def test_check_prints_warnings_and_succeeds(self) -> None:
        """C{check} prints warnings and exits with 0."""
        result = self.run_command("check", self.file(jwt={"aud": "x"}))
        self.assertEqual(result.exit_code, 0)
        self.assertIn("emit_aud", result.output)

    def test_check_prints_the_mode_of_a_socket_T91c(self) -> None:
        """C{check} shows the mode that a UNIX socket gets, and warns if none is written."""
        server = {"host": ..., "port": ..., "listen": ["unix:/x"]}
        result = self.run_command("check", self.file(server=server))
        self.assertEqual(result.exit_code, 0)
        self.assertIn("gateway:   unix:/x:mode=660\n", result.output)
        self.assertIn("server.listen[0]: no mode", result.output)

    def test_check_reports_a_missing_key_file(self) -> None:
        """C{check} reports a signing key file that does not exist."""
        result = self.run_command("check", self.file(jwt={"alg": "ES256", "key_file": "none.pem"}))
        self.assertEqual(result.exit_code, 78)


class SecretTests(CommandCase):
    """C{authotron hash-password} and C{authotron generate-secret}."""

    def test_hash_password_prints_a_valid_hash(self) -> None:
        """C{hash-password} prints a valid C{password_hash}, and not the password."""
        result = self.run_command("hash-password", "--stdin", text="wonder\n")
        self.assertTrue(check_hash(result.output.strip()))
        self.assertNotIn("wonder", result.output)

    def test_hash_password_rejects_an_empty_password(self) -> None:
        """C{hash-password} rejects an empty password."""
        self.assertEqual(self.run_command("hash-password", "--stdin", text="\n").exit_code, 2)

    def test_generate_secret_differs_each_time(self) -> None:
        """C{generate-secret} prints a long secret, different each time."""
        one, other = (self.run_command("generate-secret").output for _ in range(2))
        self.assertNotEqual(one, other)
        self.assertGreater(len(one), 60)


class JwtTests(CommandCase):
    """C{authotron jwt decode}."""

    def minted(self, path: str) -> str:
        found = file.load(Path(path), {})
        return minter.make(found.file.jwt, clock()).mint(Authentication(Identity("r", "alice")))

    def test_decode_prints_a_minted_jwt(self) -> None:
        """A JWT that the gateway minted is verified and printed, also if it comes as a header."""
        path = self.file()
        token = self.minted(path)
        for text in (token, f"Authorization: Bearer {token}\n"):
            result = self.run_command("jwt", "decode", "-c", path, text=text)
            self.assertEqual(json.loads(result.output)["claims"]["username"], "alice")

    def test_decode_rejects_a_forged_jwt(self) -> None:
        """A JWT that was signed with another secret is invalid: exit status 1."""
        token = self.minted(self.file(jwt={"secret": "another secret that is long enough"}))
        result = self.run_command("jwt", "decode", "-c", self.file(), text=token)
        self.assertEqual(result.exit_code, 1)
        self.assertIn("invalid JWT: Signature verification failed", result.output)

    def decoded(self, text: str, **sections: Any) -> tuple[dict[str, Any], str]:
        """What the command prints about a JWT, and what it prints to standard error."""
        result = self.run_command("jwt", "decode", "-c", self.file(**sections), text=text)
        found: dict[str, Any] = json.loads(result.stdout)
        self.assertEqual(result.exit_code, int(not found["valid"]))
        return found, result.stderr

    def test_decode_shows_a_jwt_of_another_issuer(self) -> None:
        """A JWT of an identity provider is shown, and which provider would be asked about it."""
        now = int(clock().seconds())
        claims = {"iss": "https://sso.example", "exp": now + 7200, "iat": now - 90, "nbf": 1e18}
        text = jwt.encode(claims, "x" * 64, "HS512", {"kid": "k1"})
        common = {"realm": "r", "cert_uri": "https://keys.example/"}
        providers = [
            {"type": "jwt", "name": "sso", "issuer": "https://sso.example", **common},
            {"type": "jwt", "name": "other", "issuer": "https://other.example", **common},
            {"type": "plain", "name": "staff", "realm": "r", "users": []},
        ]
        found, told = self.decoded(text, providers=providers)
        self.assertEqual((found["header"]["kid"], found["claims"]["iss"]), ("k1", claims["iss"]))
        self.assertEqual([each["asked"] for each in found["providers"]], [True, False, False])
        self.assertEqual(
            found["providers"][1]["reason"],
            "the token names provider sso, so no other provider is asked",
        )
        self.assertRegex(found["times"]["exp"], r"^20\d\d-.* UTC \(in 1 h\)$")
        self.assertTrue(found["times"]["iat"].endswith("(1 min ago)"), found["times"])
        self.assertIn("beyond the year 9999", found["times"]["nbf"])
        self.assertIn("signed with 'HS512'; this gateway signs with HS256", told)

    def test_decode_says_both_issuers(self) -> None:
        """A JWT of another issuer with the same secret is invalid, and both issuers are named."""
        token = self.minted(self.file(jwt={"iss": "elsewhere"}))
        found, _ = self.decoded(token)
        self.assertIn("the issuer of the JWT is 'elsewhere'; this gateway is", found["reason"])

    def test_decode_of_no_jwt(self) -> None:
        """Text that is no JWT is invalid, in words."""
        for text in ("", "opaque", "a.b.c", "Bearer eyJ4IjoxfQ.e30.x"):
            result = self.run_command("jwt", "decode", "-c", self.file(), text=text)
            self.assertEqual(result.exit_code, 1)
            self.assertIn("invalid JWT: not three parts", result.output)

    def test_former_name_still_works(self) -> None:
        """C{authotron token decode} works, names the new command on stderr, and is not listed."""
        path = self.file()
        result = self.run_command("token", "decode", "-c", path, text=self.minted(path))
        self.assertIn("now called `authotron jwt decode`", result.stderr)
        self.assertEqual(json.loads(result.stdout)["claims"]["username"], "alice")
        listed = re.findall(r"^  ([\w-]+)  ", self.run_command("--help").output, re.MULTILINE)
        self.assertIn("jwt", listed)
        self.assertNotIn("token", listed)


class TokensTests(CommandCase):
    """C{authotron tokens}."""

    def test_invalid_option_is_named(self) -> None:
        """
        An invalid value of an option is an invalid command line, and the error names the
        option.
        """
        owner = ("--realm", "here", "--username", "alice", "--config", self.file())
        for option, value in (("--ttl", "forever"), ("--host", "a b"), ("--network", "here")):
            with self.subTest(option):
                result = self.run_command("tokens", "create", *owner, option, value)
                self.assertEqual(result.exit_code, 2, result.output)
                self.assertIn(option, result.output)

    def test_fails_without_a_reachable_store(self) -> None:
        """Without a store, or with one in the gateway's memory, the command says why it fails."""
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({}, "the configuration has no token store"),
            ({"store": {"type": "memory"}}, "is inside the gateway; use its HTTP interface"),
        )
        for over, why in cases:
            result = self.run_command("tokens", "list", "-c", self.file(**over))
            self.assertEqual(result.exit_code, 1)
            self.assertIn(why, result.output)

    def test_options_follow_the_rules_of_http(self) -> None:
        """Options of C{tokens create} are checked by the rules for the body of C{POST /tokens}."""
        path = self.file(store={"type": "sqlite", "path": str(self.folder / "tokens.db")})
        owner = ("--realm", "here", "--username", "alice", "--config", path)
        for option, value in (
            ("--ttl", "forever"),
            ("--scope", "read"),
            ("--scope", "=read"),
            ("--email", "nobody"),
            ("--comment", "x" * 257),
            ("--name", "x" * 257),
            ("--role", ""),
            ("--network", "10.0.0.1/8"),
        ):
            with self.subTest(f"{option} {value}"):
                result = self.run_command("tokens", "create", *owner, option, value)
                self.assertEqual(result.exit_code, 2, result.output)
                self.assertIn(option, result.output)

    def test_revoke_by_ids_or_by_user(self) -> None:
        """C{tokens revoke} takes either ids, or a realm and a user name together."""
        path = self.file(store={"type": "sqlite", "path": str(self.folder / "tokens.db")})
        both = ("--realm", "r", "--username", "u")
        for words in ((), both[:2], both[2:], ("x", *both)):
            result = self.run_command("tokens", "revoke", "--config", path, *words)
            self.assertEqual(result.exit_code, 2, result.output)


class QuickstartTests(CommandCase):
    """C{authotron quickstart}."""

    def prepare(self) -> Result:
        return self.run_command("quickstart", "--prepare", "--folder", str(self.folder / "var"))

    def test_prepare_creates_private_files(self) -> None:
        """
        C{quickstart --prepare} creates files that only their owner can read, and prints the
        claims.
        """
        result = self.prepare()
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("curl -i -u", result.output)
        self.assertIn('"sub": "local-alice"', result.output)
        for path in (self.folder / "var").iterdir():
            self.assertEqual(path.stat().st_mode & 0o077, 0)
            if path.suffix != ".yaml":
                self.assertNotIn(path.read_text(), result.output)

    def test_taken_port_is_told_before_the_banner_W_PORT(self) -> None:
        """If a port is taken, C{quickstart} names it and a free one, and prints nothing else."""
        served: list[Path] = []
        self.patch(quickstart, "serve", served.append)
        for taken, variable in ((8080, "AOT_SERVER__PORT"), (9090, "AOT_METRICS__PORT")):
            self.patch(quickstart, "is_free", lambda _, port, taken=taken: port != taken)
            result = self.run_command("quickstart", "--folder", str(self.folder / "var"))
            self.assertEqual((result.exit_code, served), (1, []))
            self.assertNotIn("Authenticate", result.output)
            self.assertIn(f"taken by another process: port {taken} of 127.0.0.1;", result.output)
            self.assertIn(f"{variable}={taken + 10_000} make run", result.output)

    def test_both_ports_taken_W_PORT(self) -> None:
        """If both ports are taken, C{quickstart} names free ports for both at once."""
        self.patch(quickstart, "is_free", lambda _, port: port > 10_000)
        result = self.run_command("quickstart", "--folder", str(self.folder / "var"))
        self.assertIn("AOT_SERVER__PORT=18080 AOT_METRICS__PORT=19090 make run", result.output)

    def test_keeps_existing_files(self) -> None:
        """C{quickstart} keeps files that exist."""
        self.prepare()
        secret = (self.folder / "var" / "jwt-secret").read_text()
        self.prepare()
        self.assertEqual((self.folder / "var" / "jwt-secret").read_text(), secret)


class TapTests(CommandCase):
    """C{twistd authotron}."""

    def test_check_option_exits_with_0_or_78(self) -> None:
        """C{--check} exits with 0 or 78 after the configuration is loaded."""
        options = ["--check", "--config"]
        good = self.assertRaises(SystemExit, Options().parseOptions, [*options, self.file()])
        bad = self.file(jwt={"exp": 0})
        self.assertEqual(good.code, 0)
        code = self.assertRaises(SystemExit, Options().parseOptions, [*options, bad]).code
        self.assertEqual(code, 78)

"""The commands as processes of their own, as an operator runs them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cases import CommandCase
from tests.config.cases import BASE, laid_over
from tests.config.test_files import ROOT, SERVICE, FilesCase
from tests.functional import wire
from tests.functional.daemon import environment, free_port
from tests.waiting import DEADLINE, until


class ImportTests(CommandCase):
    """The modules that a process loads at its start."""

    def test_light(self) -> None:
        """The gateway starts without the libraries of what is not configured."""
        program = (
            "import sys, authotron.cli.main, authotron.daemon.tap\n"
            "print(*{'argon2', 'jinja2', 'ldaptor', 'pymongo', 'txmongo'} & {*sys.modules})"
        )
        found = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        self.assertEqual(found.stdout.split(), [])

    def test_options_import_no_reactor(self) -> None:
        """
        Neither the plugin of C{twistd} nor the commands that start the gateway import the reactor
        before the event loop is chosen; a single process on epoll needs neither uvloop nor the
        supervisor, and no module for API tokens, remotes, revocation, events or shared keys before
        they are configured.
        """
        program = (
            "import sys, authotron.cli.quickstart, authotron.daemon.tap\n"
            "import authotron.config.check, authotron.daemon.workers.entry\n"
            "print(*{'twisted.internet.reactor', 'klein', 'treq', 'uvloop'} & {*sys.modules})\n"
            "from authotron.daemon import event_loop\n"
            "event_loop.choose({'AUTHOTRON_LOOP': 'epoll'})\n"
            "import authotron.daemon.process\n"
            "supervisor = 'authotron.daemon.workers.supervisor'\n"
            "loop = {'uvloop', 'authotron.daemon.uvloop', 'twisted.internet.asyncioreactor'}\n"
            "print(*(loop | {'treq', supervisor}) & {*sys.modules})\n"
            "tokens = {'authotron.tokens.service', 'authotron.web.token_routes'}\n"
            "remotes = {'authotron.net.tls', 'authotron.net.http_agents', 'twisted.web.client'}\n"
            "print(*(tokens | remotes) & {*sys.modules})\n"
            "shared = {'authotron.model.revocation', 'authotron.gateway.revocations',\n"
            "          'authotron.gateway.records', 'authotron.jose.key_ring'}\n"
            "events = {'authotron.telemetry.audit', 'authotron.daemon.event_poller',\n"
            "          'authotron.web.event_routes', 'authotron.jose.security_events'}\n"
            "print(*(shared | events) & {*sys.modules})\n"
        )
        found = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        self.assertEqual(found.stdout.split(), [])

    def test_run_searches_no_plugins(self) -> None:
        """
        C{authotron run} finds its own plugin of C{twistd} without a search, which would import
        unittest.
        """
        program = (
            "import sys\n"
            "from authotron.daemon import twistd\n"
            "try:\n"
            "    twistd.run(['--config', sys.argv[1], '--check'])\n"
            "except SystemExit as end:\n"
            "    print(end.code, *{'unittest'} & {*sys.modules})\n"
        )
        command = [sys.executable, "-c", program, self.file()]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        self.assertEqual(found.stdout.split(), ["0"])

    def test_http_2_of_twisted_stays_away(self) -> None:
        """The gateway does not import h2 until an endpoint for gRPC needs it."""
        program = (
            "import sys\n"
            "from authotron.daemon.http_1 import import_http_1_alone\n"
            "import_http_1_alone()\n"
            "print(*{'twisted.internet.reactor'} & {*sys.modules})\n"
            "import authotron.daemon.process\n"
            "print(*{'h2', 'hpack', 'twisted.web._http2'} & {*sys.modules})\n"
            "import authotron.web.grpc.connection, h2.connection\n"
        )
        found = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        self.assertEqual(found.stdout.split(), [])

    def test_completion_is_light(self) -> None:
        """Help and completion import neither Twisted nor pydantic, so Tab answers at once."""
        program = (
            "import sys, click\n"
            "from authotron.cli.main import main\n"
            "main.shell_complete(click.Context(main), 't'), main.get_help(click.Context(main))\n"
            "print(*{'twisted', 'pydantic', 'cryptography', 'yaml'} & {*sys.modules})"
        )
        found = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        self.assertEqual(found.stdout.split(), [])


class DoctorTests(CommandCase):
    """C{authotron doctor}; it needs a reactor of its own."""

    def doctor(self, path: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "authotron", "doctor", "--config", path, *options]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DEADLINE
        )

    def test_well(self) -> None:
        """Plugins that depend on no remote pass."""
        done = self.doctor(self.file())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("staff (plain)", done.stdout)

    def test_ill(self) -> None:
        """An unreachable remote is reported with the reason, and the exit status is 1."""
        closed = {"name": "sso", "realm": "r", "iam_realm": "x", "cert_uri": "http://127.0.0.1:9/k"}
        directory = {
            "name": "dir",
            "realm": "r",
            "uri": "ldap://127.0.0.1:9",
            "search_base": "dc=x",
        }
        done = self.doctor(
            self.file(
                providers=[{"type": "jwt", **closed}],
                augmenters=[{"type": "ldap", **directory}],
            )
        )
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count("bad"), 2)
        self.assertNotIn("Traceback", done.stderr)

    def test_store(self) -> None:
        """The store of API tokens is checked, too."""
        for folder, status in ((self.folder, 0), (self.folder / "nowhere", 1)):
            with self.subTest(str(folder)):
                path = str(folder.absolute() / "tokens.db")
                done = self.doctor(self.file(store={"type": "sqlite", "path": path}))
                self.assertEqual(done.returncode, status, done.stdout + done.stderr)
                self.assertIn("store (sqlite)", done.stdout)
                self.assertNotIn("Traceback", done.stderr)

    def test_bad_configuration(self) -> None:
        """Doctor checks nothing if the configuration is invalid."""
        self.assertEqual(self.doctor(self.file(jwt={"exp": 0})).returncode, 78)


class OutputCase(CommandCase):
    """Runs a command as a process of its own."""

    def run_process(self, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "authotron", *words]
        return subprocess.run(
            command, input=said, capture_output=True, text=True, check=False, timeout=DEADLINE
        )


class OutputTests(OutputCase):
    """The output of C{doctor} and C{explain}, as text and as JSON."""

    def test_explain_user_asks_for_the_password(self) -> None:
        """C{explain --user} reads the password from standard input, and explains Basic."""
        path = self.file()
        for password, status in (("wonder", 0), ("a mistake", 1)):
            with self.subTest(password):
                words = ("explain", "--user", "alice", "--config", path, "--json")
                done = self.run_process(*words, said=password + "\n")
                self.assertEqual(done.returncode, status, done.stderr)
                found = json.loads(done.stdout)
                self.assertEqual(found["accepted"], not status)
                self.assertEqual(found["providers"][0]["name"], "staff")
                self.assertNotIn(password, done.stdout + done.stderr)

    def test_explain_of_a_request(self) -> None:
        """C{explain --path} applies the policy to a request of the user that logs in."""
        rule = {"name": "r", "subject": [["username=alice"]], "permissions": ["/a:GET"]}
        path = self.file(policy={"rules": [rule]})
        for resource, status in (("/a", 0), ("/b", 1)):
            words = ("explain", "--user", "alice", "--config", path, "--json", "--path", resource)
            done = self.run_process(*words, said="wonder\n")
            self.assertEqual(done.returncode, status, done.stderr)
            found = json.loads(done.stdout)
            self.assertTrue(found["accepted"])
            self.assertEqual(found["ruling"]["decision"], "deny" if status else "allow")

    def test_explain_of_no_header(self) -> None:
        """A malformed header is reported in words, without the name of a class."""
        done = self.run_process("explain", "--config", self.file(), said="alice:pw")
        self.assertEqual(done.returncode, 1)
        self.assertIn("malformed: ", done.stdout)
        self.assertNotIn("BadCredentials", done.stdout + done.stderr)

    def test_reader_that_ends_early(self) -> None:
        """If the reader of the output has ended, the command ends quietly with its own status."""
        words = [sys.executable, "-m", "authotron", "explain", "--config", self.file()]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.close()
            process.stdout = None
            _, told = process.communicate(b"Basic " + b64encode(b"alice:wonder"), timeout=DEADLINE)
            self.assertEqual((process.returncode, told), (0, b""))

    def test_doctor_as_json_W_DOCTOR(self) -> None:
        """C{doctor --json} prints one object, also if a check fails."""
        closed = {"name": "sso", "realm": "r", "iam_realm": "x", "cert_uri": "http://127.0.0.1:9/k"}
        done = self.run_process(
            "doctor", "--json", "--config", self.file(providers=[{"type": "jwt", **closed}])
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        found = json.loads(done.stdout)
        self.assertFalse(found["good"])
        self.assertIn("connection refused", found["plugins"][0]["checks"][0]["what"])

    def test_invalid_configuration_as_json(self) -> None:
        """With C{--json} the problems of a configuration are JSON, too: exit status 78."""
        path = self.file(jwt={"exp": 0})
        for command in ("doctor", "explain"):
            done = self.run_process(command, "--json", "--config", path, said="x")
            self.assertEqual(done.returncode, 78)
            self.assertEqual(json.loads(done.stdout)["problems"][0]["path"], "jwt.exp")

    def test_foreign_store_is_a_bad_row_W_DOCTOR(self) -> None:
        """A token store that cannot be used is a bad row, and the list is finished: status 1."""
        database = self.folder.absolute() / "tokens.db"
        database.write_bytes(b"this is no database" * 100)
        path = self.file(store={"type": "sqlite", "path": str(database)})
        done = self.run_process("doctor", "--config", path)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("store (sqlite)\n  bad", done.stdout)
        self.assertNotIn("Traceback", done.stderr)


class QuickstartTests(SynchronousTestCase):
    """C{authotron quickstart}, which C{make run} starts."""

    def test_ctrl_c_is_no_failure_W_STOP(self) -> None:
        """Ctrl-C ends the gateway with status 0, so that C{make run} prints no error."""
        folder = Path(self.mktemp()).absolute()
        second = free_port()
        ports = {"AOT_SERVER__PORT": str(free_port()), "AOT_METRICS__PORT": str(second)}
        with subprocess.Popen(
            [sys.executable, "-m", "authotron", "quickstart", "--folder", str(folder)],
            stdout=subprocess.PIPE,
            env={**environment(), **ports},
            text=True,
        ) as gateway:
            self.addCleanup(gateway.kill)

            def answers() -> bool:
                with contextlib.suppress(OSError):
                    return wire.ask(second, "/health").status == 200
                return False

            until(answers, "answering", otherwise=lambda: "")
            for _ in range(3):  # as often as an impatient operator presses Ctrl-C
                gateway.send_signal(signal.SIGINT)
            printed, _ = gateway.communicate(timeout=DEADLINE)
            self.assertEqual(gateway.returncode, 0, printed)
        loop = os.environ.get("AUTHOTRON_LOOP", "auto")
        has_uvloop = importlib.util.find_spec("uvloop") is not None
        expected = loop if loop != "auto" else "uvloop" if has_uvloop else "epoll"
        self.assertIn(
            f"serves at http://127.0.0.1:{ports['AOT_SERVER__PORT']} ({expected})", printed
        )
        self.assertTrue(printed.rstrip().endswith("has stopped"), printed)
        self.assertNotIn("FATAL", printed)


class TokensTests(OutputCase):
    """C{authotron tokens} as JSON, and the replacement of tokens."""

    def setUp(self) -> None:
        super().setUp()
        store = {"type": "sqlite", "path": str(self.folder.absolute() / "tokens.db")}
        self.config = self.file(store=store)

    def tokens(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.run_process("tokens", words[0], "--config", self.config, *words[1:])
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def create(self, *words: str, status: int = 0) -> Any:
        owner = ("--realm", "internal", "--username", "alice")
        done = self.tokens("create", *owner, *words, "--json", status=status)
        return json.loads(done.stdout) if not status else done.stderr

    def test_json_is_that_of_http(self) -> None:
        """C{create}, C{list} and C{show} print API tokens in the shape of C{/tokens}."""
        created = self.create("--name", "ci", "--comment", "a comment", "--ttl", "1h")
        listed = json.loads(self.tokens("list", "--json").stdout)
        shown = json.loads(self.tokens("show", created["id"], "--json").stdout)
        self.assertEqual({**listed, "token": created["token"]}, created)
        self.assertEqual({**shown, **listed}, shown)
        self.assertEqual((listed["comment"], listed["version"]), ("a comment", 1))
        self.assertEqual(listed["expires"] - listed["created"], 3600)

    def test_rotate(self) -> None:
        """C{rotate} prints a token with the same restrictions, and revokes the old one."""
        old = self.create("--host", "a.example", "--ttl", "2h")
        new = json.loads(self.tokens("rotate", old["id"], "--json").stdout)
        self.assertEqual((new["rotated"], new["hosts"]), (old["id"], ["a.example"]))
        self.assertNotEqual(new["token"], old["token"])
        self.assertEqual(new["expires"] - new["created"], 7200)
        self.assertEqual(json.loads(self.tokens("list", "--json").stdout)["id"], new["id"])
        self.tokens("rotate", old["id"], status=1)

    def test_bound(self) -> None:
        """A token is bound to a key and a certificate, and stays so when it is rotated."""
        hash_ = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        self.assertIn("tokens.bound", self.create("--jkt", hash_, status=1))
        self.config = self.file(
            store={"type": "sqlite", "path": str(self.folder.absolute() / "tokens.db")},
            tokens={"bound": {}},
        )
        self.assertIn("--jkt or --x5t", self.create("--jkt", "short", status=2))
        old = self.create("--jkt", hash_, "--x5t", hash_)
        self.assertEqual(old["cnf"], {"jkt": hash_, "x5t#S256": hash_})
        new = json.loads(self.tokens("rotate", old["id"], "--json").stdout)
        self.assertEqual(new["cnf"], old["cnf"])

    def test_failures_as_json(self) -> None:
        """With C{--json} a failure is JSON on standard output, as over HTTP, and text as well."""
        for words in (("rotate", "unknown"), ("show", "unknown")):
            done = self.tokens(*words, "--json", status=1)
            self.assertEqual(json.loads(done.stdout), {"error": "there is no such API token"})
            self.assertIn("there is no such API token", done.stderr)

    def test_revoke_of_user(self) -> None:
        """All tokens of a user are revoked at once, and those of other users stay."""
        ids = {self.create()["id"] for _ in range(2)}
        owner = ("--realm", "internal", "--username")
        done = self.tokens("revoke", *owner, "alic", "--json")
        self.assertEqual(json.loads(done.stdout), {"revoked": [], "missing": []})
        done = self.tokens("revoke", *owner, "alice", "--json")
        self.assertEqual({*json.loads(done.stdout)["revoked"]}, ids)
        self.assertEqual(self.tokens("list").stdout, "")

    def test_errors_name_what_there_is(self) -> None:
        """An unknown realm and a role that the owner lacks are errors that name the known ones."""
        words = ("create", "--realm", "intrnal", "--username", "alice")
        done = self.tokens(*words, status=1)
        self.assertIn("there is no realm 'intrnal'; did you mean 'internal'?", done.stderr)
        done = self.create("--role", "admin", status=1)
        self.assertIn("alice does not have the role 'admin' (has: no roles)", done)
        self.assertIn("the limit of 366 d", self.create("--ttl", "3000d", status=1))


class FilesOfOthersTests(FilesCase):
    """Commands that root runs in a folder where another account may have put links."""

    def run_command(self, *words: str, **store: Any) -> subprocess.CompletedProcess[str]:
        config = self.top / "config.yaml"
        section = {"type": "sqlite", "path": str(self.file), **store}
        config.write_text(yaml.safe_dump(laid_over(BASE, {"store": section})))
        config.chmod(0o600)
        return subprocess.run(
            [sys.executable, "-m", "authotron", *words, "--config", str(config)],
            capture_output=True,
            check=False,
            text=True,
            timeout=DEADLINE,
        )

    def test_dangling_link_T91a(self) -> None:
        """No command makes the file that a dangling link in the folder names."""
        preload = self.system / "preload"
        for words in (("tokens", "list"), ("doctor",), ("tokens", "prune")):
            with self.subTest(words):
                self.file.unlink(missing_ok=True)
                self.file.symlink_to(preload)
                done = self.run_command(*words)
                self.assertEqual(done.returncode, 1 if ROOT else 0, done.stderr)
                self.assertNotIn("Traceback", done.stderr)
                self.assertEqual(preload.exists(), not ROOT)

    def test_files_of_owner_T91a(self) -> None:
        """A file that a command creates belongs to the account, which can use it."""
        done = self.run_command("tokens", "list")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        made = {path.name: self.owner(path) for path in self.folder.iterdir()}
        self.assertEqual(made, dict.fromkeys(("tokens.db", "tokens.db.pepper"), SERVICE))

    def test_quickstart_T91a(self) -> None:
        """Quickstart follows no links in the folder of another account."""
        for name in ("jwt-secret", "authotron.yaml"):
            (self.folder / name).symlink_to(self.system / name)
        subprocess.run(
            [sys.executable, "-m", "authotron", "quickstart", "--prepare", "--folder", self.folder],
            capture_output=True,
            check=False,
            timeout=DEADLINE,
        )
        self.assertEqual([*self.system.iterdir()], [self.secret])
        made = [path for path in self.folder.iterdir() if not path.is_symlink()]
        self.assertEqual({self.owner(path) for path in made}, {SERVICE})


del FilesCase

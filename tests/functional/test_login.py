"""Clients log in at a real gateway from the command line, and other programs use their tokens."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import keys
from tests.functional import wire
from tests.functional.daemon import TWISTD, Daemon, environment, free_port, needed
from tests.functional.proxies import shipped
from tests.functional.test_client_certificates import ROBOT, CertificatesMixin, of_nginx
from tests.functional.test_tokens import post
from tests.mtls.issuing import key, pem
from tests.waiting import DEADLINE

SECTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "jwt": {"iss": "https://gate.example.org", "alg": "ES256", "key": keys.generate("ES256")},
        "tokens": {"exchange": {}},
    }
)
PAGE = Path(__file__).parents[2] / "docs" / "login.md"
EXCHANGED = "issued in exchange to alice"
READERS = [{"username": "alice", "password": "wonder", "roles": ["reader", "writer"]}]


class User:
    """A user of a machine, with a home, who runs commands."""

    def __init__(self, home: Path, **environ: str) -> None:
        home.mkdir()
        self.cache = home / ".cache" / "authotron"
        given = environment({"HOME": str(home), **environ})
        self.environ = {name: value for name, value in given.items() if "XDG_" not in name}

    def run(self, *words: str, text: str = "") -> tuple[int, str, str]:
        """Run a command of authotron; return its exit status and what it prints."""
        command = [str(TWISTD.parent / "authotron"), *words]
        done = self.start(command, text)
        return done.returncode, done.stdout, done.stderr

    def get(self, *words: str) -> str:
        """Return the token that C{authotron tokens get} prints."""
        status, found, errors = self.run("tokens", "get", *words)
        assert status == 0, errors
        return found.removesuffix("\n")

    def start(self, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            check=False,
            env=self.environ,
            text=True,
            timeout=DEADLINE * 4,
        )

    def file(self) -> Path:
        [found] = [each for each in self.cache.iterdir() if not each.suffix]
        return found


class LoginTests(SynchronousTestCase):
    """A gateway that serves TLS itself."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        certificate, private = self.folder / "certificate.pem", self.folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", str(private), "-out", str(certificate)]
        subprocess.run([*command, *names, *files], check=True, capture_output=True)
        self.port, secure = free_port(), free_port()
        tls = f"ssl:{secure}:interface=127.0.0.1:privateKey={private}:certKey={certificate}"
        self.daemon = Daemon(self.folder / "gateway", self.port).configure(
            server={
                "host": ...,
                "port": ...,
                "listen": [tls, f"tcp:{self.port}:interface=127.0.0.1"],
            },
            providers=[{"name": "local", "type": "plain", "realm": "here", "users": READERS}],
            store={"type": "sqlite", "path": str(self.folder / "tokens.db")},
            revocation={},
            oauth={},
            **{**SECTIONS, "tokens": {"exchange": {}, "refresh": {}}},
        )
        self.addCleanup(self.daemon.start().stop)
        self.url, self.certificate = f"https://localhost:{secure}", certificate
        self.alice = self.user("alice")

    def user(self, name: str, **environ: str) -> User:
        given = {"AUTHOTRON_GATEWAY": self.url, "AUTHOTRON_CA_FILE": str(self.certificate)}
        return User(self.folder / name, **given, **environ)

    def status(self, token: str) -> int:
        fields = {"Authorization": f"Bearer {token}"}
        return wire.ask(self.port, "/authenticate", fields).status

    def log_in(self, *words: str) -> None:
        status, found, errors = self.alice.run(
            "login", "basic", "--user", "alice", *words, text="wonder\n"
        )
        self.assertEqual(status, 0, errors)
        self.assertIn(f"alice (realm here) is logged in at {self.url}", found)

    def test_login_and_logout(self) -> None:
        """A login gives a token that counts until the logout, and is kept for its user alone."""
        self.log_in("--role", "reader")
        file = self.alice.file()
        modes = [stat.S_IMODE(each.stat().st_mode) for each in (file.parent, file)]
        self.assertEqual(modes, [0o700, 0o600])
        token = self.alice.get()
        self.assertEqual(self.status(token), 200)
        self.assertEqual(self.alice.get("--header"), f"Authorization: Bearer {token}")
        status, _, errors = self.alice.run("tokens", "exchange", "--role", "writer")
        self.assertEqual(status, 1)
        self.assertIn("does not have the role 'writer'", errors)
        self.assertEqual(self.alice.run("logout")[0], 0)
        self.assertEqual((self.status(token), file.exists()), (401, False))
        status, found, errors = self.alice.run("tokens", "get")
        self.assertEqual((status, found), (1, ""))
        self.assertIn("authotron login", errors)

    def test_wrong(self) -> None:
        """A wrong password, an untrusted server and a gateway that is away are told apart."""
        words = ("login", "basic", "--user", "alice")
        self.assertEqual(self.alice.run(*words, text="wrong\n")[0], 1)
        self.alice.environ.pop("AUTHOTRON_CA_FILE")
        status, _, errors = self.alice.run(*words, text="wonder\n")
        self.assertEqual(status, 75)
        self.assertIn("certificate", errors)
        self.alice.environ["AUTHOTRON_GATEWAY"] = f"http://127.0.0.1:{free_port()}"
        self.assertEqual(self.alice.run(*words, text="wonder\n")[0], 75)
        self.assertNotIn("wonder", self.daemon.log())

    def test_curl(self) -> None:
        """C{curl} sends the header that it reads from the command, also a narrower token's."""
        needed("curl")
        self.log_in()
        narrow = self.alice.run("tokens", "exchange", "--method", "GET", "--header")[1]
        for header in (self.alice.get("--header"), narrow):
            words = ["-sf", "-H", "@-", f"http://127.0.0.1:{self.port}/authenticate"]
            done = self.alice.start(["curl", *words, "-H", "X-Original-Method: GET"], header)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_one_renewal(self) -> None:
        """Of many processes that need a token at once, one logs in for all."""
        script = self.user(
            "script",
            AUTHOTRON_PROVIDER="basic",
            AUTHOTRON_USER="alice",
            AUTHOTRON_PASSWORD="wonder",
            AUTHOTRON_REFRESH="no",
        )
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: script.get(), range(8)))
        [token] = found
        self.assertEqual(self.status(token), 200)
        self.assertEqual(self.daemon.log().count(EXCHANGED), 1)
        content = json.loads(script.file().read_text())
        half = content["obtained"] + (content["ends"] - content["obtained"]) / 2
        self.assertEqual(content["due"], half)
        script.file().write_text(json.dumps({**content, "due": content["obtained"]}))
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: script.get(), range(8)))
        self.assertEqual(self.daemon.log().count(EXCHANGED), 2)
        self.assertEqual({self.status(each) for each in found}, {200})
        self.assertNotEqual(script.get(), token)

    def test_refresh(self) -> None:
        """A refresh token renews the login once for all processes, and ends with the logout."""
        self.log_in("--role", "reader")
        first = self.make_due()
        self.assertTrue(first["refresh_token"].startswith("aotr_"))
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: self.alice.get(), range(8)))
        second = json.loads(self.alice.file().read_text())
        self.assertIn(second["token"], {*found, self.alice.get()})
        self.assertNotEqual(second["token"], first["token"])
        self.assertNotEqual(second["refresh_token"], first["refresh_token"])
        self.assertEqual(self.daemon.log().count("POST /token/refresh: 200"), 1)
        status, _, errors = self.alice.run("tokens", "exchange", "--role", "writer")
        self.assertEqual(status, 1, errors)
        status, found_again, errors = self.alice.run("logout", "--json")
        self.assertEqual(status, 0, errors)
        report = json.loads(found_again)
        self.assertEqual((report["revoked"], report["refresh_token_revoked"]), (True, True))
        self.assertEqual(self.status(second["token"]), 401)
        copied = {"refresh_token": second["refresh_token"]}
        self.assertEqual(post(self.port, "/token/refresh", copied, {})[0], 400)

    def test_everywhere(self) -> None:
        """A logout everywhere ends the kept login, and the tokens of all other logins."""
        self.log_in()
        stolen = json.loads(self.alice.file().read_text())
        self.alice.file().unlink()
        self.log_in()
        token = self.alice.get()
        words = ("logout", "--everywhere", "--provider", "basic", "--user", "alice")
        status, found, errors = self.alice.run(*words, text="wonder\n")
        self.assertEqual(status, 0, errors)
        self.assertIn("All tokens", found)
        self.assertEqual([self.status(each) for each in (token, stolen["token"])], [401, 401])
        copied = {"refresh_token": stolen["refresh_token"]}
        self.assertEqual(post(self.port, "/token/refresh", copied, {})[0], 400)

    def make_due(self) -> dict[str, Any]:
        """Let the token of the login be due for renewal; return what is kept."""
        content: dict[str, Any] = json.loads(self.alice.file().read_text())
        self.alice.file().write_text(json.dumps({**content, "due": content["obtained"]}))
        return content

    def test_git(self) -> None:
        """The real C{git} gets the token for the services of the profile, and for no other."""
        needed("git")
        self.alice.environ["AUTHOTRON_SERVICES"] = "https://git.example.org"
        self.log_in()
        authotron = TWISTD.parent / "authotron"
        helper = f"credential.helper=!{authotron} tokens git-credential --as-password token"
        git = ["git", "-c", helper, "-c", "core.askPass=true", "credential"]
        self.alice.environ["GIT_TERMINAL_PROMPT"] = "0"
        asked = "protocol=https\nhost=git.example.org\n\n"
        found = self.alice.start([*git, "fill"], asked).stdout
        self.assertIn(f"username=token\npassword={self.alice.get()}\n", found)
        other = self.alice.start([*git, "fill"], "protocol=https\nhost=evil.example\n\n")
        self.assertNotIn("eyJ", other.stdout + other.stderr)
        before = self.alice.get()
        self.alice.start([*git, "reject"], found)
        content = json.loads(self.alice.file().read_text())
        self.assertEqual((content["due"], content["token"]), (0.0, before))

    def test_hostile_cache(self) -> None:
        """A cache that is a link, or open to other users, is refused, and no password is sent."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        self.alice.cache.parent.mkdir()
        self.alice.cache.symlink_to(elsewhere)
        words = ("login", "basic", "--user", "alice")
        self.assertEqual(self.alice.run(*words, text="wonder\n")[0], 1)
        self.assertEqual([*elsewhere.iterdir()], [])
        self.alice.cache.unlink()
        self.alice.cache.mkdir()
        self.alice.cache.chmod(0o755)
        status, _, errors = self.alice.run(*words, text="wonder\n")
        self.assertEqual(status, 1)
        self.assertIn("use chmod 700", errors)
        self.assertNotIn(EXCHANGED, self.daemon.log())

    def test_command_line_has_no_secrets(self) -> None:
        """No option takes a secret, so other users of the machine see none in a process list."""
        for option in ("--password", "--token"):
            status, _, errors = self.alice.run("login", "basic", option, "SECRET")
            self.assertEqual(status, 2)
            self.assertIn("No such option", errors)


class CertificateTests(CertificatesMixin, SynchronousTestCase):
    """A gateway behind nginx, which asks its clients for certificates."""

    sections = SECTIONS
    further = ({"type": "own-jwt", "name": "machines-own", "realm": "machines"},)

    def test_certificate(self) -> None:
        """A client with a certificate gets a token, which then counts without the certificate."""
        health = "location = /nginx-health {"
        [snippet] = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        self.serve(shipped.Nginx, of_nginx, (health, snippet + health))
        form = serialization.PrivateFormat.PKCS8
        raw = key("client").private_bytes(
            serialization.Encoding.PEM, form, serialization.NoEncryption()
        )
        certificate, private = self.folder / "robot.pem", self.folder / "robot.key"
        certificate.write_text(pem(ROBOT))
        private.write_bytes(raw)
        robot = User(
            self.folder / "robot",
            AUTHOTRON_GATEWAY=f"https://localhost:{self.port}",
            AUTHOTRON_CA_FILE=str(self.trusted),
        )
        status, _, errors = robot.run("login", "certificate")
        self.assertEqual(status, 2, errors)
        files = ["--client-certificate-file", str(certificate), "--client-key-file", str(private)]
        status, found, errors = robot.run("login", "certificate", *files)
        self.assertEqual(status, 0, errors)
        self.assertIn("robot (realm machines) is logged in", found)
        self.assertEqual(self.answer(robot.get()), 200)
        status, narrow, errors = robot.run("tokens", "exchange", "--method", "PUT")
        self.assertEqual(status, 0, errors)
        self.assertEqual(self.answer(narrow.strip()), 403)
        content = json.loads(robot.file().read_text())
        robot.file().write_text(json.dumps({**content, "due": 0.0}))
        robot.environ["AUTHOTRON_PROVIDER"] = "certificate"
        self.assertNotEqual(robot.get(*files), content["token"])

    def answer(self, token: str) -> int:
        """Return the answer of the gateway to a question about a GET request with a token."""
        facts = {"X-Original-Method": "GET", "X-Original-URI": "/"}
        fields = {"Authorization": f"Bearer {token}", **facts}
        return wire.ask(self.daemon.port, "/authenticate", fields).status

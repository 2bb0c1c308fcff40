"""C{authotron probe}: what it asks before it attacks, and what it prints."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from click.testing import Result
from twisted.internet.defer import Deferred

from authotron.cli import probe
from authotron.probe import place
from authotron.probe.attack import Phase
from authotron.probe.request import Credential
from authotron.probe.table import ATTACKS
from tests.cli.cases import CommandCase
from tests.probe.fake_proxy import TARGET, FakeProxy, answered


class ConsentTests(CommandCase):
    """Whether the command attacks at all."""

    def probe(self, *words: str) -> Result:
        """Run the command; no reactor is started, as each of these command lines is refused."""
        return self.run_command("probe", *words)

    def credential(self, content: bytes = b"Basic x") -> str:
        path = self.folder / "credential"
        path.write_bytes(content)
        return str(path)

    def test_asks_before_it_attacks_others(self) -> None:
        """Without a terminal and without --yes, only loopback addresses are attacked."""
        for url in ("http://192.0.2.1/", "https://[2001:db8::1]/", "http://0.0.0.0/"):
            result = self.probe("--credential-file", self.credential(), url)
            self.assertEqual(result.exit_code, 2, result.output)
            self.assertIn("is not a loopback address: give --yes", result.output)

    def test_command_line(self) -> None:
        """What is missing or contradictory is an error of the command line."""
        file = self.credential()
        for words, reason in (
            ((), "give URL, or --echo"),
            (("http://127.0.0.1/",), "give --user or --credential-file"),
            (("--user", "a", "--credential-file", file, "http://127.0.0.1/"), "not both"),
            (("--user", "a:b", "http://127.0.0.1/"), "must not have a colon"),
            (
                (
                    "--echo",
                    "x",
                ),
                "must be PORT or HOST:PORT",
            ),
            (
                (
                    "--echo",
                    "70000",
                ),
                "must be PORT or HOST:PORT",
            ),
            (("http://alice:s3cret@127.0.0.1/",), "contains a user name or password"),
            (("--ca-file", file, "--credential-file", file, "https://127.0.0.1/"), "in PEM"),
        ):
            with self.subTest(reason):
                result = self.probe(*words)
                self.assertEqual(result.exit_code, 2, result.output)
                self.assertIn(reason, " ".join(result.output.split()))
                self.assertNotIn("s3cret", result.output)

    def test_credential_file(self) -> None:
        """A credential is one line of ASCII; an error does not repeat it."""
        for content in (b"", b"Basic s3cret\r\nX: y", b"Basic s3cret\xff", b"Basic {s3cret}"):
            words = "--credential-file", self.credential(content), "http://127.0.0.1/"
            result = self.probe(*words)
            self.assertEqual(result.exit_code, 2)
            self.assertNotIn("s3cret", result.output)

    def test_header_of_a_credential(self) -> None:
        """A file has a whole header, or the value of Authorization; an unknown one is alike."""
        for content, line, unknown in (
            (b"Basic x\n", b"Authorization: Basic x", b"Authorization: Bearer unknown-"),
            (b"Authorization: Basic x", b"Authorization: Basic x", b"Authorization: Bearer "),
            (b"X-API-Key: abc", b"X-API-Key: abc", b"X-API-Key: unknown-"),
        ):
            found = probe._from_file(None, None, Path(self.credential(content)))
            self.assertEqual(found, line)
            made = probe._credentials(found, None)[Credential.UNKNOWN]
            self.assertTrue(made.startswith(unknown), made)


class ReportTests(CommandCase):
    """What the command prints of an attack."""

    def attack(self, proxy: FakeProxy, **over: Any) -> tuple[bool, str, str]:
        """Attack a proxy; return whether all is good, and what is printed."""
        where = place.parse("http://127.0.0.1/")
        phase = Phase.GATEWAY_UP if proxy.is_up else Phase.GATEWAY_DOWN
        usual = {"named": None, "as_json": False, **over}
        name = usual.pop("named")
        credentials = dict(TARGET.credentials)
        plan = probe._Plan(where, "127.0.0.1", credentials, phase, None, name, None, **usual)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            good = self.successResultOf(
                Deferred.fromCoroutine(probe._attack(proxy.send, plan, where))
            )
        return good, out.getvalue(), err.getvalue()

    def test_nothing(self) -> None:
        """Every attack that found nothing is listed, and those that were not tried."""
        good, printed, _ = self.attack(FakeProxy())
        self.assertTrue(good)
        for attack in ATTACKS:
            self.assertIn(attack.name, printed)
        self.assertIn("not tried  gateway-down", printed)
        self.assertIn("leaks: 0", printed)

    def test_leak(self) -> None:
        """A leak is printed with what leaked, what it means, and how this proxy closes it."""
        good, printed, _ = self.attack(FakeProxy(passes=["x-auth-roles"]))
        self.assertFalse(good)
        self.assertIn("LEAK       identity-header: X-Auth-Roles", printed)
        self.assertIn("To close it: proxy_set_header X-Auth-Roles $authotron_roles;", printed)
        _, printed, _ = self.attack(FakeProxy(passes=["x-auth-roles"]), named="haproxy")
        self.assertIn("To close it: http-request set-header X-Auth-Roles", printed)

    def test_json(self) -> None:
        """The report as JSON has the same content."""
        _, printed, _ = self.attack(FakeProxy(passes=["x-auth-roles"]), as_json=True)
        report = json.loads(printed)
        self.assertEqual((report["good"], report["proxy"]), (False, "nginx"))
        [leak] = report["leaks"]
        self.assertEqual((leak["attack"], leak["leaked"]), ("identity-header", ["X-Auth-Roles"]))
        self.assertEqual(len(report["attacks"]), len(ATTACKS) - 1)
        self.assertEqual([each["attack"] for each in report["not_tried"]], ["gateway-down"])

    def test_no_judgement(self) -> None:
        """A proxy that cannot be judged is not good, and the reason is printed."""
        proxy = FakeProxy(answers=lambda _: answered(404))
        good, _, printed = self.attack(proxy)
        self.assertFalse(good)
        self.assertIn("is not from the echo backend", printed)
        _, printed, _ = self.attack(proxy, as_json=True)
        self.assertIn("is not from the echo backend", json.loads(printed)["error"])

    def test_no_secret_is_printed(self) -> None:
        """Neither credentials nor JWTs are printed, whatever leaks."""
        for as_json in (True, False):
            adds = lambda _: [b"X-Credential: Basic YWxpY2U6d29uZGVy", b"A: Bearer jwt-s3cret"]  # noqa: E731 - one line says it
            good, out, err = self.attack(FakeProxy(adds=adds), as_json=as_json)
            self.assertFalse(good)
            self.assertNotIn("YWxpY2U6d29uZGVy", out + err)
            self.assertNotIn("s3cret", out + err)

    def test_control_characters_of_a_proxy(self) -> None:
        """What a proxy sends cannot control the terminal."""
        adds = lambda head: [b"X-\x1b[31m: " + each for each in head.split() if b"canary" in each]  # noqa: E731 - one line says it
        _, printed, _ = self.attack(FakeProxy(adds=adds))
        self.assertIn("LEAK", printed)
        self.assertNotIn("\x1b", printed)

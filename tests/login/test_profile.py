"""The settings of a login: options, then variables, then the files of user and machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.login import profile
from authotron.login.profile import Places, Profile
from authotron.model.errors import ConfigError

URL = "https://gate.example"


class ProfileTests(SynchronousTestCase):
    """Where a setting comes from."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.machine = self.home / "etc"
        self.user = self.home / ".config" / "authotron"
        for each in (self.machine, self.user):
            each.mkdir(parents=True, mode=0o755)

    def file(self, folder: Path, text: str, name: str = "default", mode: int = 0o600) -> None:
        path = folder / f"{name}.yaml"
        path.write_text(text)
        path.chmod(mode)

    def places(self, **environ: str) -> Places:
        return Places({"HOME": str(self.home), **environ}, os.geteuid(), self.machine)

    def read(self, options: dict[str, Any] | None = None, **environ: str) -> Profile:
        return profile.read("default", options or {}, self.places(**environ))

    def problems(self, options: dict[str, Any] | None = None, **environ: str) -> str:
        with self.assertRaises(ConfigError) as caught:
            self.read(options, **environ)
        return "; ".join(map(str, caught.exception.problems))

    def test_precedence(self) -> None:
        """An option counts more than a variable, that more than the user's file, and so on."""
        self.file(self.machine, f"gateway: {URL}/machine\nrealm: machine\nuser: machine\n")
        self.assertEqual(self.read().gateway, f"{URL}/machine")
        self.file(self.user, f"gateway: {URL}/user\nrealm: user\n")
        self.assertEqual((self.read().gateway, self.read().user), (f"{URL}/user", "machine"))
        found = self.read(AUTHOTRON_GATEWAY=f"{URL}/variable", AUTHOTRON_REALM="")
        self.assertEqual((found.gateway, found.realm), (f"{URL}/variable", "user"))
        stated = self.read({"gateway": f"{URL}/option"}, AUTHOTRON_GATEWAY=f"{URL}/variable")
        self.assertEqual(stated.gateway, f"{URL}/option")

    def test_names(self) -> None:
        """Another profile has another file."""
        self.file(self.user, f"gateway: {URL}/work\n", "work")
        self.assertIsNone(self.read().gateway)
        self.assertEqual(profile.read("work", {}, self.places()).gateway, f"{URL}/work")

    def test_xdg(self) -> None:
        """C{XDG_CONFIG_HOME} and C{XDG_CACHE_HOME} count if they are absolute paths."""
        places = self.places(XDG_CACHE_HOME=str(self.home / "c"), XDG_CONFIG_HOME="relative")
        self.assertEqual(places.cache, self.home / "c" / "authotron")
        self.assertEqual(places.profiles[1], self.user)
        self.assertEqual(self.places(HOME="/h").cache, Path("/h/.cache/authotron"))
        with self.assertRaises(ConfigError):
            _ = self.places(HOME="").cache

    def test_secrets(self) -> None:
        """A file of a secret replaces a secret that counts less; paths begin at their file."""
        (self.user / "pw").write_text("from the file\n")
        self.file(self.machine, "password: machine\n")
        self.file(self.user, "password_file: pw\n")
        found = self.read().password
        assert found is not None
        self.assertEqual(found.get_secret_value(), "from the file")
        stated = self.read(AUTHOTRON_PASSWORD="variable").password
        assert stated is not None
        self.assertEqual(stated.get_secret_value(), "variable")

    def test_asked_for(self) -> None:
        """C{-} leaves a setting open, so that the user is asked for it."""
        self.file(self.user, "user: alice\npassword: wonder\ntoken: t\n")
        found = self.read({"user": "-", "password_file": "-"}, AUTHOTRON_TOKEN_FILE="-")
        self.assertEqual((found.user, found.password, found.token), (None, None, None))

    def test_types_of_variables(self) -> None:
        """Variables can state truths, durations and lists."""
        found = self.read(
            AUTHOTRON_REFRESH="no",
            AUTHOTRON_TIMEOUT="2s",
            AUTHOTRON_SERVICES=f"{URL} https://git.example",
            AUTHOTRON_GATEWAY=URL,
        )
        self.assertEqual((found.refresh, found.timeout), (False, 2.0))
        self.assertEqual(found.origins, [URL, URL, "https://git.example"])
        self.assertIn("AUTHOTRON_REFRESH", self.problems(AUTHOTRON_REFRESH="perhaps"))

    def test_https(self) -> None:
        """Credentials go unencrypted to this machine alone, unless the user allows it."""
        for url in ("http://127.0.0.1:8080", "http://localhost", "http://[::1]/x", URL):
            self.assertEqual(self.read({"gateway": url}).gateway, url)
        for url in ("http://gate.example", "http://127.0.0.1.example", "http://10.0.0.1"):
            self.assertIn("unencrypted", self.problems({"gateway": url}))
            self.assertIn("unencrypted", self.problems({"services": (url,)}))
            self.assertEqual(self.read({"gateway": url, "allow_http": True}).gateway, url)

    def test_malformed(self) -> None:
        """Malformed settings are refused, and no secret is repeated."""
        for options, expected in (
            ({"gateway": "ftp://gate.example"}, "gateway"),
            ({"gateway": "https://u:SECRET@gate.example"}, "gateway"),
            ({"gateway": f"{URL}?token=SECRET"}, "query"),
            ({"user": "a:b"}, "colon"),
            ({"realm": "a\nb"}, "realm"),
            ({"timeout": "SECRET"}, "timeout"),
            ({"client_certificate_file": "/none.pem"}, "client_certificate_file"),
        ):
            with self.subTest(options):
                found = self.problems(options)
                self.assertIn(expected, found)
                self.assertNotIn("SECRET", found)

    def test_unknown_key(self) -> None:
        """A key that does not exist is a problem, not ignored."""
        self.file(self.user, "gatway: https://gate.example\n")
        self.assertIn("gatway", self.problems())
        self.file(self.user, "user: a\nuser: b\n")
        self.assertIn("default.yaml", self.problems())

    def test_files_that_others_may_change(self) -> None:
        """A file that other users may change could name their own gateway."""
        for mode in (0o620, 0o602, 0o666):
            self.file(self.user, f"gateway: {URL}\n", mode=mode)
            self.assertIn("chmod", self.problems())
        foreign = Places({"HOME": str(self.home)}, os.geteuid() + 1, self.machine)
        if os.geteuid() != 0:  # What belongs to root may be used by every user.
            self.assertRaises(ConfigError, profile.read, "default", {}, foreign)

    def test_secrets_do_not_print(self) -> None:
        """Neither password nor token is in the representation of a profile."""
        found = repr(self.read({"password": "SECRET", "token": "SECRET"}))
        self.assertNotIn("SECRET", found)

"""Warnings about configurations that can run."""

from __future__ import annotations

import yaml

from authotron.config.file import load
from authotron.jose import keys
from tests.config.cases import BASE, ConfigCase


class WarningsTests(ConfigCase):
    """Warnings of C{check}, the log and C{/ready}."""

    def test_no_warning_without_a_reason(self) -> None:
        """A good configuration causes no warning."""
        self.assertEqual(self.load(BASE).warnings, [])

    def test_each_warning(self) -> None:
        """Weak secrets, unused audiences and deprecated plugins cause warnings."""
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

    def test_missing_folder_of_the_store(self) -> None:
        """A token store in a folder that does not exist causes a warning."""
        for folder, count in ((self.folder, 0), (self.folder / "none", 1)):
            store = {"type": "sqlite", "path": str(folder.absolute() / "x.db"), "compat": False}
            found = self.changed(store=store).warnings
            self.assertEqual(len([each for each in found if "does not exist" in each]), count)

    def test_main_port_without_tls(self) -> None:
        """A main port that other machines reach without TLS causes a warning."""
        for server, warned in (
            ({"host": "127.0.0.1"}, False),
            ({"host": "localhost"}, False),
            ({"host": "0.0.0.0"}, True),
            ({"host": ...}, True),
            ({"host": "192.0.2.1"}, True),
            ({"port": ..., "listen": ["unix:/run/a.sock:mode=660"]}, False),
            ({"port": ..., "listen": ["systemd"]}, False),
            ({"port": ..., "listen": ["tcp:8080:interface=127.0.0.1"]}, False),
            ({"port": ..., "listen": ["tcp6:8080:interface=\\:\\:1"]}, False),
            ({"port": ..., "listen": ["tcp:8080"]}, True),
            ({"port": ..., "listen": ["unix:/run/a.sock:mode=660", "tcp:port=8080"]}, True),
        ):
            with self.subTest(server):
                found = [each for each in self.changed(server=server).warnings if " TLS" in each]
                self.assertEqual(len(found), int(warned), found)

    def test_ambiguous_subjects_T25(self) -> None:
        """
        A realm that continues another realm with a hyphen causes a warning: subjects may
        collide.
        """
        staff = BASE["providers"][0]
        for realm, warned in (("internal-lab", True), ("internallab", False), ("lab", False)):
            with self.subTest(realm):
                found = self.changed(providers=[staff, {**staff, "name": "b", "realm": realm}])
                text = "\n".join(found.warnings)
                self.assertEqual(f"'internal' and {realm!r}" in text, warned)

    def test_provider_name_that_cannot_name_a_service_T82b(self) -> None:
        """A provider whose name cannot be a key of scopes causes a warning."""
        for name, warned in (("sso ", True), ("ss\u200bo", True), ("my sso", False)):
            found = self.changed(providers=[{**BASE["providers"][0], "name": name}])
            text = "\n".join(found.warnings)
            self.assertEqual(
                f"scopes of its tokens are left out, as its name {name!a}" in text, warned
            )

    def test_delegates_that_cannot_act(self) -> None:
        """Roles of C{tokens.delegates} need the section C{oauth}, and realms that have users."""
        key = keys.generate("EdDSA")
        jwt = {"iss": "https://auth.example.org", "alg": "EdDSA", "key": key, "secret": ...}
        for oauth, realm, parts in (
            ({}, "internal", []),
            (..., "internal", ["configure the section oauth"]),
            ({"server": False}, "internal", ["configure the section oauth"]),
            ({}, "nowhere", ["tokens.delegates.frontend: no provider has the realm nowhere"]),
        ):
            tokens = {"exchange": {}, "delegates": {"frontend": [realm]}}
            with self.subTest(oauth=oauth, realm=realm):
                warnings = self.changed(jwt=jwt, tokens=tokens, oauth=oauth).warnings
                found = [each for each in warnings if "tokens.delegates" in each]
                self.assertEqual(len(found), len(parts), found)
                for part in parts:
                    self.assertIn(part, found[0])

    def test_readable_by_others_T78(self) -> None:
        """A file that is readable by all users causes a warning."""
        path = self.folder / "open.yaml"
        path.write_text(yaml.safe_dump(BASE))
        path.chmod(0o644)
        self.assertIn("readable by all users", load(path, {}).warnings[0])

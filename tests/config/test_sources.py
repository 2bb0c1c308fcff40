"""Secrets from files, variables and systemd credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from authotron.config import plugins
from authotron.config.check import Config
from authotron.config.fields import nested_section, secret_keys
from authotron.config.schema import File
from tests.config.cases import BASE, ConfigCase, laid_over

HASH = "$2b$04$abcdefghijklmnopqrstuuIVN9LQBQsaEDuPvlFbP4Fxs5X1E0jgu"


def shipped_sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the sections of the file and of all plugins, including nested sections."""
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


class SecretsTests(ConfigCase):
    """Sources of secrets."""

    def secret(self, found: Config) -> str:
        assert found.file.jwt.secret is not None
        return found.file.jwt.secret.get_secret_value()

    def test_secret_file_beside_the_configuration(self) -> None:
        """
        A relative path is found beside the configuration; the line end is not part of the
        secret.
        """
        (self.folder / "key").write_text("a secret that is long enough in a file\n")
        found = self.changed(jwt={"secret": ..., "secret_file": "key"})
        self.assertEqual(self.secret(found), "a secret that is long enough in a file")

    def test_systemd_credential_comes_first(self) -> None:
        """The credentials directory of systemd comes first."""
        credentials = self.folder / "credentials"
        credentials.mkdir()
        (credentials / "key").write_text("a secret that systemd has handed over")
        (self.folder / "key").write_text("a secret that is long enough in a file")
        self.patch_environment("CREDENTIALS_DIRECTORY", str(credentials))
        found = self.changed(jwt={"secret": ..., "secret_file": "key"})
        self.assertEqual(self.secret(found), "a secret that systemd has handed over")

    def test_file_in_a_folder_of_credentials(self) -> None:
        """C{folder/file} finds the credential C{folder_file} of systemd."""
        credentials = self.folder / "handed-over"
        credentials.mkdir()
        (credentials / "credentials_key").write_text("a secret that systemd has handed over")
        self.patch_environment("CREDENTIALS_DIRECTORY", str(credentials))
        found = self.changed(jwt={"secret": ..., "secret_file": "credentials/key"})
        self.assertEqual(self.secret(found), "a secret that systemd has handed over")

    def test_keys_and_certificates_from_credentials_W_CRED_D3(self) -> None:
        """Files of certificates and keys are found among the credentials of systemd, too."""
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
            content = {**content, "store": {**content["store"], "pepper": "p" * 40}}
            [problem] = self.problems(content)
            self.assertIn(f"{credentials / 'ca.pem'} does not hold a certificate", problem)

    def test_written_file_is_not_a_credential_D3(self) -> None:
        """A file that authotron writes is never looked for among the credentials of systemd."""
        credentials = self.folder / "credentials"
        credentials.mkdir()
        (credentials / "tokens.db").write_text("")
        self.patch_environment("CREDENTIALS_DIRECTORY", str(credentials))
        found: Any = self.changed(store={"type": "sqlite", "path": "tokens.db"}).store
        self.assertEqual(found.path, self.folder / "tokens.db")

    def patch_environment(self, name: str, value: str) -> None:
        self.addCleanup(os.environ.pop, name)
        os.environ[name] = value

    def test_secret_and_twin_are_a_problem(self) -> None:
        """A secret and its C{_file} twin together are a problem."""
        self.assertIn("give only one of", self.problem(jwt={"secret_file": "key"}))

    def test_missing_secret_file_is_a_problem(self) -> None:
        """A missing file of a secret is a problem that names the path."""
        problem = self.problem(jwt={"secret": ..., "secret_file": "nowhere"})
        self.assertTrue(problem.startswith("jwt.secret_file: cannot read "), problem)
        self.assertIn("nowhere", problem)

    def test_twins_of_all_secrets_S_PLACEHOLDER(self) -> None:
        """The schema has C{_file} and C{_env} twins for every secret of every plugin."""
        secrets = 0
        for name, section in shipped_sections():
            known = section.model_json_schema()["properties"]
            for key in secret_keys(section):
                secrets += 1
                self.assertLessEqual({f"{key}_file", f"{key}_env"}, set(known), (name, key))
        self.assertGreater(secrets, 12)

    def test_secret_from_a_variable_S_PLACEHOLDER(self) -> None:
        """Secrets of any section may come from variables, which are taken literally."""
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

    def test_unset_variable_is_a_problem_S_PLACEHOLDER(self) -> None:
        """
        An unset or empty variable is a problem with the path of the key, without the
        variable's name.
        """
        for variables, why in (
            ({}, "the environment variable that this key names is not set"),
            ({"CANARY_1": ""}, "the environment variable that this key names is empty"),
            ({"CANARY_1": " \n"}, "the environment variable that this key names is empty"),
        ):
            over = {"secret": ..., "secret_env": "CANARY_1"}
            [problem] = self.problems(laid_over(BASE, {"jwt": over}), **variables)
            self.assertEqual(problem, f"jwt.secret_env: {why}")
            user = {"username": "x", "password_env": "CANARY_1"}
            plain = {"type": "plain", "name": "p", "realm": "p", "users": [user]}
            [problem] = self.problems(laid_over(BASE, {"providers": [plain]}), **variables)
            self.assertEqual(problem, f"providers[0].users[0].password_env: {why}")

    def test_several_sources_are_a_problem_S_PLACEHOLDER(self) -> None:
        """Several sources of one secret are a problem."""
        told = "jwt.secret: give only one of secret, secret_file and secret_env"
        self.assertEqual(self.problem(jwt={"secret_env": "X"}), told)
        over = {"secret": ..., "secret_env": "X", "secret_file": "y"}
        self.assertEqual(self.problem(jwt=over), told)
        self.assertIn("must be the name", self.problem(jwt={"secret": ..., "secret_env": 5}))

    def test_unfilled_placeholder_is_a_problem_S_PLACEHOLDER(self) -> None:
        """A secret that is nothing but an unfilled C{${...}} is a problem in every section."""
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

    def test_warning_about_a_possible_placeholder_S_PLACEHOLDER(self) -> None:
        """
        A possible placeholder of another tool causes a warning, which does not repeat the
        text.
        """
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

    def test_unusual_secret_is_not_a_placeholder_S_PLACEHOLDER(self) -> None:
        """Hashes and passwords with unusual characters are not placeholders."""
        for text in ("$ecret", "a$B", "{x}", "a<b>c", "100%", "%41lice", "$", "pa$$w0rd", "x@y@z"):
            user = {"username": "alice", "password": text}
            found = self.changed(providers=[{**BASE["providers"][0], "users": [user]}])
            self.assertEqual(found.warnings, [], text)
        user = {"username": "alice", "password_hash": HASH}
        found = self.changed(providers=[{**BASE["providers"][0], "users": [user]}])
        self.assertEqual(found.warnings, [])

    def test_secrets_are_not_printed(self) -> None:
        """The representation of a configuration contains no secret."""
        self.assertNotIn("long enough", repr(self.load(BASE)))
        self.assertNotIn("wonder", repr(self.load(BASE)))

"""The credential helper of git gives the token to the services of the profile alone."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.login import git_credential, issued, kept_login
from tests.login.cases import HOUR, URL, answer

NOW = 1_800_000_000


class GitCredentialTests(SynchronousTestCase):
    """What git asks, and gets."""

    def url(self, text: str) -> str:
        return git_credential.parse(text).url

    def test_question(self) -> None:
        """A question names protocol, host and what it can send, in any order."""
        asked = git_credential.parse(
            "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example:8443\n"
            "path=a/b.git\nwwwauth[]=Bearer realm=x\n\n"
        )
        self.assertEqual((asked.url, asked.takes_tokens), ("https://git.example:8443/", True))
        self.assertFalse(git_credential.parse("protocol=https\nhost=a\n").takes_tokens)

    def test_services(self) -> None:
        """Scheme, host and port must be those of a service."""
        services = ["https://git.example/group", "https://other.example:8443"]
        for host, expected in (
            ("git.example", True),
            ("GIT.example:443", True),
            ("other.example:8443", True),
            ("other.example", False),
            ("git.example.evil", False),
            ("evil.git.example", False),
            ("git.example@evil.example", False),
            ("evil.example#git.example", False),
            ("", False),
        ):
            with self.subTest(host):
                asked = git_credential.parse(f"protocol=https\nhost={host}\n")
                self.assertEqual(asked.is_for(services), expected)
        self.assertFalse(git_credential.parse("protocol=http\nhost=git.example").is_for(services))

    def test_no_http(self) -> None:
        """Other protocols than HTTP get no token."""
        for text in ("", "protocol=ssh\nhost=a\n", "host=a\n", "protocol=https\nhost=a b\n"):
            self.assertEqual(self.url(text), "")
        self.assertRaises(ValueError, git_credential.parse, "nonsense\n")

    def test_answer(self) -> None:
        """The token is a bearer token, which git must not keep, or a password."""
        login = kept_login.of_issued(URL, issued.read(answer(1), NOW), "", {}, NOW)
        lines = [*git_credential.as_token(login)]
        self.assertEqual(lines[0], "capability[]=authtype")
        self.assertIn(f"credential={login.token}", lines)
        self.assertIn("ephemeral=1", lines)
        self.assertIn(f"password_expiry_utc={int(NOW + HOUR)}", lines)
        expected = ["username=me", f"password={login.token}"]
        self.assertEqual([*git_credential.as_password(login, "me")][:2], expected)
        self.assertNotIn(login.token, repr(login))

"""Tokens as user name or password of a Basic credential."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from twisted.internet.defer import Deferred

from authotron.gateway.authentication import Authenticator
from authotron.model.authentication import Authentication
from authotron.model.carriers import Carrier
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.plugin.interfaces import Affinity
from tests.gateway.test_authentication import AuthorityCase, Oracle

USERNAME, PASSWORD = Carrier("basic", "username"), Carrier("basic", "password")


class Hub(Oracle):
    """A provider whose tokens begin with C{hub_}, and which may know others."""

    other = Affinity.POSSIBLE
    affinity_fails = False

    def affinity(self, credential: Credential) -> Affinity:
        if self.affinity_fails:
            raise ValueError("defect")
        return Affinity.LIKELY if credential.value.startswith("hub_") else self.other

    async def authenticate(self, credential: Credential) -> Authentication:
        seen.append((self.name, credential.value, credential.carrier))
        return await super().authenticate(credential)


seen: list[tuple[str, str, Carrier | None]] = []


def basic(text: str) -> Credential:
    return Credential("basic", b64encode(text.encode()).decode())


class HalvesTests(AuthorityCase):
    """Who is asked about which half."""

    def setUp(self) -> None:
        super().setUp()
        seen.clear()
        self.users, self.hub = Hub("users", scheme="basic"), Hub("hub")
        self.looks: Sequence[Carrier | None] = (PASSWORD,)
        self.shared: list[Oracle] = []

    def identify(self, text: str, realm: str | None = None) -> Deferred[Authentication]:
        providers = [self.users, self.hub, *self.shared]
        authenticator = Authenticator(
            providers,
            [],
            self.clock,
            self.metrics,
            5.0,
            carriers={id(each): self.looks for each in (self.hub, *self.shared)},
        )
        return Deferred.fromCoroutine(authenticator.identify((basic(text),), realm))

    def asked(self, text: str, realm: str | None = None) -> list[str]:
        """Return who is asked, if all refuse."""
        for provider in (self.users, self.hub):
            if not provider.answer.called:
                provider.answer.errback(Rejected("no"))
        self.failureResultOf(self.identify(text, realm), Rejected)
        return [f"{name} {value}" for name, value, _ in seen]

    def test_certain_T27h(self) -> None:
        """A token with a prefix is no password, so no provider of passwords sees it."""
        self.hub.yes()
        self.assertEqual(self.named(self.identify("git:hub_1")), "hub")
        self.assertEqual(seen, [("hub", "hub_1", PASSWORD)])

    def test_certain_and_wrong_T27h(self) -> None:
        """That holds if the token is refused, too."""
        self.assertEqual(self.asked("git:hub_1"), ["hub hub_1"])

    def test_possible_T27h(self) -> None:
        """What may be a token is shown to providers of tokens only if it is no password."""
        text = b64encode(b"alice:wonder").decode()
        self.assertEqual(self.asked("alice:wonder"), [f"users {text}", "hub wonder"])

    def test_password_T27h(self) -> None:
        """A password that is accepted is not shown to a provider of tokens."""
        self.users.yes()
        self.assertEqual(self.named(self.identify("alice:wonder")), "users")
        self.assertEqual([name for name, _, _ in seen], ["users"])

    def test_foreign_T27h(self) -> None:
        """A provider that cannot know a half is not asked, even if no other one can."""
        self.hub.other = Affinity.FOREIGN
        self.assertEqual([each.split()[0] for each in self.asked("alice:wonder")], ["users"])

    def test_realm_T27h(self) -> None:
        """If the client asks for a realm, no provider is asked that cannot know the half."""
        other = Hub("other", realm="there")
        other.other = Affinity.FOREIGN
        self.shared = [other]
        self.assertEqual(self.asked("alice:wonder", "there"), [])

    def test_defect_T27h(self) -> None:
        """A provider with a defect does not stop the others."""
        self.hub.affinity_fails = True
        self.users.yes()
        self.assertEqual(self.named(self.identify("alice:wonder")), "users")

    def test_user_name(self) -> None:
        """A token may be the user name."""
        self.looks = (USERNAME, PASSWORD)
        self.hub.yes()
        for text in ("hub_1:", "hub_1:x-oauth-basic", "hub_1", ":hub_1", "hub_1:hub_1"):
            seen.clear()
            self.assertEqual(self.named(self.identify(text)), "hub")
            self.assertEqual({value for _, value, _ in seen}, {"hub_1"})

    def test_two_tokens(self) -> None:
        """Two different tokens are refused, and shown to no provider."""
        self.looks = (USERNAME, PASSWORD)
        self.assertEqual(self.asked("hub_1:hub_2"), [])

    def test_not_a_token(self) -> None:
        """Half of a credential that no Bearer header could carry is no token."""
        for text in ("a:", "a:b c", "a:b,c", "a:\xe9", "a:\x7f", "a:b\n"):
            seen.clear()
            self.assertEqual([each.split()[0] for each in self.asked(text)], ["users"], text)

    def test_malformed(self) -> None:
        """A Basic credential that is not base64 has no halves."""
        for value in ("%%%", "YTpi\u00a0", "YTpj="):
            self.assertIsNone(Credential("basic", value).half(PASSWORD))

    def test_other_carriers(self) -> None:
        """A Basic credential in another carrier has no halves."""
        credential = Credential("basic", basic("a:hub_1").value, None, Carrier("header", "x"))
        authenticator = Authenticator(
            [self.hub], [], self.clock, self.metrics, 5.0, carriers={id(self.hub): (PASSWORD,)}
        )
        self.assertEqual([*authenticator.with_tokens([credential])], [credential])

"""The provider of API tokens, and the look-up of their owners."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.config import schema, section
from authotron.gateway.authentication import Authenticator
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential, Identity
from authotron.model.token import generate
from authotron.plugin.interfaces import (
    Affinity,
    IJudge,
    IProvider,
    ITokenStore,
    IUserLookup,
)
from authotron.stores import memory
from authotron.telemetry.metrics import Metrics
from authotron.testing.contracts import ProviderContract
from authotron.testing.worlds import NOW, clock_at
from authotron.tokens import service
from authotron.tokens.grants import TokenRequest
from authotron.tokens.owners import Owners
from authotron.tokens.provider import TokenProvider


@implementer(IProvider)
@define(eq=False)
class Remote:
    """A provider that cannot look users up."""

    name: str = "remote"
    realm: str = "here"
    type: str = "remote"
    scheme: str = "bearer"
    local: bool = False
    asked: list[str] = field(factory=list)

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    async def authenticate(self, credential: Credential) -> Authentication:
        self.asked.append(credential.value)
        return Authentication(Identity(self.realm, "another"))


@implementer(IProvider, IUserLookup)
@define(eq=False)
class Directory(Remote):
    """A provider that can look users up."""

    name: str = "directory"
    says: Any = ("current",)

    async def look_up(self, username: str) -> Authentication:
        self.asked.append(username)
        if isinstance(self.says, Exception):
            raise self.says
        return Authentication(Identity(self.realm, username, self.says))


class JudgeCase(SynchronousTestCase):
    """A token provider with a store in memory."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.store: ITokenStore = memory.MemoryStore()
        rules = section.read(memory.Config, {"type": "memory"})
        self.tokens = service.make(
            self.store, section.read(schema.TokensConfig, {}), rules, self.clock
        )
        self.directory = Directory()

    def judge(self, *providers: IProvider) -> TokenProvider:
        return TokenProvider(self.tokens, Owners(providers, self.clock, 60), self.clock)

    def token_of(self, provider: str, **wish: Any) -> Credential:
        maker = Authentication(Identity("here", "alice", ("said",)), provider)
        made = self.tokens.make(maker, TokenRequest(**wish), can_look_up=True)
        presented, _ = self.successResultOf(Deferred.fromCoroutine(made))
        return Credential("bearer", presented.text)

    def ask(self, judge: TokenProvider, credential: Credential) -> Any:
        deferred = Deferred.fromCoroutine(judge.authenticate(credential))
        return self.successResultOf(deferred.addErrback(lambda failure: failure.value))


class TokenProviderContractTests(ProviderContract, JudgeCase):
    """The token provider keeps the contract of providers, except that it has several realms."""

    interface = IJudge

    def provider(self) -> IJudge:
        judge = self.judge(self.directory)
        judge.name, judge.realm = "it", "here"
        return judge

    def good(self) -> Credential:
        return self.token_of("directory")

    def bad(self) -> Credential:
        return Credential("bearer", "aot_nonsense")

    def test_no_provider_D5(self) -> None:
        """The token provider is not an L{IProvider}, as its identities belong to several realms."""
        judge = self.judge(self.directory)
        self.assertFalse(IProvider.providedBy(judge))
        identity = self.ask(judge, self.good()).identity
        self.assertEqual((identity.realm, judge.realm), ("here", "unknown"))


class OwnersTests(JudgeCase):
    """The providers that are asked about an owner."""

    def test_owner_is_looked_up(self) -> None:
        """The provider that identified the owner is asked for current roles, once a minute."""
        credential, judge = self.token_of("directory"), self.judge(Remote(), self.directory)
        for _ in range(3):
            self.assertEqual(self.ask(judge, credential).identity.roles, ("current",))
        self.assertEqual(self.directory.asked, ["alice"])
        self.clock.advance(60)
        self.directory.says = ("later",)
        self.assertEqual(self.ask(judge, credential).identity.roles, ("later",))

    def test_owner_is_removed(self) -> None:
        """API tokens of a removed user are refused; neither this nor an outage is cached."""
        credential, judge = self.token_of("directory"), self.judge(self.directory)
        for reason in (Rejected("gone"), Unavailable("down")):
            self.directory.says = reason
            self.assertIs(self.ask(judge, credential), reason)
        self.directory.says = ("back",)
        self.assertEqual(self.ask(judge, credential).identity.roles, ("back",))

    def test_owner_cannot_be_looked_up(self) -> None:
        """If the provider cannot look users up, the stored roles are used."""
        credential, judge = self.token_of("remote"), self.judge(Remote(), self.directory)
        self.assertEqual(self.ask(judge, credential).identity.roles, ("said",))
        self.assertEqual(self.directory.asked, [])

    def test_provider_is_removed(self) -> None:
        """If the provider was removed, the others of the realm are asked, if there are any."""
        credential = self.token_of("formerly")
        self.assertEqual(
            self.ask(self.judge(self.directory), credential).identity.roles, ("current",)
        )
        elsewhere = Directory(realm="elsewhere")
        self.assertIsInstance(self.ask(self.judge(elsewhere), credential), Rejected)
        self.assertIsInstance(self.ask(self.judge(), credential), Rejected)

    def test_not_fresh_twice(self) -> None:
        """The time for which an owner is cached counts towards that of the decision."""
        credential, judge = self.token_of("directory"), self.judge(self.directory)
        self.ask(judge, credential)
        self.clock.advance(57)
        self.assertEqual(self.ask(judge, credential).fresh_until, NOW + 60)


class AloneTests(JudgeCase):
    """API tokens are not shown to other providers."""

    def authenticator(self, remote: Remote, judge: TokenProvider) -> Authenticator:
        return Authenticator([remote], [], self.clock, Metrics(), 5, own=judge)

    def identify(self, judge: TokenProvider, text: str, realm: str | None = None) -> Any:
        self.remote = Remote()
        authenticator = self.authenticator(self.remote, judge)
        deferred = Deferred.fromCoroutine(
            authenticator.identify([Credential("bearer", text)], realm)
        )
        return self.successResultOf(deferred.addErrback(lambda failure: failure.value))

    def test_good_or_bad(self) -> None:
        """A token that begins with C{aot_} is shown to the store only, even if it is malformed."""
        text = self.token_of("remote").value
        judge = self.judge(Remote())
        self.assertEqual(self.identify(judge, text).identity.username, "alice")
        for wrong in (text[:-1] + "!", text[:-1], "aot_", "aot_x_y"):
            self.assertIsInstance(self.identify(judge, wrong), Rejected)
            self.assertEqual(self.remote.asked, [])

    def test_outage(self) -> None:
        """If the store is unavailable, API tokens are not shown to other providers."""
        self.tokens.store.backend = Down()
        judge = self.judge(Remote())
        outcome = self.identify(judge, self.generate())
        self.assertIsInstance(outcome, Unavailable)
        self.assertEqual(self.remote.asked, [])

    def test_no_store(self) -> None:
        """Without a store, API tokens are not shown to other providers."""
        judge = TokenProvider(None, Owners([], self.clock, 60), self.clock)
        self.assertIsInstance(self.identify(judge, self.generate()), Rejected)
        self.assertEqual(self.remote.asked, [])

    def test_others_T40(self) -> None:
        """Other tokens are not shown to the store; a requested realm is that of the owner."""
        judge = self.judge(Remote())
        self.assertEqual(self.identify(judge, "AOT_x").identity.username, "another")
        text = self.token_of("remote").value
        self.assertEqual(self.identify(judge, text, "HERE").identity.username, "alice")
        self.assertIsInstance(self.identify(judge, text, "unknown"), Rejected)

    def generate(self) -> str:
        return generate(NOW).text


class Down(memory.MemoryStore):
    """A store that is unavailable."""

    async def get(self, id_: str) -> Any:
        raise Unavailable("down")


class UnreachedTests(JudgeCase):
    """Tokens that only a store could know which was not reached since the start."""

    def setUp(self) -> None:
        super().setUp()
        self.is_down = True

        async def open_(_: Any) -> None:
            if self.is_down:
                raise Unavailable("connection refused")

        self.patch(memory.MemoryStore, "open", open_)

    def open(self) -> None:
        opening = Deferred.fromCoroutine(self.tokens.store.open())
        opening.addErrback(lambda failure: failure.trap(Unavailable))
        self.successResultOf(opening)

    def outcome(self, text: str, *providers: IProvider) -> Any:
        own = self.judge(*providers)
        authenticator = Authenticator(
            providers, (), self.clock, Metrics(), 5, own=own, is_unknown=own.is_unknown
        )
        work = authenticator.identify((Credential("bearer", text),), None)
        deferred = Deferred.fromCoroutine(work)
        return type(self.successResultOf(deferred.addErrback(lambda failure: failure.value)))

    def test_store_never_reached_H_STORE(self) -> None:
        """An opaque bearer token that no provider knows is an outage until the store was open."""
        self.open()
        self.assertEqual(self.outcome("0d0bdf0e-6f3c-4a0c"), Unavailable)
        self.assertEqual(self.outcome("x", Directory()), Authentication)
        self.is_down = False
        self.open()
        self.assertEqual(self.outcome("0d0bdf0e-6f3c-4a0c"), Rejected)

    def test_store_was_reached_H_STORE(self) -> None:
        """A store that fails later is no reason not to refuse tokens that it cannot contain."""
        self.is_down = False
        self.open()
        self.is_down = True
        self.open()
        self.assertEqual(self.outcome("0d0bdf0e-6f3c-4a0c"), Rejected)

    def test_tokens_that_no_store_knows_H_STORE(self) -> None:
        """A JWT, and a malformed API token, are refused in any case."""
        self.open()
        for text in ("eyJhbGciOiJIUzI1NiJ9.e30.abc", "aot_nonsense"):
            self.assertEqual(self.outcome(text), Rejected)


class SameNameTests(JudgeCase):
    """Owners whose provider has a name that another provider has, too."""

    def now(self, owners: Owners, username: str, realm: str = "here") -> Deferred[Authentication]:
        return Deferred.fromCoroutine(owners.now(Identity(realm, username), "directory"))

    def test_each_is_asked_O_VALUE(self) -> None:
        """If the first provider of that name does not know the owner, the next one is asked."""
        first, second = Directory(says=Rejected("unknown")), Directory(says=("second",))
        owners = Owners([first, Remote(), second], self.clock, 60)
        self.assertEqual(
            self.successResultOf(self.now(owners, "alice")).identity.roles, ("second",)
        )
        second.says = Rejected("unknown")
        self.failureResultOf(self.now(owners, "bob"), Rejected)

    def test_realms_stay_apart_O_VALUE(self) -> None:
        """Two providers of one name in different realms do not share what is known of a user."""
        here, there = Directory(says=("here",)), Directory(realm="there", says=("there",))
        owners = Owners([here, there], self.clock, 60)
        for realm in ("here", "there", "here"):
            found = self.successResultOf(self.now(owners, "alice", realm))
            self.assertEqual(found.identity.roles, (realm,))
        self.assertEqual((here.asked, there.asked), (["alice"], ["alice"]))

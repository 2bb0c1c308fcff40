"""A gateway that is built from one configuration, and the object that holds the gateway in use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, field, frozen

from authotron.config.carried import NO_NAMES, CredentialNames
from authotron.config.check import Config
from authotron.gateway.authentication import Authenticator
from authotron.gateway.carriers import NO_CARRIERS, Carriers
from authotron.gateway.contracts import Contracts
from authotron.gateway.decisions import DecisionCache
from authotron.jose.minter import Minter
from authotron.plugin.interfaces import IConnected
from authotron.telemetry.metrics import Metrics
from authotron.tokens.owners import Owners

if TYPE_CHECKING:  # compose() loads these modules if they are needed
    from authotron.tokens.exchanged_tokens import ExchangedTokens
    from authotron.tokens.refresh_family import RefreshFamilies
    from authotron.tokens.service import TokenService

if TYPE_CHECKING:  # imported only if policies or revocation are configured
    from authotron.gateway.authorizer import Authorizer
    from authotron.gateway.client_claims import ClientClaims
    from authotron.gateway.policy import Enforcement
    from authotron.gateway.policy_status import PolicyStatus
    from authotron.gateway.records import SharedRecords
    from authotron.gateway.revocations import Revocations

if TYPE_CHECKING:  # imported only if tokens may be bound to keys
    from authotron.gateway.proofs import Proofs
if TYPE_CHECKING:  # imported only if the section events is configured
    from authotron.gateway.status_lists import StatusLists
    from authotron.gateway.transmitters import Transmitter

if TYPE_CHECKING:  # imported only if signing keys are kept in the token store
    from authotron.gateway.key_status import KeyStatus

R = TypeVar("R")
"""
The type of the replies that the gateway gives to a proxy; the package C{web}
creates the objects.
"""


@frozen
class Gateway(Generic[R]):
    """
    All components of the gateway that are built from one configuration; a reload builds a new
    gateway.

    @ivar carriers: reads the parts of requests that carry credentials besides C{Authorization}.
    @ivar credential_names: all parts of requests that carry credentials, which proxies must not
        pass on to backends.
    @ivar exchanged: issues and verifies exchanged tokens, if the configuration allows clients to
        exchange their credentials.
    @ivar families: the families of refresh tokens, if the configuration allows refresh tokens.
    @ivar claims: makes the claims of clients, if the configuration has a policy, or JWTs contain
        claims, or credentials can be revoked.
    @ivar revocations: says whose credentials are revoked, if credentials can be revoked.
    @ivar proofs: verifies the proofs of clients whose tokens are bound to a key, if the
        configuration allows such tokens.
    @ivar transmitters: the identity providers whose events revoke credentials, by their issuer.
    @ivar status_lists: the Token Status Lists of this process, to which minted JWTs refer, if they
        are configured.
    """

    config: Config
    authenticator: Authenticator
    minter: Minter
    decisions: DecisionCache[R]
    contracts: Contracts
    owners: Owners
    tokens: TokenService | None = None
    enforcement: Enforcement | None = None
    carriers: Carriers = NO_CARRIERS
    credential_names: CredentialNames = NO_NAMES
    claims: ClientClaims | None = None
    exchanged: ExchangedTokens | None = None
    revocations: Revocations | None = None
    proofs: Proofs | None = None
    transmitters: Mapping[str, Transmitter] = field(factory=dict)
    status_lists: StatusLists | None = None
    families: RefreshFamilies | None = None

    @property
    def authorizer(self) -> Authorizer | None:
        """The authorizer that must also allow each request, if there is one."""
        return None if self.enforcement is None else self.enforcement.authorizer

    def close(self) -> None:
        """
        Close the connections and files that the plugins keep open, because the plugins are not used
        any more.
        """
        plugins: list[object] = [*self.authenticator.providers, *self.authenticator.augmenters]
        if self.authorizer is not None:
            plugins.append(self.authorizer.plugin)
        for plugin in plugins:
            if IConnected.providedBy(plugin):
                IConnected(plugin).close()


Invalidate = Callable[[Sequence[str] | None], Awaitable[None]]
"""
A function that discards the cached decisions that depend on the API tokens with the given ids; if
it is called with C{None}, all cached decisions are discarded.
"""


class Peers:
    """
    The other processes of the service; this base class is used if there are no others.

    @ivar has_served: whether the service was up before this process started.
    """

    has_served: bool = False

    async def invalidate_others(self, tokens: Sequence[str] | None) -> None:
        """
        Discard the decisions that other processes cache, and return once all have confirmed.

        @param tokens: discard only decisions that depend on API tokens of these ids.

        @raise Unavailable: a process has not confirmed that it discarded decisions.
        """

    async def ask_others(self, word: str, content: object) -> None:
        """
        Send a message to all other processes, and return once all have acted on it.

        @raise Unavailable: a process has not confirmed that it acted on the message.
        """

    def on_reload_refused(self, problems: Sequence[str]) -> None:
        """Report to the supervisor why a configuration cannot be used."""

    def notify(self, word: str, content: object) -> None:
        """Send a message that needs no answer to all other processes."""


@define(eq=False)
class LiveGateway(Generic[R]):
    """
    The gateway behind both HTTP sites; a reload replaces the gateway.

    @ivar gateway: the gateway of the configuration in use.
    @ivar stopping: whether the service is about to stop, so that C{/ready} answers 503.
    @ivar problems: why the configuration that was read last is not in use.
    @ivar peers: the other processes of the service.
    @ivar policy_status: the version and age of the policies, if they are kept in the token store.
    @ivar records: the records, such as revocations, that the gateway shares with others through the
        token store, or C{None} if the configuration needs none.
    @ivar key_status: the state of the signing keys, if they are kept in the token store.
    @ivar streams: the open streams of events, once a client has asked for one; the package C{web}
        creates the object.
    """

    gateway: Gateway[R]
    metrics: Metrics
    stopping: bool = False
    problems: tuple[str, ...] = field(default=())
    peers: Peers = field(factory=Peers)
    policy_status: PolicyStatus | None = None
    records: SharedRecords | None = None
    key_status: KeyStatus | None = None
    streams: object | None = None

    @property
    def is_ready(self) -> bool:
        """
        Whether the gateway is ready for requests: the service is not stopping, the gateway can sign
        JWTs, the policies are known or are only observed (not enforced), and it is known which
        credentials are revoked.
        """
        enforcement, revocations = self.gateway.enforcement, self.gateway.revocations
        is_closed = enforcement and not (enforcement.is_known or enforcement.observes)
        is_outdated = revocations is not None and not revocations.index.is_usable
        cannot_sign = self.key_status is not None and not self.key_status.is_usable
        return not (self.stopping or is_closed or is_outdated or cannot_sign)

    async def invalidate_all_workers(self, tokens: Sequence[str] | None = None) -> None:
        """
        Discard cached decisions in all workers, and return once every worker has confirmed.

        @param tokens: the ids of API tokens that were revoked or changed: only decisions that
            depend on these or on tokens derived from them are discarded. If C{tokens} is C{None},
            all decisions are discarded.

        @raise Unavailable: a worker has not confirmed that it discarded decisions.
        """
        self.gateway.decisions.invalidate(tokens)
        await self.peers.invalidate_others(tokens)

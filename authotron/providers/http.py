"""Verify user names and passwords, or bearer tokens, by the operator's own HTTP service."""

from __future__ import annotations

from typing import Any, Literal

from attrs import define, field
from pydantic import Field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.config.plugins import ProviderConfig
from authotron.config.section import Seconds
from authotron.jose import claims
from authotron.limits.client_turns import ClientTurns
from authotron.limits.rejected_passwords import PasswordGuard, RetryConfig
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential, Identity, earliest
from authotron.net import http
from authotron.net.world import World
from authotron.plugin import http_contract, token_routing
from authotron.plugin.cache import AuthenticationCache
from authotron.plugin.http_contract import ResponseReader, Service, ServiceConfig
from authotron.plugin.interfaces import Affinity, IProvider

_REFUSALS = (401, 403)


class Config(ProviderConfig, ServiceConfig, RetryConfig):
    """`type: http`: your own service verifies credentials; see docs/providers.md."""

    type: Literal["http"]
    scheme: Literal["basic", "bearer"] = Field(
        default="bearer", description="the scheme of the credentials that the service verifies"
    )
    cache: Seconds = Field(
        default=60, description="seconds for which an accepted credential is not checked again"
    )
    leeway: Seconds = Field(
        default=60, description="seconds by which the clocks of service and gateway may differ"
    )
    accepts: token_routing.Rule = Field(
        default="any", description="which tokens the provider is asked about"
    )

    @property
    def verifies_passwords(self) -> bool:
        return self.scheme == "basic"


@implementer(IProvider)
@define(eq=False)
class Http:
    """Verifies credentials by asking an operator's own HTTP service."""

    name: str
    realm: str
    scheme: str
    _clock: IReactorTime
    _service: Service = field(repr=False)
    _life: float
    _leeway: float
    _cache: AuthenticationCache = field(repr=False)
    _accepts: token_routing.Rule
    _guard: PasswordGuard = field(repr=False)
    _turns: ClientTurns = field(repr=False)
    _reader: ResponseReader = field(repr=False)
    type: str = field(default="http", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        if self.scheme != "bearer":
            return Affinity.POSSIBLE
        return token_routing.match(self._accepts, credential)

    async def authenticate(self, credential: Credential) -> Authentication:
        content = {"realm": self.realm, "scheme": self.scheme, **_as_json(credential)}
        name = content.get("username", credential.value)

        async def in_turn() -> Authentication:
            return await self._turns.ask(credential.client, name, lambda: self._judge(content))

        return await self._cache.get(credential.value, in_turn)

    async def _judge(self, content: dict[str, Any]) -> Authentication:
        """
        Ask the operator's service about a credential, unless it is a password that the service
        refused within the last `retry_wrong_after` seconds.
        """
        if self.scheme != "basic":
            return await self._ask(content)
        user, password = content["username"], content["password"]
        # The service may verify passwords by an LDAP bind, and a bind without a password succeeds
        # as anonymous (RFC 4513 section 5.1.2).
        if not password:
            raise Rejected("the password is empty, so it is not sent to the service")
        return await self._guard.judge(user, password, lambda: self._ask(content))

    async def _ask(self, content: dict[str, Any]) -> Authentication:
        answer = await self._service.post(content)
        if answer.status in _REFUSALS:
            raise Rejected(f"{answer.place} answered {answer.status}")
        if not answer.is_success:
            raise answer.unexpected_status()
        stated = answer.json_object()
        account = self._reader.read_account(stated, answer.place)
        now = self._clock.seconds()
        expires = claims.effective_expiry(account.expires, now, self._leeway)
        grants = account.grants
        identity = Identity(
            self.realm, account.username, grants.roles, grants.attributes, account.scopes
        )
        fresh_until = earliest(expires, now + self._life)
        login = claims.login_of(stated)
        return Authentication(identity, expires=expires, fresh_until=fresh_until, login=login)


def _as_json(credential: Credential) -> dict[str, str]:
    if credential.scheme == "basic":
        username, password = credential.username_and_password()
        return {"username": username, "password": password}
    return {"token": credential.value}


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    return Http(
        config.name,
        config.realm,
        config.scheme,
        world.clock,
        http_contract.make(config, world),
        config.cache,
        config.leeway,
        AuthenticationCache(world.clock, world.memory),
        config.accepts,
        world.rejected_passwords.guard(config.name, config.retry_wrong_after),
        http.make_turns(config, world),
        ResponseReader(config.name),
    )

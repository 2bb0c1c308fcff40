"""Offline tokens, as Keycloak gives them: introspected, exchanged, judged by the result."""

from __future__ import annotations

from typing import Any, Literal

from attrs import define, field
from pydantic import Field
from zope.interface import implementer

from authotron.config.section import NonEmptyStr, Secret
from authotron.jose import unverified
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.net import http
from authotron.net.http import Url, WebClient
from authotron.net.world import World
from authotron.plugin import token_exchange, token_routing
from authotron.plugin.interfaces import Affinity, IProvider, IReachable
from authotron.plugin.token_exchange import AccessTokens, ExchangeConfig

_SCOPE = "offline_access"
_TYPE = "Offline"

Check = Literal["auto", "introspection", "exchange"]


class Config(ExchangeConfig):
    """`type: openid-offline`: offline tokens of OpenID Connect."""

    type: Literal["openid-offline"]
    public_client_id: NonEmptyStr = Field(description="the client that offline tokens are given to")
    private_client_id: NonEmptyStr = Field(description="the client that we are")
    private_client_secret: Secret = Field(description="the secret of `private_client_id`")
    iam_url: Url = Field(description="address of the identity provider, above `/realms`")
    iam_realm: NonEmptyStr | None = Field(
        default=None, description="the realm at the identity provider; `realm` if not set"
    )
    check: Check = Field(
        default="auto",
        description="how a token is judged: by introspection, by exchanging it, or (auto) by "
        "introspection and, where that says no to an offline token of our own client, by exchange",
    )
    accepts: token_routing.Rule = Field(default="any", description="which tokens it is asked about")


@implementer(IProvider, IReachable)
@define(eq=False)
class OpenidOffline:
    """
    Judges offline tokens.

    Since Keycloak 26.6.2 a client that introspects an offline token of another is told that it is
    not active. Then the exchange decides, which only the owner of a good token can win.
    """

    name: str
    realm: str
    _web: WebClient = field(repr=False)
    _access_tokens: AccessTokens = field(repr=False)
    _url: str
    _public_client: str
    _private_client: tuple[str, str] = field(repr=False)
    _check: Check
    _issuer: str | None
    _accepts: token_routing.Rule
    type: str = field(default="openid-offline", init=False)
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        """A JSON Web Token that calls itself something else than offline is none of ours."""
        seen = unverified.seen(credential)
        likeness = token_routing.likeness(self._accepts, credential)
        if likeness is not Affinity.POSSIBLE or seen is None:
            return likeness
        if seen.claims.get("typ", _TYPE) != _TYPE:
            return Affinity.FOREIGN
        if self._issuer is None or "iss" not in seen.claims:
            return likeness
        return Affinity.LIKELY if seen.claims["iss"] == self._issuer else Affinity.FOREIGN

    async def authenticate(self, credential: Credential) -> Authentication:
        token, seen = credential.value, unverified.seen(credential)
        if seen is not None and seen.claims.get("typ", _TYPE) != _TYPE:
            raise Rejected("no offline token")
        return await self._access_tokens.checked(credential, lambda: self._judge(token))

    async def _judge(self, token: str) -> Authentication:
        if self._check != "exchange" and await self._is_active(token):
            return await self._access_tokens.exchanged(token, lambda: self._exchange(token))
        if self._check == "exchange" or (self._check == "auto" and self._is_ours(token)):
            found = await self._exchange(token)
            if _SCOPE in found.identity.scopes[self.name]:
                return found
            raise Rejected("exchanged, but no offline token")
        raise Rejected("not active")

    def _is_ours(self, token: str) -> bool:
        """Whether it calls itself an offline token of our public client."""
        seen = unverified.look_into(token)
        return (
            seen is not None
            and seen.claims.get("typ") == _TYPE
            and seen.claims.get("azp") == self._public_client
        )

    async def _is_active(self, token: str) -> bool:
        """
        Ask by introspection (RFC 7662).

        @raise Rejected: it is active, but no offline token.
        """
        told = await self._post("token/introspect", {"token": token})
        if told.get("active") is not True:
            return False
        scope = told.get("scope")
        if not (isinstance(scope, str) and _SCOPE in scope.split()):
            raise Rejected("active, but no offline token")
        if told.get("typ", _TYPE) != _TYPE:
            raise Rejected("active, but a token of another type")
        return True

    async def _exchange(self, token: str) -> Authentication:
        """
        Exchange it for an access token (RFC 6749 section 6).

        This is done once and never again for the same answer: a realm that revokes refresh tokens
        takes a second use for a theft and ends the user's session.
        """
        form = {
            "client_id": self._public_client,
            "grant_type": "refresh_token",
            "refresh_token": token,
        }
        told = await self._post("token", form)
        return await self._access_tokens.authentication(told, self._url)

    async def _post(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        url = f"{self._url}/{path}"
        answer = await self._web.post(url, form=form, basic=self._private_client)
        if answer.status == 400 and answer.mapping().get("error") == "invalid_grant":  # noqa: PLR2004 - RFC 6749 section 5.2
            raise Rejected("the grant is not good")
        if not answer.good:
            raise answer.unexpected()
        return answer.mapping()

    async def check_reachable(self) -> None:
        await self._access_tokens.check_reachable()


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its own section."""
    web = http.make(config, world)
    realm = config.iam_realm or config.realm
    return OpenidOffline(
        config.name,
        config.realm,
        web,
        token_exchange.make(config, world, web),
        http.below(config.iam_url, "realms", realm, "protocol", "openid-connect"),
        config.public_client_id,
        (config.private_client_id, config.private_client_secret.get_secret_value()),
        config.check,
        config.issuer,
        config.accepts,
    )

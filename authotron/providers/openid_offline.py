"""Verify offline tokens, as Keycloak issues them, by introspection and token exchange."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from attrs import field, frozen
from pydantic import Field

from authotron.config.section import NonEmptyStr, Secret
from authotron.jose import claim_values, unverified
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.net import http, urls
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin import token_exchange, token_routing
from authotron.plugin.interfaces import Affinity, IProvider
from authotron.plugin.oauth_client import Method, OAuthClient
from authotron.plugin.token_exchange import AccessTokens, ExchangeConfig

_SCOPE = "offline_access"
_TYPE = "Offline"

_AUTO: Sequence[Method] = ("basic-raw", "basic")

Check = Literal["auto", "introspection", "exchange"]


class Config(ExchangeConfig):
    """`type: openid-offline`: offline tokens of OpenID Connect."""

    type: Literal["openid-offline"]
    public_client_id: NonEmptyStr = Field(
        description="id of the client that offline tokens are issued to"
    )
    private_client_id: NonEmptyStr = Field(
        description="id of the client that the gateway authenticates as"
    )
    private_client_secret: Secret = Field(description="the secret of `private_client_id`")
    iam_url: Url = Field(description="base URL of the identity provider, above `/realms`")
    iam_realm: NonEmptyStr | None = Field(
        default=None,
        description="name of the realm at the identity provider; by default that of `realm`",
    )
    client_auth: Literal["auto", "basic", "basic-raw", "post"] = Field(
        default="auto",
        description="how id and secret of the private client are sent: `basic` encodes them as a "
        "form does (RFC 6749), `basic-raw` sends them unchanged, `post` puts them into the form of "
        "the introspection; `auto` sends them unchanged, and encoded if that is refused",
    )
    check: Check = Field(
        default="auto",
        description="how a token is verified: by introspection, by exchange, or (auto) by "
        "introspection, and by exchange if that calls an offline token of `public_client_id` "
        "inactive",
    )
    accepts: token_routing.Rule = Field(
        default="any", description="which tokens the provider is asked about"
    )


@frozen(eq=False)
class OfflineTokens:
    """
    Asks the identity provider about offline tokens.

    Keycloak 26.6.2 and later answer that an offline token is inactive, unless the client that
    introspects the token is the one to which the token was issued. If the introspection says that
    the token is inactive, the provider tries to exchange the offline token for an access token,
    which succeeds only if the offline token is valid.
    """

    _name: str
    _client: OAuthClient = field(repr=False)
    _access_tokens: AccessTokens
    _url: str
    _public_client: str
    _check: Check
    _issuer: str | None
    _accepts: token_routing.Rule

    def match(self, credential: Credential) -> Affinity:
        """
        Return how likely a token belongs to the provider; a JWT whose C{typ} claim excludes an
        offline token is C{FOREIGN}.
        """
        seen = unverified.parse_once(credential)
        affinity = token_routing.match(self._accepts, credential)
        if affinity is not Affinity.POSSIBLE or seen is None:
            return affinity
        if seen.claims.get("typ", _TYPE) != _TYPE:
            return Affinity.FOREIGN
        if self._issuer is None or "iss" not in seen.claims:
            return affinity
        return Affinity.LIKELY if seen.claims["iss"] == self._issuer else Affinity.FOREIGN

    async def ask(self, token: str) -> Authentication:
        """
        Verify an offline token by introspection, by exchange for an access token, or by both.

        @raise Rejected: the token is not a valid offline token.
        @raise Unavailable: the identity provider does not answer.
        """
        seen = unverified.parse(token)
        if seen is not None and seen.claims.get("typ", _TYPE) != _TYPE:
            raise Rejected("the token is not an offline token")
        return self._access_tokens.until_next_check(await self._verify(token))

    async def _verify(self, token: str) -> Authentication:
        if self._check != "exchange" and await self._is_active(token):
            return await self._access_tokens.cached_exchange(token, lambda: self._exchange(token))
        if self._check == "exchange" or (self._check == "auto" and self._is_ours(token)):
            found = await self._exchange(token)
            if _SCOPE in found.identity.scopes[self._name]:
                return found
            raise Rejected(f"the token is not an offline token: its scope lacks {_SCOPE}")
        raise Rejected("the token is not active")

    def _is_ours(self, token: str) -> bool:
        """Whether a JWT claims to be an offline token of the configured public client."""
        seen = unverified.parse(token)
        return (
            seen is not None
            and seen.claims.get("typ") == _TYPE
            and seen.claims.get("azp") == self._public_client
        )

    async def _is_active(self, token: str) -> bool:
        """
        Ask the introspection endpoint (RFC 7662) whether a token is active.

        @raise Rejected: the token is active, but not an offline token.
        """
        answer = await self._post("token/introspect", {"token": token}, repeatable=True)
        if answer.get("active") is not True:
            return False
        if _SCOPE not in claim_values.scopes(answer):
            raise Rejected(f"the token is active, but not an offline token: it lacks {_SCOPE}")
        if answer.get("typ", _TYPE) != _TYPE:
            raise Rejected("the token is active, but of another type")
        return True

    async def _exchange(self, token: str) -> Authentication:
        """
        Exchange an offline token for an access token (RFC 6749 section 6).

        A failed exchange is not retried, because a Keycloak realm that revokes refresh tokens
        treats a second use of one as theft, and ends the session of the user.
        """
        form = {
            "client_id": self._public_client,
            "grant_type": "refresh_token",
            "refresh_token": token,
        }
        answer = await self._post("token", form, repeatable=False)
        return await self._access_tokens.authentication(answer, self._url)

    async def _post(self, path: str, form: dict[str, str], *, repeatable: bool) -> dict[str, Any]:
        url = f"{self._url}/{path}"
        answer = await self._client.post(url, form, repeatable=repeatable)
        if answer.status == 400 and answer.json_object().get("error") == "invalid_grant":  # noqa: PLR2004 - the error of a refused exchange (RFC 6749 section 5.2)
            raise Rejected("the identity provider refused the exchange: invalid_grant")
        if not answer.is_success:
            raise self._client.refused(answer)
        return answer.json_object()


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    web = http.make(config, world)
    access_tokens = token_exchange.make(config, world, web)
    realm = config.iam_realm or config.realm
    tokens = OfflineTokens(
        config.name,
        OAuthClient(
            web,
            config.private_client_id,
            config.private_client_secret.get_secret_value(),
            _AUTO if config.client_auth == "auto" else (config.client_auth,),
        ),
        access_tokens,
        urls.join_url(config.iam_url, "realms", realm, "protocol", "openid-connect"),
        config.public_client_id,
        config.check,
        config.issuer,
        config.accepts,
    )
    return token_exchange.provider(config, world, tokens.match, tokens.ask, access_tokens)

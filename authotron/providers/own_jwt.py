"""
Accept the JWTs that the gateway itself has minted as credentials.

A backend can then use the JWT of a user for requests of its own, so the provider has to be
configured explicitly.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import define, field
from zope.interface import implementer

from authotron.config.plugins import ProviderConfig
from authotron.jose import own_tokens
from authotron.jose.minter import LIMITED, ORIGIN, PARENTS, SOURCE
from authotron.jose.own_tokens import OwnKeys
from authotron.jose.purposes import Claims
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.errors import NotConfigured, Rejected
from authotron.model.identity import Credential, Identity
from authotron.model.token import scope_tuples
from authotron.net.world import World
from authotron.plugin.interfaces import Affinity, IAcceptsOwnJwts, IOfIssuer, IProvider

_TYPES = ("JWT", "at+jwt")
"""The values of the header C{typ} of the JWTs that the gateway mints for backends."""


class Config(ProviderConfig):
    """`type: own-jwt`: JWTs that this gateway has minted for its backends."""

    needs_key_pair: ClassVar[bool] = True

    type: Literal["own-jwt"]


@implementer(IProvider, IAcceptsOwnJwts, IOfIssuer)
@define(eq=False)
class OwnJwt:
    """
    Verifies JWTs that the gateway itself has minted for users of one realm.

    A JWT that was minted for a credential with limits is rejected: the JWT does not state the
    limits, so that it would allow more than the credential.
    """

    name: str
    realm: str
    issuer: str | None = field(default=None, init=False)
    _keys: OwnKeys | None = field(default=None, init=False, repr=False)
    type: str = field(default="own-jwt", init=False)
    scheme: str = field(default="bearer", init=False)
    local: bool = field(default=True, init=False)

    def use_keys(self, keys: OwnKeys, issuer: str) -> None:
        self._keys, self.issuer = keys, issuer

    def affinity(self, credential: Credential) -> Affinity:
        for typ in _TYPES:
            claims = own_tokens.claims_if(credential, typ, self.issuer or "")
            if claims is not None and claims.get("realm") == self.realm:
                return Affinity.LIKELY
        return Affinity.FOREIGN

    async def authenticate(self, credential: Credential) -> Authentication:
        if self._keys is None:
            raise NotConfigured("the provider own-jwt has no keys")
        claims = own_tokens.verified(self._keys, credential.value, _TYPES)
        if SOURCE not in claims:
            raise Rejected("the JWT was minted before a provider of type own-jwt was configured")
        if claims.get(LIMITED):
            raise Rejected(
                "the JWT was minted for a credential with limits; present the credential"
            )
        if claims.get("realm") != self.realm:
            raise Rejected("the JWT names a user of another realm")
        return Authentication(
            _identity(claims),
            claims[SOURCE],
            claims["exp"],
            claims["exp"],
            token=PresentedToken(
                claims["jti"],
                claims.get(ORIGIN, claims["iat"]),
                tuple(claims.get(PARENTS, ())),
                self._audience(self._keys, claims),
            ),
        )

    @staticmethod
    def _audience(keys: OwnKeys, claims: Claims) -> tuple[str, ...] | None:
        """
        Return the audiences that a JWT minted for this credential may name.

        @raise Rejected: none of the audiences in the JWT is configured any more.
        """
        said = claims.get("aud")
        if said is None or not keys.audience:
            return None
        named = (said,) if isinstance(said, str) else said
        left = tuple(each for each in keys.audience if each in named)
        if not left:
            raise Rejected("none of the audiences in the JWT (aud) is configured any more")
        return None if left == keys.audience else left


def make(config: Config, _world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    return OwnJwt(config.name, config.realm)


def _identity(claims: Claims) -> Identity:
    """Return the identity in a JWT; its roles include those that augmenters have added."""
    return Identity(
        claims["realm"],
        claims["username"],
        tuple(dict.fromkeys(claims["roles"])),
        claims["attributes"],
        scope_tuples(claims["scopes"]),
    )

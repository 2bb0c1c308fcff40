"""
A provider that verifies the TLS certificates of clients, which a trusted proxy states (mutual TLS).

The proxy has verified in the TLS handshake that the client has the private key. The gateway
verifies again that a trusted authority has signed the certificate, because a proxy may accept
certificates of other authorities, or of any authority.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from attrs import define, field
from pydantic import Field, field_validator, model_validator
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.concurrency.racing import MaybeAwaited
from authotron.config.plugins import ProviderConfig
from authotron.config.problems import require_none
from authotron.config.section import FilePath, Names
from authotron.config.sources import unreadable
from authotron.jose.claim_values import as_text
from authotron.jose.claims_config import Attributes
from authotron.model import client_certificate
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential, Identity, earliest
from authotron.mtls import names
from authotron.mtls.chains import Authorities, Chain, load_authorities
from authotron.mtls.names import Claims
from authotron.mtls.revocation import RevocationLists
from authotron.net.world import World
from authotron.plugin.interfaces import Affinity, IDescribesRemote, IProvider

_FRESH = 60.0
"""
Maximum number of seconds for which a certificate that is not revoked is not looked up in the
revocation lists again.
"""

ClaimName = Literal[
    "commonname",
    "country",
    "locality",
    "organization",
    "organizationalunit",
    "postalcode",
    "province",
    "streetaddress",
    "dnsname",
    "email",
    "ipaddress",
    "upn",
    "uri",
    "subject",
    "issuer",
    "serialnumber",
    "fingerprint",
    "issuerchain",
    "akid",
]
"""The name of a claim of a certificate, such as C{commonname}."""


class Config(ProviderConfig):
    """`type: mtls`: the TLS certificates of clients, which the proxy states; see docs/mtls.md."""

    reads_certificates: ClassVar[bool] = True

    type: Literal["mtls"]
    ca_file: FilePath = Field(
        description="certificates (PEM) of the authorities that may sign certificates of clients"
    )
    crl_file: FilePath | None = Field(
        default=None,
        description="revocation lists (CRL, PEM or DER) of these authorities; the file is read "
        "again when it changes",
    )
    require_client_auth: bool = Field(
        default=True,
        description="reject a certificate that does not state the purpose clientAuth (extended key "
        "usage); with `false` a certificate may also state no purpose at all",
    )
    username_claim: ClaimName = Field(
        default="commonname",
        description="the claim of the certificate with the user name; it must have one value",
    )
    roles: Names = Field(
        default=(), strict=False, description="roles of every client with a certificate"
    )
    roles_claims: tuple[ClaimName, ...] = Field(
        default=(),
        strict=False,
        description="claims of the certificate whose values are roles, such as "
        "`organizationalunit`",
    )
    attributes: Attributes = Field(
        default_factory=Attributes,
        description="which claims of the certificate become attributes",
    )

    @field_validator("credentials")
    @classmethod
    def _check_credentials(cls, given: object) -> None:
        if given is not None:
            raise ValueError(
                "has no effect: the contract of the proxy says where the proxy states the "
                "certificate (server.contracts)"
            )

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        try:
            load_authorities(self.ca_file)
        except ValueError as problem:
            require_none([("ca_file", str(problem))])
        if self.crl_file is not None and (why := unreadable(self.crl_file)):
            require_none([("crl_file", why)])
        return self


@implementer(IProvider)
@define(eq=False)
class Mtls:
    """Verifies the TLS certificates of clients by the authorities that the configuration trusts."""

    name: str
    realm: str
    _config: Config = field(repr=False)
    _clock: IReactorTime
    _authorities: Authorities = field(repr=False)
    type: str = field(default="mtls", init=False)
    scheme: str = field(default="certificate", init=False)
    local: bool = field(default=True, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    def authenticate(self, credential: Credential) -> MaybeAwaited[Authentication]:
        try:
            presented = client_certificate.from_word(credential.value)
        except ValueError:
            raise Rejected("the credential is not a certificate") from None
        chain = self._authorities.verify(presented, self._clock.seconds())
        return self._authenticated(chain)

    def _authenticated(self, chain: Chain) -> MaybeAwaited[Authentication]:
        """
        Return the authentication of the client whose certificate is the first of a
        verified chain.
        """
        return self._authentication(chain)

    def _authentication(self, chain: Chain) -> Authentication:
        claims = names.claims_of(chain)
        config = self._config
        roles = [role for claim in config.roles_claims for role in claims.get(claim, ())]
        identity = Identity(
            self.realm,
            _username(claims, config.username_claim),
            (*config.roles, *roles),
            {
                claim: _as_attribute(values)
                for claim, values in claims.items()
                if config.attributes.includes(claim)
            },
        )
        expires = min(each.not_valid_after_utc.timestamp() for each in chain)
        return Authentication(identity, self.name, expires)


@implementer(IDescribesRemote)
@define(eq=False)
class MtlsWithLists(Mtls):
    """Verifies the TLS certificates of clients, and checks revocation lists as well."""

    _revocations: RevocationLists = field(kw_only=True)

    async def _authenticated(self, chain: Chain) -> Authentication:
        """
        Return the authentication of the client whose certificate is the first of a verified chain,
        if no certificate of the chain is revoked.

        @raise Rejected: a certificate is revoked.
        @raise Unavailable: there is no valid revocation list of the authority that issued a
            certificate.
        """
        found = self._authentication(chain)
        until = await self._revocations.check(chain)
        return found._replace(fresh_until=earliest(until, self._clock.seconds() + _FRESH))

    async def check_reachable(self) -> None:
        await self._revocations.check_current()

    def describe_remote(self) -> str:
        return self._revocations.describe()


def _as_attribute(values: Sequence[str]) -> str:
    """
    Return the values of a certificate's claim as an attribute: a single value unchanged, and
    several values as a JSON list.

    A single value that looks like a JSON list is put into a list, because policies make a claim of
    each element of a list. Otherwise a client that may choose a name in its certificate could
    obtain the claims of another client.
    """
    is_plain = len(values) == 1 and not values[0].startswith("[")
    return values[0] if is_plain else as_text([*values])


def _username(claims: Claims, claim: str) -> str:
    """
    Return the user name, which is the only value of the configured claim of the certificate.

    @raise Rejected: the certificate lacks the claim, has several values of the claim, or its value
        is a wildcard name for any number of hosts.
    """
    values: Sequence[str] = claims.get(claim, ())
    if len(values) != 1:
        raise Rejected(f"the certificate has {len(values)} values of {claim}, wanted one")
    if values[0].startswith("*."):
        raise Rejected(f"the {claim} of the certificate names more than one host")
    return values[0]


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    authorities = Authorities(load_authorities(config.ca_file), config.require_client_auth)
    usual = config.name, config.realm, config, world.clock, authorities
    if config.crl_file is None:
        return Mtls(*usual)
    revocations = RevocationLists(config.crl_file, world.clock, world.threads)
    return MtlsWithLists(*usual, revocations=revocations)

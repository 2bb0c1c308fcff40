"""The configuration of the checks of a JWT, and of the claims that make up an identity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from authotron.config.section import NonEmptyStr, NonEmptyStrs, Seconds, Section
from authotron.jose import purposes


class Attributes(Section):
    """The rules that decide which claims of a JWT become attributes of a user."""

    include: NonEmptyStrs = Field(
        default=(),
        strict=False,
        description="prefixes of the claim names that become attributes; all names if empty",
    )
    ignore: NonEmptyStrs = Field(
        default=(),
        strict=False,
        description="prefixes of the claim names that do not become attributes",
    )

    def includes(self, name: str) -> bool:
        """Whether a claim of this name becomes an attribute."""
        included = not self.include or name.startswith(self.include)
        return included and not name.startswith(self.ignore)


Scalar = str | bool | int | float

Wanted = Scalar | Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1)]
"""The value that a claim must have, or a list of values, one of which the claim must have."""


class ClaimsConfig(Section):
    """
    The configuration keys for the claims that a JWT must have, and for the claims that become parts
    of the identity.
    """

    issuer: NonEmptyStr | None = Field(
        default=None, description="the `iss` that a JWT must have, exactly"
    )
    audience: NonEmptyStr | NonEmptyStrs | None = Field(
        default=None,
        description="accepted audiences, one of which must be in `aud`; not checked if not set",
    )
    audience_claim: NonEmptyStr = Field(
        default="aud",
        description="the claim that must contain one of `audience`, such as `client_id` for "
        "access tokens of Amazon Cognito",
    )
    required_claims: dict[NonEmptyStr, Wanted] = Field(
        default_factory=dict,
        description="claims that a JWT must have, by path, each with its value or a list of "
        "values, such as `tid: ...`",
    )
    leeway: Seconds = Field(
        default=60, description="seconds by which the clocks of issuer and gateway may differ"
    )
    username_claim: NonEmptyStr | None = Field(
        default=None,
        description="the claim with the user name; `preferred_username`, else `sub`, if not set",
    )
    roles_claims: NonEmptyStrs | None = Field(
        default=None,
        description="paths of the claims with roles, such as `realm_access.roles`; if not "
        "set, the claims of Keycloak and `entitlements`",
    )
    attributes: Attributes = Field(
        default_factory=Attributes, description="which claims become attributes"
    )
    required_scopes: NonEmptyStrs = Field(
        default=(), strict=False, description="scopes that a JWT must have"
    )
    bound_tokens: bool = Field(
        default=False,
        description="whether a token with the claim `cnf` is accepted only with the proof that the "
        "claim demands: of a key (DPoP), which needs `tokens.bound`, or of a client certificate",
    )
    typ: NonEmptyStr | None = Field(
        default=None,
        description="the type a JWT must have, such as `at+jwt`; by default every JWT is accepted "
        "unless it declares another purpose than access, as ID, refresh and logout tokens do",
    )

    @property
    def is_strict(self) -> bool:
        """Whether to refuse a JWT with roles or scopes of a wrong shape, as auth-o-tron does."""
        return False

    @model_validator(mode="after")
    def _check_audience_claim(self) -> Self:
        if "audience_claim" in self.model_fields_set and self.audience is None:
            raise ValueError("audience_claim has no effect without audience")
        return self


_KEYCLOAK = "/protocol/openid-connect/certs"
"""The end of the URL of a Keycloak key set; the part of the URL before it is the issuer."""


def missing_checks(config: ClaimsConfig, cert_uri: str | None) -> Iterator[str]:
    """
    Yield a warning for each check of JWTs that is not configured, with the line to add to the
    configuration.

    @param cert_uri: the URL of the key set, from which the issuer can be derived for Keycloak.
    """
    if config.issuer is None:
        known = cert_uri is not None and cert_uri.endswith(_KEYCLOAK)
        issuer = str(cert_uri).removesuffix(_KEYCLOAK) if known else "the iss of your JWTs"
        yield (
            "issuer: not set, so JWTs of any issuer are accepted if a key verifies them; add "
            f"`issuer: {issuer}`"
        )
    if config.audience is None:
        yield (
            "audience: not set, so JWTs issued for other services are accepted; add "
            "`audience: [...]` with the name that JWTs for this gateway have in aud"
        )
    if config.typ is not None and purposes.as_word(config.typ) == "jwt":
        yield (
            "typ: JWT is the type of ID and refresh tokens, too, so these are accepted; remove "
            "`typ` to accept access tokens only"
        )
    for path in config.roles_claims or ():
        if config.attributes.include and config.attributes.includes(path.split(".")[0]):
            yield (
                f"attributes.include: contains {path}, whose roles are then in each JWT twice; "
                "remove the prefix unless backends read the attribute"
            )

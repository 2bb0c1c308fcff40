"""Decide which providers may know a bearer token, judged only by the format of the token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from authotron.config.section import NonEmptyStr, Section
from authotron.jose import purposes, unverified
from authotron.jose.claim_values import other_issuer, shown
from authotron.model.identity import Credential
from authotron.model.token import looks_like_ours
from authotron.plugin.interfaces import Affinity, IOfIssuer

Shape = Literal["jwt", "opaque"]


_MAX_ISSUERS = 5
"""Maximum number of configured issuers that an error message lists."""


class Accepts(Section):
    """
    The configuration key that says about which tokens a provider is asked: those that meet all
    configured conditions.
    """

    shape: Shape | None = Field(
        default=None, description="`jwt` for JSON Web Tokens only, `opaque` for other tokens only"
    )
    issuer: NonEmptyStr | None = Field(
        default=None, description="the `iss` claim that a token must have"
    )
    prefix: NonEmptyStr | None = Field(default=None, description="prefix that a token must have")


Rule = Literal["any", "jwt", "opaque"] | Accepts


def match(rule: Rule, credential: Credential) -> Affinity:
    """
    Estimate the affinity of a provider for a token, where C{rule} is the value of the provider's
    configuration key C{accepts}.

    If the rules of some providers name the issuer or prefix of the token, only these providers are
    asked.
    """
    if rule == "any":
        return Affinity.POSSIBLE
    token, seen = credential.value, unverified.parse_once(credential)
    if looks_like_ours(token):
        return Affinity.FOREIGN
    shape: Shape = "opaque" if seen is None else "jwt"
    if not isinstance(rule, Accepts):
        return Affinity.POSSIBLE if rule == shape else Affinity.FOREIGN
    fits = (
        rule.shape in (None, shape)
        and (rule.issuer is None or (seen is not None and seen.issuer == rule.issuer))
        and token.startswith(rule.prefix or "")
    )
    if not fits:
        return Affinity.FOREIGN
    return Affinity.LIKELY if rule.issuer or rule.prefix else Affinity.POSSIBLE


def names_issuer(credential: Credential) -> bool:
    """Whether a token is a JWT that names its issuer, or whose claims cannot be parsed."""
    seen = unverified.parse_once(credential)
    return seen is not None and seen.issuer is not None


def why_strange(credential: Credential, providers: Sequence[object]) -> str:
    """
    Return why no given provider is asked about a JWT that names its issuer.

    The returned text names the issuer and the purpose in the unverified JWT, the configured
    issuers, and what to do.
    """
    seen = unverified.parse_once(credential)
    issuer = None if seen is None else seen.issuer
    known = sorted(
        {each.issuer for each in providers if IOfIssuer.providedBy(each) and each.issuer}
    )
    if issuer in known:
        why = _why_other_purpose(seen) or "compare `accepts` and the types of the providers"
        return (
            f"no provider is configured for the purpose of the JWT (issuer {shown(issuer)}): {why}"
        )
    if issuer is unverified.UNREADABLE:
        return "the claims of the JWT cannot be parsed, so its issuer is unknown"
    configured = "; ".join(other_issuer(issuer, each) for each in known[:_MAX_ISSUERS])
    return (
        "no provider is configured for the issuer, or the purpose, of the JWT: "
        f"{configured or f'has {shown(issuer)}'}; "
        f"{_why_other_purpose(seen) or 'to ask a provider, set its `accepts: any`'}"
    )


def _why_other_purpose(seen: unverified.Unverified | None) -> str:
    """
    Name the header member or claim that shows that a JWT is not an access token, and the setting
    that would accept the JWT; or return an empty string if the JWT may be an access token.
    """
    if seen is None or (other := purposes.other_purpose(seen.header, seen.claims)) is None:
        return ""
    if purposes.has_other_header(seen.header):
        found = f"its header typ is {shown(seen.header.get('typ'))}"
    elif (claim := purposes.purpose_claim(seen.claims)) is not None:
        found = f"its claim {claim} is {shown(seen.claims[claim])}"
    else:
        found = f"it is {other}"
    if purposes.has_kind("Offline", seen.header, seen.claims):
        return f"{found}; only a provider of type openid-offline accepts offline tokens"
    if purposes.has_kind("ID", seen.header, seen.claims):
        return f"{found}; clients must send access tokens, or a provider needs `typ: ID`"
    return f"{found}; clients must send access tokens"

"""Which providers a bearer token is for, judged by what it shows of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from authotron.config.section import NonEmptyStr, Section
from authotron.jose import unverified
from authotron.model.identity import Credential
from authotron.model.token import looks_like_ours
from authotron.plugin.interfaces import Affinity

Shape = Literal["jwt", "opaque"]


class Accepts(Section):
    """Which tokens a provider is asked about; all that is given must fit."""

    shape: Shape | None = Field(default=None, description="JSON Web Tokens only, or only others")
    issuer: NonEmptyStr | None = Field(
        default=None, description="the `iss` that a token must claim"
    )
    prefix: NonEmptyStr | None = Field(default=None, description="what a token must begin with")


Rule = Literal["any", "jwt", "opaque"] | Accepts


def likeness(rule: Rule, credential: Credential) -> Affinity:
    """
    What C{rule} makes of a token.

    One that fits an issuer or a prefix goes to those who named it, before all others.
    """
    if rule == "any":
        return Affinity.POSSIBLE
    token, seen = credential.value, unverified.seen(credential)
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
    """Whether a token is a JWT that names its issuer, or whose claims cannot be read."""
    seen = unverified.seen(credential)
    return seen is not None and seen.issuer is not None

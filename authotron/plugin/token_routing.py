"""Which providers may know a bearer token, judged by its shape alone."""

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
    """The tokens that a provider is asked about; all conditions that are set must hold."""

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
    Judge whether a provider with this rule could know a token.

    A token with the issuer or prefix of a rule goes only to providers whose rule names it.
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

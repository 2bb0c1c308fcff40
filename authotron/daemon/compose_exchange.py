"""
Build the object that issues and verifies exchanged tokens; this module is imported only if the
configuration has the section C{tokens.exchange}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from authotron.config.check import Config
from authotron.config.schema import JwtConfig
from authotron.jose.hidden_claims import HiddenClaims
from authotron.jose.minter import Minter
from authotron.policy.namespaces import ROOT
from authotron.tokens.exchange import Bounds
from authotron.tokens.exchanged_tokens import ExchangedTokens
from authotron.tokens.owners import Owners

if TYPE_CHECKING:  # compose() loads this module if a token store is configured
    from authotron.tokens.service import TokenService

_PURPOSE = b"authotron: users in exchanged tokens"
"""The use to which the key is limited that encrypts users in exchanged tokens."""


def exchanged_tokens(
    config: Config,
    clock: IReactorTime,
    minter: Minter,
    owners: Owners,
    tokens: TokenService | None,
) -> ExchangedTokens | None:
    """Build the object that issues and verifies exchanged tokens, if the configuration has it."""
    file = config.file
    if file.tokens.exchange is None:
        return None
    namespace = ROOT if config.policy is None else config.policy.section.namespace
    bounds = Bounds(
        file.tokens.exchange, file.tokens.max_ttl_unchecked, minter.audience, namespace=namespace
    )
    hidden = HiddenClaims(_secret(file.jwt), _PURPOSE)
    return ExchangedTokens(
        bounds,
        minter,
        file.jwt.iss,
        hidden,
        owners,
        clock,
        file.tokens.jwt_exp,
        file.tokens.recheck,
        tokens,
    )


def _secret(jwt: JwtConfig) -> bytes:
    """Return the secret from which the key is derived that encrypts users in exchanged tokens."""
    secret = getattr(jwt, "sealing_key", None) or jwt.key
    return b"" if secret is None else secret.get_secret_value().strip().encode()

"""
Build the objects that issue and verify exchanged tokens and refresh tokens; this module is imported
only if the configuration has the section C{tokens.exchange}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from authotron.config.check import Config
from authotron.config.schema import JwtConfig
from authotron.jose.hidden_claims import hidden_claims
from authotron.jose.minter import Minter
from authotron.model.errors import ConfigError, Problem
from authotron.policy.namespaces import ROOT
from authotron.tokens.exchange import Bounds
from authotron.tokens.exchanged_tokens import ExchangedTokens
from authotron.tokens.owners import Owners
from authotron.tokens.refresh_family import RefreshFamilies

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
    hidden = hidden_claims(_secrets(file.jwt), _PURPOSE)
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
        file.tokens.delegates,
    )


def refresh_families(
    config: Config, clock: IReactorTime, tokens: TokenService | None
) -> RefreshFamilies | None:
    """
    Build the object that keeps the families of refresh tokens, if the configuration has it.

    @raise ConfigError: the token store cannot keep refresh tokens.
    """
    refresh = config.file.tokens.refresh
    if refresh is None or tokens is None:
        return None
    if not tokens.store.keeps_records:
        why = f"a token store of type {tokens.store.type} cannot keep refresh tokens"
        raise ConfigError([Problem("tokens.refresh", why)])
    return RefreshFamilies(tokens.store, refresh, clock)


def _secrets(jwt: JwtConfig) -> list[str]:
    """
    Return the secrets from which the keys are derived that encrypt users in exchanged tokens; the
    first one encrypts.
    """
    found = (jwt.sealing_key, jwt.previous_sealing_key, jwt.key)
    return [secret.get_secret_value().strip() for secret in found if secret is not None]

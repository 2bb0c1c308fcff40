"""
Build the object that makes the claims of clients; this module is imported only if the configuration
has a policy, or JWTs contain claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from authotron.config.check import Config
from authotron.config.claim_filter import ClaimFilterConfig, filter_of
from authotron.gateway.client_claims import ClientClaims
from authotron.model.errors import ConfigError, Problem
from authotron.policy.claim_filter import ClaimFilter
from authotron.policy.claim_keys import REASONS
from authotron.policy.claims import Source
from authotron.telemetry.metrics import Metrics, Part


def client_claims(config: Config, providers: Iterable[Part], metrics: Metrics) -> ClientClaims:
    """
    Build the object that makes the claims of clients.

    @param providers: all configured providers; the name and type of a provider become claims of the
        identities that it returns.

    @raise ConfigError: several providers have the same name but different claim filters, so the
        claims of an identity are ambiguous.
    """
    listed = [*providers]
    issuer, filters = config.file.jwt.iss, _filters(config)
    types = _types(listed)
    metrics.expect_claims(listed, REASONS)
    sources = {
        name: Source(type_, name, issuer, filters.get(name)) for name, type_ in types.items()
    }
    observes = config.policy is not None and config.policy.section.mode == "observe"
    return ClientClaims(sources, issuer, metrics, refuses=not observes)


def _types(providers: Iterable[Part]) -> dict[str, str]:
    """
    Return the types of providers by their names, by which an authentication knows its provider.

    @raise ConfigError: providers of different types have the same name, so that an identity could
        have the type of another provider as a claim.
    """
    found: dict[str, str] = {}
    for each in providers:
        if found.setdefault(each.name, each.type) != each.type:
            why = (
                f"two providers of different types are named {each.name!r}, and the claim "
                "@source:type of a policy follows from the name; choose another name"
            )
            raise ConfigError([Problem("providers", why)])
    return found


def _filters(config: Config) -> Mapping[str, ClaimFilter]:
    """
    Return the filters of claims by the names of their providers.

    @raise ConfigError: providers with the same name have different filters.
    """
    found: dict[str, ClaimFilterConfig | None] = {}
    for place, each in enumerate(config.providers):
        section = filter_of(each)
        if found.setdefault(each.name, section) != section:
            why = (
                f"another provider is named {each.name!r} as well and has other claims; choose "
                "another name, or give both the same claims"
            )
            raise ConfigError([Problem(f"providers[{place}].claims", why)])
    return {name: section.as_filter() for name, section in found.items() if section is not None}

"""
Say what changes if authotron runs a configuration of auth-o-tron, the gateway that it
replaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def remarks(given: Mapping[str, Any]) -> Iterator[str]:
    """
    Yield the remarks that an operator should read, the most important first.

    @param given: the mapping in the configuration file, without defaults.
    """
    yield from _widening(given)
    yield from _tokens(given)
    yield from _jwt(given.get("jwt"))
    yield from _providers(_mappings(given, "providers"))
    yield from _always(given)


def _widening(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the changes because of which users get more roles in authotron than in auth-o-tron."""
    for place, augmenter in enumerate(_mappings(given, "augmenters")):
        if augmenter.get("type") != "ldap":
            continue
        filters = [augmenter.get("filter"), *_list(augmenter.get("filters"))]
        if any(isinstance(each, str) and _is_search(each) for each in filters):
            yield (
                f"augmenters[{place}]: WIDENS ACCESS: a filter in parentheses gave no roles in "
                "auth-o-tron, and gives roles in authotron; try authotron doctor --user NAME"
            )
        if not augmenter.get("bind_dn"):
            yield (
                f"augmenters[{place}]: WIDENS ACCESS: without bind_dn every lookup failed in "
                "auth-o-tron; in authotron the search is anonymous, and may give roles"
            )


def _is_search(text: str) -> bool:
    """
    Whether a filter is a complete LDAP search filter with a placeholder, and not a
    part of a DN.
    """
    return text.strip().startswith("(") and ("{username}" in text or "{dn}" in text)


def _tokens(given: Mapping[str, Any]) -> Iterator[str]:
    store = given.get("store")
    if not isinstance(store, Mapping) or store.get("enabled") is False:
        return
    yield (
        "store: API tokens are stored as hashes; copy the tokens with: authotron tokens import "
        "auth-o-tron (first with --dry-run), and set store.imported: true"
    )
    yield "store: only the owner of an API token, or an administrator, can revoke it"
    yield "tokens: an owner may have 100 API tokens (tokens.max_per_owner)"


def _jwt(jwt: object) -> Iterator[str]:
    if not isinstance(jwt, Mapping):
        return
    if jwt.get("aud"):
        yield "jwt.aud: had no effect in auth-o-tron, and has none in authotron without emit_aud"
    if jwt.get("secret"):
        yield "jwt.secret: may stand in a file of its own (jwt.secret_file)"
    yield "jwt: minted JWTs have the claim jti"


def _providers(providers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for place, provider in enumerate(providers):
        at, kind = f"providers[{place}]", provider.get("type")
        if kind == "plain" and any("password" in user for user in _mappings(provider, "users")):
            yield f"{at}: passwords may be hashes (authotron hash-password, password_hash)"
        if kind == "jwt":
            yield (
                f"{at}: tokens of another issuer, and ID and refresh tokens, are not accepted; "
                "add issuer and audience"
            )
        if kind == "openid-offline":
            yield f"{at}: a required scope must be a whole word of the claim, not a part of one"


def _always(given: Mapping[str, Any]) -> Iterator[str]:
    logging = given.get("logging")
    if isinstance(logging, Mapping) and "service_name" in logging:
        yield "logging: events and fields have the same names as in auth-o-tron"
    yield "an outage of a provider is answered with 503 and Retry-After, not with 401"
    yield "a 200 of /authenticate has no body; a decision is cached for up to 60 s (auth.cache.ttl)"
    yield "docs/differences.md lists every difference"


def _mappings(given: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return those elements of a list in a mapping that are mappings."""
    return [each for each in _list(given.get(key)) if isinstance(each, Mapping)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

"""Warn of configurations that can run, but perhaps not as the operator intends."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from authotron.config import credentials, endpoint, placeholders
from authotron.config.plugins import AuthorizerConfig, PluginConfig, StoreConfig, place_of
from authotron.config.schema import MOST_MILLISECONDS, File
from authotron.config.server import SYSTEMD, VERY_MANY, Operations, Server
from authotron.model import hosts
from authotron.model.errors import ConfigError, Problem
from authotron.model.header_templates import names_realm
from authotron.model.naming import MAX_ROLE, flaw

_WITHOUT_REALM = ("remote-user", "auth-request")
"""Header profiles whose headers name users without their realms."""

_ASSIGNMENT = re.compile(r"(?:export )?[A-Z][A-Z0-9]*_[A-Z0-9_]+=.")
"""Matches a line in the form of a file with environment variables (C{NAME=value})."""


def of_file(file: File) -> Iterator[str]:
    """Yield all warnings about a configuration, except those about plugins and secrets."""
    yield from file.jwt.warnings()
    yield from _of_sockets(file.server, file.metrics)
    yield from _of_encryption(file.server)
    yield from _of_metrics(file.server, file.metrics)


def of_profiles(file: File, realms: Collection[str]) -> Iterator[str]:
    """
    Warn of header profiles whose headers do not distinguish users of different realms.

    @param realms: the realms of all configured providers.
    """
    answers = file.server.answers
    for profile in sorted({file.profile, *answers.profiles}) if len(realms) > 1 else ():
        if profile in _WITHOUT_REALM or (
            profile == "custom" and not any(map(names_realm, answers.custom.values()))
        ):
            yield (
                f"server.answers: the headers of profile {profile} do not name the realm, so users "
                f"of the same name in realms {' and '.join(sorted(realms))} are one user to "
                "backends; use the JWT, or the profile custom with {sub} or {realm}"
            )


def of_delegates(file: File, realms: Collection[str]) -> Iterator[str]:
    """
    Warn if services that may act in the name of users cannot do so.

    @param realms: the realms of all configured providers.
    """
    delegates = file.tokens.delegates
    if delegates and (file.oauth is None or not file.oauth.server):
        yield (
            "tokens.delegates: without effect, because only POST /oauth/token issues tokens to act "
            "in the name of a user; configure the section oauth"
        )
    for role, named in delegates.items():
        for realm in sorted({*named} - {*realms}):
            yield f"tokens.delegates.{role}: no provider has the realm {realm}, so it has no users"


def of_given(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the warnings about values that have another effect than an operator would expect."""
    logging, auth = (given.get(key) or {} for key in ("logging", "auth"))
    form, timeout = logging.get("format"), auth.get("timeout_in_ms")
    if isinstance(form, str) and form.lower() not in ("json", "console"):
        yield "logging.format: neither json nor console, so read as console, as in auth-o-tron"
    if timeout == 0:
        yield (
            "auth.timeout_in_ms: 0, so no call of a remote can succeed; 5000 is the default, in "
            "milliseconds"
        )
    elif isinstance(timeout, int) and timeout > MOST_MILLISECONDS:
        yield f"auth.timeout_in_ms: shortened to {MOST_MILLISECONDS}, which is one hour"


def of_plugins(
    providers: Sequence[PluginConfig], augmenters: Sequence[PluginConfig]
) -> Iterator[str]:
    """Yield the warnings about providers and augmenters."""
    if not providers:
        yield "providers: none configured, so only API tokens can be accepted"
    for kind, configs in (("providers", providers), ("augmenters", augmenters)):
        for place, config in enumerate(configs):
            for warning in _of_plugin(config, f"{kind}[{place}]"):
                yield f"{kind}[{place}]: {warning}"
            for warning in credentials.warnings(getattr(config, "credentials", None)):
                yield f"{kind}[{place}].credentials: {warning}"
        yield from _of_duplicates(kind, configs)
    yield from _of_names(providers)
    yield from _of_halves(providers)
    realms = {provider.realm for provider in providers}
    for augmenter in augmenters:
        if augmenter.realm not in realms:
            yield f"augmenter {augmenter.name!r}: no provider has its realm {augmenter.realm!r}"
    for one, other in combinations(sorted(realms), 2):
        if other.startswith(f"{one}-"):
            yield (
                f"realms {one!r} and {other!r}: a JWT with the subject {other}-x may be of "
                f"user {other[len(one) + 1 :] + '-x'!r} in {one!r} or of user 'x' in {other!r}"
            )


def of_authorizer(authorizer: AuthorizerConfig | None) -> Iterator[str]:
    """Yield the warnings about the section C{authorizer}."""
    if authorizer is not None:
        for warning in _of_plugin(authorizer, "authorizer"):
            yield f"authorizer: {warning}"


def _of_plugin(config: PluginConfig | AuthorizerConfig, at: str) -> Sequence[str]:
    """
    Return what the method C{warnings} of a plugin's C{Config} returns.

    @raise ConfigError: the method C{warnings} of the plugin failed.
    """
    try:
        found: Any = getattr(config, "warnings", tuple)()
        return [found] if isinstance(found, str) else [*map(str, found)]
    except Exception as defect:  # noqa: BLE001 - an exception in a plugin does not end the service
        why = f"the method warnings() of plugin {config.type!r} failed: {place_of(defect)}"
        raise ConfigError([Problem(at, why)]) from None


def _of_duplicates(kind: str, configs: Sequence[PluginConfig]) -> Iterator[str]:
    """Warn of plugins with the same name, which logs and metrics cannot tell apart."""
    seen: dict[str, int] = {}
    for place, config in enumerate(configs):
        first = seen.setdefault(config.name, place)
        if first != place:
            yield (
                f"{kind}[{place}].name: duplicate name {config.name!r} (also of {kind}[{first}]), "
                "so logs and metrics do not tell them apart; rename one"
            )


def _of_names(providers: Sequence[PluginConfig]) -> Iterator[str]:
    """Warn of providers whose names are not valid as service names in scopes."""
    for place, provider in enumerate(providers):
        if why := flaw(provider.name, MAX_ROLE, tab=True):
            yield (
                f"providers[{place}]: the scopes of its tokens are left out, as its name "
                f"{provider.name!a} {why}"
            )


def _of_halves(providers: Sequence[PluginConfig]) -> Iterator[str]:
    """Warn of providers of tokens that also get passwords, which belong to other providers."""
    if not any(getattr(each, "verifies_passwords", False) for each in providers):
        return
    for place, provider in enumerate(providers):
        listed = getattr(provider, "credentials", None) or ()
        accepts = getattr(provider, "accepts", "jwt")
        is_selective = "jwt" in (accepts, getattr(accepts, "shape", None))
        if any(each.basic for each in listed) and not (
            is_selective or getattr(accepts, "prefix", None)
        ):
            yield (
                f"providers[{place}].credentials: the provider is asked about passwords that no "
                "provider of passwords accepts; set `accepts: {prefix: ...}` if its tokens have "
                "a prefix"
            )


def of_secrets(secrets: Sequence[tuple[str, str]]) -> Iterator[str]:
    """
    Yield the warnings about secrets.

    @param secrets: the path and the text of each secret.
    """
    for at, text in secrets:
        if text.lstrip().startswith("-----BEGIN "):
            continue  # the secret is PEM, around which blanks and line ends have no effect
        if placeholders.is_perhaps_unfilled(text):
            yield f"{at}: looks like a placeholder that a tool should have filled in"
        if text.endswith(("\n", "\r")):
            yield (
                f"{at}: ends with a line end, which is part of it; write |- instead of | in YAML, "
                "and one line end in a file"
            )
        elif text != text.strip():
            yield f"{at}: has blanks at its beginning or end, which are part of it"
        if text.startswith("\ufeff"):
            yield f"{at}: begins with a byte order mark, which is part of it; save it without one"
        if not text.strip().removeprefix("\ufeff").isprintable():
            yield f"{at}: has a line end or an invisible character, which is part of it"
        if _ASSIGNMENT.match(text):
            yield f"{at}: looks like NAME=value; all of that is the secret"


def of_store(store: StoreConfig | None) -> Iterator[str]:
    """Yield the warnings about the token store."""
    for warning in getattr(store, "warnings", tuple)():
        yield f"store.{warning}"
    for warning in credentials.warnings(getattr(store, "credentials", None)):
        yield f"store.credentials: {warning}"
    if store is not None and "compat" not in store.model_fields_set:
        yield (
            "store.compat: not set, so GET /token creates an API token, as in auth-o-tron; add "
            "`compat: false` unless clients need it"
        )


def _of_encryption(server: Server) -> Iterator[str]:
    """Warn if other machines can send credentials without TLS."""
    advice = (
        "credentials of other machines arrive unencrypted; listen at 127.0.0.1 or a UNIX socket "
        "beside the proxy, or by TLS (listen: ssl:...), unless the network is trusted"
    )
    if not server.listen and not hosts.is_loopback(server.host):
        yield f"server.host: {server.host} without TLS: {advice}"
    for place, text in enumerate(server.listen):
        address = re.search(r":interface=((?:[^:\\]|\\.)*)", text)
        host = address[1].replace("\\", "") if address else ""
        if text.startswith(("tcp:", "tcp6:")) and not hosts.is_loopback(host):
            yield f"server.listen[{place}]: open to other machines without TLS: {advice}"


def _of_metrics(server: Server, metrics: Operations) -> Iterator[str]:
    """Warn if the metrics port is open to other machines just because no address is configured."""
    if not metrics.enabled:
        return
    if not metrics.listen and metrics.host is None and not hosts.is_loopback(server.host):
        yield (
            f"metrics.host: not set, so the metrics port is open at {server.host} as the main port "
            "is; add `host: 127.0.0.1` to metrics, or the address that scrapers use"
        )
    for place, text in enumerate(metrics.listen):
        if text.startswith(("tcp:", "tcp6:")) and "interface=" not in text:
            yield (
                f"metrics.listen[{place}]: open at all addresses; add `:interface=127.0.0.1`, or "
                "the address that scrapers use"
            )


def _of_sockets(server: Server, metrics: Operations) -> Iterator[str]:
    """Warn of UNIX sockets without a mode, and of missing or too wide C{trusted_proxies}."""
    second = metrics.listen if metrics.enabled else ()
    for where, listen in (("server", server.listen), ("metrics", second)):
        for place, text in enumerate(listen):
            if endpoint.lacks_mode(text):
                yield (
                    f"{where}.listen[{place}]: no mode, so it is 660 and other users cannot "
                    f"connect; write {endpoint.with_mode(text)!r} and add the user of the proxy "
                    "to the group of the gateway, or mode=666 for all users of the machine"
                )
    if hosts.UNIX not in server.trusted_proxies:
        yield from _of_untrusted_sockets(server)
    share = hosts.share_of_addresses(server.trusted_proxies)
    if share >= VERY_MANY:
        yield f"server.trusted_proxies: contains {share:.0%} of all addresses"


def _of_untrusted_sockets(server: Server) -> Iterator[str]:
    """Warn of UNIX sockets whose peers are no trusted proxies."""
    at_unix = [each for each in server.listen if each == SYSTEMD or endpoint.is_unix(each)]
    protocols = {endpoint.protocol_of(each) for each in at_unix}
    if endpoint.HTTP in protocols:
        yield (
            "server.trusted_proxies: does not contain 'unix', so forwarded hosts and addresses "
            "from peers at UNIX sockets are ignored, and API tokens for some hosts or networks get "
            "a 400 from them; add 'unix' if these peers are proxies"
        )
    for protocol in sorted(protocols - {endpoint.HTTP}):
        yield (
            f"server.trusted_proxies: does not contain 'unix', so every connection to the "
            f"{protocol}: endpoint at a UNIX socket is closed unread; add 'unix'"
        )

"""
Build the objects that receive security events; this module is imported only if the configuration
names identity providers in C{events.transmitters}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from authotron.config.check import Config
from authotron.config.events import Polling, TransmitterConfig
from authotron.gateway.status_lists import StatusLists
from authotron.gateway.transmitters import USERNAME, Transmitter
from authotron.jose import jwk, jwks
from authotron.jose.jwks import KeySet
from authotron.jose.poll_client import HttpPollClient
from authotron.jose.security_events import EventVerifier
from authotron.jose.verifier import Verifier
from authotron.model.errors import ConfigError, Problem
from authotron.net import http
from authotron.net.http import RemoteConfig
from authotron.net.world import World
from authotron.policy import expressions

_NOT_JWT = (
    "is not the name of a provider of type `jwt` with an issuer and a key set; configure this "
    "provider in the section providers"
)


def status_lists(config: Config, world: World) -> StatusLists:
    """
    Return the Token Status Lists of this process, which a reload keeps.

    @raise ConfigError: revocation is not configured, so no JWT could ever be revoked.
    """
    assert config.file.events is not None
    section = config.file.events.status_list
    assert section is not None
    if config.file.revocation is None:
        why = "needs the section `revocation`, as the list says what is revoked"
        raise ConfigError([Problem("events.status_list", why)])
    url = section.url.rstrip("/")
    name = (StatusLists, url, section.size)
    known = world.kept_across_reloads.get(name)
    if isinstance(known, StatusLists):
        return known
    world.kept_across_reloads[name] = created = StatusLists(url, section.size, world.clock.seconds)
    return created


def transmitters(config: Config, world: World) -> Mapping[str, Transmitter]:
    """
    Return the configured identity providers that report events, by their issuer.

    @raise ConfigError: all problems of the transmitters.
    """
    events, problems = config.file.events, list[Problem]()
    if config.file.revocation is None:
        why = "needs the section `revocation`, as security events revoke credentials"
        raise ConfigError([Problem("events.transmitters", why)])
    found: dict[str, Transmitter] = {}
    for place, each in enumerate(events.transmitters if events is not None else ()):
        at = f"events.transmitters[{place}]"
        try:
            built = _transmitter(each, config, world)
        except ConfigError as error:
            problems += error.under(at).problems
            continue
        if built.issuer in found:
            problems.append(Problem(at, f"has the same issuer as another one: {built.issuer}"))
        found[built.issuer] = built
    if problems:
        raise ConfigError(problems)
    return found


def _transmitter(section: TransmitterConfig, config: Config, world: World) -> Transmitter:
    named = [each for each in config.providers if each.name == section.provider]
    provider: Any = named[0] if named else None
    issuer = section.issuer or getattr(provider, "issuer", None)
    is_remote = isinstance(provider, RemoteConfig)
    if not is_remote or issuer is None:
        raise ConfigError([Problem("provider", _NOT_JWT)])
    _check_expressions(section)
    world = evolve(world, timeout=provider.timeout or world.timeout)
    verifier = EventVerifier(
        issuer,
        section.audience,
        section.leeway,
        Verifier(jwk.ALGORITHMS, _key_set(section, provider, issuer, world)),
        world.clock.seconds,
    )
    authorization = section.authorization
    return Transmitter(
        verifier,
        provider.realm,
        section.users,
        section.session_claim,
        section.lifetime,
        None if section.poll is None else _poll_client(section.poll, provider, world),
        None if authorization is None else authorization.get_secret_value(),
    )


def _key_set(section: TransmitterConfig, provider: Any, issuer: str, world: World) -> KeySet:
    """
    Return the keys with which security events are verified: those that the transmitter names, or
    else those of the provider.
    """
    if section.jwks_file is not None:
        return jwks.key_set_in_file(world, section.jwks_file)
    if section.jwks_uri is not None:
        web = http.make(provider, world)
        return jwks.key_set(provider, world, web, url=section.jwks_uri, issuer=issuer)
    found = provider.key_set(world) if hasattr(provider, "key_set") else None
    if not isinstance(found, KeySet):
        raise ConfigError([Problem("provider", _NOT_JWT)])
    return found


def _poll_client(polling: Polling, provider: RemoteConfig, world: World) -> HttpPollClient:
    token = None if polling.token is None else polling.token.get_secret_value()
    return HttpPollClient(http.make(provider, world), polling.url, polling.interval, token)


def _check_expressions(section: TransmitterConfig) -> None:
    """
    Check that revocations by a claim are possible, which need the Common Expression Language.

    @raise ConfigError: the extra of the package that expressions need is not installed.
    """
    by_claim = [f"users.{form}" for form, each in section.users.items() if each != USERNAME]
    if section.session_claim is not None:
        by_claim.append("session_claim")
    for key in by_claim[:1]:
        try:
            expressions.compiled("true")
        except ValueError as error:
            raise ConfigError([Problem(key, f"names a claim, and {error}")]) from None

"""Check a whole configuration: every problem at once, each with its path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

from attrs import field, frozen

from authotron.config import endpoint, placeholders, plugins, schema, section
from authotron.config.plugins import AugmenterConfig, PartConfig, StoreConfig
from authotron.config.schema import File, Operations, Server
from authotron.config.section import Environ, S, secrets_in
from authotron.model import hosts
from authotron.model.errors import ConfigError, Problem
from authotron.model.naming import MAX_ROLE, flaw
from authotron.model.token import IMPORTED


@frozen
class Config:
    """
    A configuration in which everything fits.

    @ivar warnings: what an operator should hear about, though it can be run.
    @ivar folder: where relative paths begin.
    @ivar hash_key: for hashes that the workers of the service compare; another one after each
        reload.
    """

    file: File
    providers: Sequence[PartConfig]
    augmenters: Sequence[AugmenterConfig]
    store: StoreConfig | None
    warnings: Sequence[str]
    folder: Path
    hash_key: bytes = field(factory=lambda: os.urandom(32), repr=False, eq=False)


def check(
    given: Mapping[str, Any],
    folder: Path,
    warnings: Sequence[str] = (),
    environ: Environ | None = None,
) -> Config:
    """
    The configuration that a mapping of version 2.0.0 describes.

    @param environ: the variables that secrets are read from; those of the process if not given.

    @raise ConfigError: with all problems at once.
    """
    problems: list[Problem] = []
    file, store, heard = None, None, []
    with _gathered(problems):
        file = section.read(File, given, "", folder, environ)
    reading = partial(section.read, folder=folder, environ=environ)
    providers, augmenters = (
        _parts(given.get(kind), kind, reading, problems) for kind in ("providers", "augmenters")
    )
    with _gathered(problems):
        store = _store(given.get("store"), reading)
    if file is not None:
        with _gathered(problems):
            heard = _pepper_warnings(store, file)
        with _gathered(problems):
            _check_common(store, file)
    secrets = [*_secrets(file, providers, augmenters, store)]
    problems += [Problem(at, _UNFILLED) for at, text in secrets if placeholders.is_unfilled(text)]
    if problems or file is None:
        raise ConfigError(problems)
    odd = [*_secret_warnings(secrets), *_store_warnings(store)]
    heard = [*warnings, *_warnings(file, providers, augmenters), *odd, *heard]
    return Config(file, providers, augmenters, store, heard, folder)


@contextmanager
def _gathered(problems: list[Problem]) -> Iterator[None]:
    """What is wrong here is added to the rest, so that the rest is looked at, too."""
    try:
        yield
    except ConfigError as error:
        problems.extend(error.problems)


_UNFILLED = (
    "is a placeholder that nothing fills in; name the variable in the key that ends in _env, or a "
    "file in the one that ends in _file"
)


_PERHAPS_UNFILLED = "looks like a placeholder that should have been filled in"


_ENDS_A_LINE = "ends with a line end, which belongs to it; write |- instead of | if it should not"


def _secrets(
    file: File | None,
    providers: Sequence[PartConfig],
    augmenters: Sequence[AugmenterConfig],
    store: StoreConfig | None,
) -> Iterator[tuple[str, str]]:
    """The secrets of all sections, and where each is."""
    if file is not None:
        yield from secrets_in(file.jwt, "jwt")
    for kind, configs in (("providers", providers), ("augmenters", augmenters)):
        for place, config in enumerate(configs):
            yield from secrets_in(config, f"{kind}[{place}]")
    if store is not None:
        yield from secrets_in(store, "store")


def _secret_warnings(secrets: Sequence[tuple[str, str]]) -> Iterator[str]:
    for at, text in secrets:
        if placeholders.is_perhaps_unfilled(text):
            yield f"{at}: {_PERHAPS_UNFILLED}"
        if text.endswith(("\n", "\r")):
            yield f"{at}: {_ENDS_A_LINE}"


class _Reading(Protocol):
    """Reads a section, with the folder and the variables of the configuration."""

    def __call__(self, config: type[S], given: object, at: str, /) -> S:
        """
        Read a section.

        @raise ConfigError: with all its mistakes at once.
        """


def _parts(given: object, kind: str, read: _Reading, problems: list[Problem]) -> list[Any]:
    """The sections of the parts of a kind, each read as its own module wants it."""
    found = []
    for at, value in _items(given, kind):
        with _gathered(problems):
            module = plugins.load(kind, value.get("type"), at)
            found.append(read(module.Config, value, at))
    problems += [*_not_mappings(given, kind), *_bad_names(given, kind)]
    return found


def _items(given: object, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, value in enumerate(given if isinstance(given, list) else []):
        if isinstance(value, dict):
            yield f"{kind}[{place}]", value


def _not_mappings(given: object, kind: str) -> Iterator[Problem]:
    for place, value in enumerate(given if isinstance(given, list) else []):
        if not isinstance(value, dict):
            yield Problem(f"{kind}[{place}]", "must be a mapping")


def _bad_names(given: object, kind: str) -> Iterator[Problem]:
    """Those that another has already, or that stand for something else."""
    seen: dict[str, str] = {}
    for at, value in _items(given, kind):
        name = value.get("name")
        if isinstance(name, str) and name in seen:
            yield Problem(f"{at}.name", f"{name!r} is the name of {seen[name]}, too")
        elif isinstance(name, str) and name.startswith(IMPORTED):
            yield Problem(f"{at}.name", f"must not begin with {IMPORTED}")
        elif isinstance(name, str):
            seen[name] = at


def _store(given: object, read: _Reading) -> StoreConfig | None:
    """The store, if there is one and it is enabled; what a disabled one says is not looked at."""
    if not isinstance(given, dict):
        return None
    enabled = given.get("enabled", bool(given))
    if not isinstance(enabled, bool):
        raise ConfigError([Problem("store.enabled", "must be true or false (a bool)")])
    if not enabled:
        return None
    module = plugins.load("stores", given.get("type"), "store")
    config: type[StoreConfig] = module.Config
    store = read(config, given, "store")
    return store if store.type != "none" else None


def _pepper_warnings(store: StoreConfig | None, file: File) -> list[str]:
    """
    What to say where a store has no pepper.

    @raise ConfigError: there is nothing either to derive one from.
    """
    if store is None or store.makes_pepper or store.peppers():
        return []
    if file.jwt.secret is None:
        missing = "is missing; it can be derived from jwt.secret only where there is one"
        raise ConfigError([Problem("store.pepper", missing)])
    return ["store.pepper: not set, so derived from jwt.secret; if that changes, all tokens end"]


def _check_common(store: StoreConfig | None, file: File) -> None:
    """
    Several processes need a store that they have in common.

    @raise ConfigError: each would have one of its own.
    """
    if store is not None and store.type == "memory" and file.server.processes > 1:
        raise ConfigError([Problem("store.type", "several workers cannot share memory")])


def _warnings(
    file: File, providers: Sequence[PartConfig], augmenters: Sequence[PartConfig]
) -> Iterator[str]:
    yield from file.jwt.warnings()
    yield from _socket_warnings(file.server, file.metrics)
    yield from _metrics_warnings(file.server, file.metrics)
    if not providers:
        yield "providers: there are none, so nobody gets in"
    for kind, configs in (("providers", providers), ("augmenters", augmenters)):
        for place, config in enumerate(configs):
            for warning in getattr(config, "warnings", tuple)():
                yield f"{kind}[{place}]: {warning}"
    yield from _name_warnings(providers)
    realms = {provider.realm for provider in providers}
    for augmenter in augmenters:
        if augmenter.realm not in realms:
            yield f"augmenter {augmenter.name!r}: no provider has its realm {augmenter.realm!r}"
    for one, other in combinations(sorted(realms), 2):
        if other.startswith(f"{one}-"):
            yield (
                f"realms {one!r} and {other!r}: the subject {other}-x may stand for user "
                f"{other[len(one) + 1 :] + '-x'!r} of the first or user 'x' of the second"
            )


def _name_warnings(providers: Sequence[PartConfig]) -> Iterator[str]:
    """Name the providers that scopes cannot be sorted by: their names do not pass the gate."""
    for place, provider in enumerate(providers):
        if why := flaw(provider.name, MAX_ROLE, tab=True):
            yield (
                f"providers[{place}]: the scopes of its tokens are left out, as its name "
                f"{provider.name!a} {why}"
            )


def _store_warnings(store: StoreConfig | None) -> Iterator[str]:
    if store is not None and "compat" not in store.model_fields_set:
        yield (
            "store.compat: not set, so GET /token makes a token, as in auth-o-tron; add "
            "`compat: false` unless clients need it"
        )


def _metrics_warnings(server: Server, metrics: Operations) -> Iterator[str]:
    """Name what opens the metrics port to other machines without being written."""
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


def _socket_warnings(server: Server, metrics: Operations) -> Iterator[str]:
    """Say which UNIX sockets and proxies are not what an operator may take them for."""
    second = metrics.listen if metrics.enabled else ()
    for where, listen in (("server", server.listen), ("metrics", second)):
        for place, text in enumerate(listen):
            if endpoint.lacks_mode(text):
                yield (
                    f"{where}.listen[{place}]: no mode, so it is 660 and other users get no "
                    f"connection; write {endpoint.with_mode(text)!r} and add the user of the proxy "
                    "to the group of the gateway, or mode=666 for all users of the machine"
                )
    is_at_unix = any(each == schema.SYSTEMD or endpoint.is_unix(each) for each in server.listen)
    if is_at_unix and hosts.UNIX not in server.trusted_proxies:
        yield (
            "server.trusted_proxies: does not contain 'unix', so peers at UNIX sockets are not "
            "believed about host and address, and API tokens for some hosts or networks get a 400 "
            "from them; add 'unix' to it if they are proxies"
        )
    share = hosts.share_of_addresses(server.trusted_proxies)
    if share >= schema.VERY_MANY:
        yield f"server.trusted_proxies: contains {share:.0%} of all addresses"

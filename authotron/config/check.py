"""Check a whole configuration: report every problem at once, each with the path of its key."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, frozen

from authotron.config import claim_warnings, placeholders, plugins, section, warnings
from authotron.config.credentials import reads_certificates
from authotron.config.endpoint import PREFIXES
from authotron.config.origins import Origins
from authotron.config.plugins import (
    AugmenterConfig,
    AuthorizerConfig,
    ContractConfig,
    PluginConfig,
    ProviderConfig,
    StoreConfig,
)
from authotron.config.schema import EXTENSION, NEEDS_KEY_PAIR, File
from authotron.config.section import secrets_in
from authotron.config.server import METRICS_PORT
from authotron.config.sources import Sources
from authotron.config.spelling import did_you_mean
from authotron.model.errors import ConfigError, Problem
from authotron.model.token import IMPORTED

if TYPE_CHECKING:  # imported only if a configuration has the section policy
    from authotron.config.packed import Packed
    from authotron.config.policy import Policy
    from authotron.config.policy_rules import RuleConfig

S = TypeVar("S", bound=section.Section)

AUTHORIZER = "authorizer"
"""
The name of the configuration section about the authorizer, a service that must also allow each
request.
"""


@frozen
class Config:
    """
    A valid configuration.

    @ivar policy: the policy that says which identities may make which requests, or C{None} if all
        may make any request.
    @ivar authorizer: the section of the service that must also allow each request, or C{None} if
        there is no such service.
    @ivar warnings: what an operator should look at, although the gateway can run.
    @ivar origins: where each value of the configuration came from.
    @ivar hash_key: a random key for hashes that workers exchange; all workers of one service have
        the same key, and each time the configuration is loaded there is a new key.
    """

    file: File
    providers: Sequence[PluginConfig]
    augmenters: Sequence[AugmenterConfig]
    store: StoreConfig | None
    contracts: Sequence[ContractConfig]
    warnings: Sequence[str]
    policy: Policy | None = None
    authorizer: AuthorizerConfig | None = None
    origins: Origins = field(factory=Origins, repr=False, eq=False)
    hash_key: bytes = field(factory=lambda: os.urandom(32), repr=False, eq=False)

    @property
    def shares_records(self) -> bool:
        """Whether the gateway shares records, such as revocations, through the token store."""
        return self.file.revocation is not None

    def with_rules(self, rules: Packed[RuleConfig]) -> Config:
        """
        Return a copy of the configuration with the given rules in its policy, if the configuration
        has a policy.
        """
        return (
            self if self.policy is None else evolve(self, policy=evolve(self.policy, rules=rules))
        )

    def without_rules(self) -> Config:
        """
        Return a copy of the configuration without the rules of its policy, to check whether the
        rest of the configuration can be used. The number of rules may be large.
        """
        return self if self.policy is None else evolve(self, policy=self.policy.without_rules())


def check(
    given: Mapping[str, Any], sources: Sources | None = None, earlier_warnings: Sequence[str] = ()
) -> Config:
    """
    Check a mapping of version 2.0.0 and return the configuration that it describes.

    @param sources: finds the files and environment variables that the mapping names.
    @param earlier_warnings: warnings from reading the file, which are listed first.

    @raise ConfigError: all problems of the configuration.
    """
    sources = sources or Sources()
    given = {key: value for key, value in given.items() if not key.startswith(EXTENSION)}
    if given.get("revocation", ...) is None:
        given["revocation"] = {}  # An empty section switches revocation on, with the defaults.
    problems: list[Problem] = []
    file, store, policy, authorizer, of_pepper = None, None, None, None, list[str]()
    with _collect(problems):
        file = section.read(File, given, "", sources)
    providers, augmenters = (
        _plugins(given.get(kind), kind, sources, problems) for kind in ("providers", "augmenters")
    )
    with _collect(problems):
        store = _store(given.get("store"), sources)
    contracts = _contracts(_section(given, "server").get("contracts"), sources, problems)
    problems += _unknown_contracts(file, contracts)
    problems += _without_key_pair(file, providers)
    with _collect(problems):
        policy = _policy(given, sources)
    with _collect(problems):
        authorizer = _authorizer(given, sources)
    with _collect(problems):
        of_pepper = _pepper_warnings(store, given)
    with _collect(problems):
        _check_sharing(store, file, given)
    with _collect(problems):
        _check_policy_store(policy, store)
    with _collect(problems):
        _check_record_store(file, store)
    secrets = [*_secrets(file, providers, augmenters, store, authorizer)]
    problems += [Problem(at, _UNFILLED) for at, text in secrets if placeholders.is_unfilled(text)]
    problems += _shared_port(given)
    if problems or file is None:
        raise ConfigError(problems)
    found = [
        *earlier_warnings,
        *warnings.of_file(file),
        *warnings.of_profiles(file, {each.realm for each in providers}),
        *warnings.of_delegates(file, {each.realm for each in providers}),
        *warnings.of_given(given),
        *warnings.of_plugins(providers, augmenters),
        *warnings.of_secrets(secrets),
        *warnings.of_store(store),
        *warnings.of_authorizer(authorizer),
        *of_pepper,
        *_key_warnings(file, store),
        *_policy_warnings(policy, given, providers),
        *_certificate_warnings(providers, given),
        *_claims_warnings(file, policy, providers, store),
    ]
    return Config(file, providers, augmenters, store, contracts, found, policy, authorizer)


@contextmanager
def _collect(problems: list[Problem]) -> Iterator[None]:
    """Collect the problems of a C{ConfigError} in a list and continue with later checks."""
    try:
        yield
    except ConfigError as error:
        problems.extend(error.problems)


_UNFILLED = (
    "is a placeholder, which authotron does not fill in; name the variable in the key that ends in "
    "_env, or a file in the key that ends in _file"
)


def _secrets(
    file: File | None,
    providers: Sequence[PluginConfig],
    augmenters: Sequence[PluginConfig],
    store: StoreConfig | None,
    authorizer: AuthorizerConfig | None,
) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every secret in the configuration."""
    if file is not None:
        yield from secrets_in(file.jwt, "jwt")
        if file.events is not None:
            yield from secrets_in(file.events, "events")
    for kind, configs in (("providers", providers), ("augmenters", augmenters)):
        for place, config in enumerate(configs):
            yield from secrets_in(config, f"{kind}[{place}]")
    if store is not None:
        yield from secrets_in(store, "store")
    if authorizer is not None:
        yield from secrets_in(authorizer, AUTHORIZER)


def _plugins(given: object, kind: str, sources: Sources, problems: list[Problem]) -> list[Any]:
    """Read the sections of all providers or augmenters, each by the C{Config} of its plugin."""
    found = []
    for place, value in enumerate(given if isinstance(given, list) else []):
        at = f"{kind}[{place}]"
        with _collect(problems):
            if not isinstance(value, dict):
                raise ConfigError([Problem(at, "must be a mapping")])
            problems += _reserved_name(value, at)
            module = plugins.load(kind, value.get("type"), at)
            found.append(_read(module.Config, value, at, sources))
    return found


def _read(config: type[S], value: object, at: str, sources: Sources) -> S:
    """
    Read a plugin's section, even if the validators of its C{Config} crash.

    @raise ConfigError: all problems of the section, or a validator raised an unexpected exception.
    """
    try:
        return section.read(config, value, at, sources)
    except ConfigError as error:
        raise error.under(at) from None
    except Exception as defect:  # noqa: BLE001 - an exception in a plugin does not end the service
        where = plugins.place_of(defect)
        reason = f"a validator of {config.__module__}.{config.__qualname__} failed: {where}"
        raise ConfigError([Problem(at, reason)]) from None


def _reserved_name(value: Mapping[str, Any], at: str) -> Iterator[Problem]:
    """Yield a problem if the name of a plugin begins with a reserved prefix."""
    name = value.get("name")
    if isinstance(name, str) and name.startswith(IMPORTED):
        yield Problem(f"{at}.name", f"must not begin with {IMPORTED}")


def _contracts(given: object, sources: Sources, problems: list[Problem]) -> list[ContractConfig]:
    """
    Read the contracts of the proxies that may ask the gateway: names, or sections with a C{type}.

    If the key is not set, every installed contract of a proxy is configured with its defaults.
    """
    if given is None:
        types = map(plugins.documented_type, plugins.every("contracts"))
        listed: list[object] = [*dict.fromkeys(types)]
    else:
        listed = list(given) if isinstance(given, list | tuple) else []
    found: list[ContractConfig] = []
    for place, value in enumerate(listed):
        at = f"server.contracts[{place}]"
        with _collect(problems):
            contract = _contract({"type": value} if isinstance(value, str) else value, at, sources)
            if any(contract.type == each.type for each in found):
                raise ConfigError([Problem(f"{at}.type", "is listed twice")])
            found.append(contract)
    return found


def _unknown_contracts(file: File | None, contracts: Sequence[ContractConfig]) -> Iterator[Problem]:
    """Yield a problem for each contract in C{server.answers} that is not configured."""
    known = [*(each.type for each in contracts), *PREFIXES]
    for name in file.server.answers.contracts if file is not None else ():
        if name not in known:
            why = f"is not a contract in server.contracts{did_you_mean(name, known)}"
            yield Problem(f"server.answers.contracts.{name}", why)


def _without_key_pair(file: File | None, providers: Sequence[ProviderConfig]) -> Iterator[Problem]:
    """Yield a problem for each provider of the gateway's own JWTs, if C{jwt.alg} is HS256."""
    if file is not None and file.jwt.alg == "HS256":
        for place, each in enumerate(providers):
            if getattr(each, "needs_key_pair", False):  # plugins may lack the attribute
                yield Problem(f"providers[{place}].type", NEEDS_KEY_PAIR)


def _contract(value: object, at: str, sources: Sources) -> ContractConfig:
    if not isinstance(value, dict):
        raise ConfigError([Problem(at, "must be the type of a proxy, or a mapping")])
    config: type[ContractConfig] = plugins.load("contracts", value.get("type"), at).Config
    return _read(config, value, at, sources)


def _store(given: object, sources: Sources) -> StoreConfig | None:
    """Read the section C{store}, if it is enabled; the keys of a disabled store are ignored."""
    if not isinstance(given, dict):
        return None
    enabled = given.get("enabled", bool(given))
    if not isinstance(enabled, bool):
        raise ConfigError([Problem("store.enabled", "must be true or false (a bool)")])
    if not enabled:
        return None
    module = plugins.load("stores", given.get("type"), "store")
    config: type[StoreConfig] = module.Config
    store = _read(config, given, "store", sources)
    return store if store.type != "none" else None


def _policy(given: Mapping[str, Any], sources: Sources) -> Policy | None:
    """
    Read the section C{policy}, if the configuration has one; an empty section is a policy, too. If
    the configuration has an authorizer and no policy, the authorizer alone decides about requests.

    @raise ConfigError: all problems of the section, and of the files that it names.
    """
    if "policy" not in given and AUTHORIZER not in given:
        return None
    from authotron.config import policy  # noqa: PLC0415 - only needed here

    if "policy" not in given:
        return policy.without_rules()
    return policy.read(given["policy"], sources)


def _authorizer(given: Mapping[str, Any], sources: Sources) -> AuthorizerConfig | None:
    """
    Read the section C{authorizer}, if the configuration has one. An empty section C{authorizer} is
    reported as a mistake, so that it does not silently switch the authorizer off.
    """
    if AUTHORIZER not in given:
        return None
    value = given[AUTHORIZER]
    if not isinstance(value, dict):
        raise ConfigError([Problem(AUTHORIZER, "must be a mapping, with `type` and `url`")])
    module = plugins.load("authorizers", value.get("type"), AUTHORIZER)
    config: type[AuthorizerConfig] = module.Config
    return _read(config, value, AUTHORIZER, sources)


def _check_policy_store(found: Policy | None, store: StoreConfig | None) -> None:
    """
    Require a token store in which policies can be kept, if the policy has C{store: true}.

    @raise ConfigError: no token store is configured, or the configured token store is of type
        C{memory}.
    """
    if found is None or not found.section.store:
        return
    if store is None:
        why = "needs a token store; configure the section store, of type sqlite, redis or mongo"
    elif store.type == "memory":
        why = (
            "needs a token store of another type than memory, because no command can reach the "
            "memory of the gateway"
        )
    else:
        return
    raise ConfigError([Problem("policy.store", why)])


def _key_warnings(file: File, store: StoreConfig | None) -> Iterator[str]:
    if file.jwt.sealing_key is not None and store is not None and store.type == "memory":
        yield (
            "jwt.sealing_key: a store of type memory loses the signing keys when the process ends, "
            "and backends then refuse all JWTs that were signed before"
        )


def _check_record_store(file: File | None, store: StoreConfig | None) -> None:
    """
    Require a token store if the configuration has a section whose records are kept there.

    @raise ConfigError: no token store is configured.
    """
    if file is None or store is not None:
        return
    kept = {
        "jwt.sealing_key": file.jwt.sealing_key,
        "revocation": file.revocation,
        "tokens.refresh": file.tokens.refresh,
    }
    why = "needs a token store, which keeps its records; configure the section store"
    if problems := [Problem(at, why) for at, section in kept.items() if section is not None]:
        raise ConfigError(problems)


def _policy_warnings(
    found: Policy | None, given: Mapping[str, Any], providers: Sequence[PluginConfig]
) -> Iterator[str]:
    if found is not None:
        from authotron.config import policy  # noqa: PLC0415 - only needed here

        trusted = _section(given, "server").get("trusted_proxies")
        yield from policy.warnings(
            found,
            is_trust_configured=trusted is not None,
            has_authorizer=AUTHORIZER in given,
        )
        yield from policy.login_warnings(found, [each.type for each in providers])


def _certificate_warnings(
    providers: Sequence[PluginConfig], given: Mapping[str, Any]
) -> Iterator[str]:
    """
    Warn if every program on this machine is a trusted proxy, and can therefore state the
    certificate of any client.
    """
    trusted = _section(given, "server").get("trusted_proxies")
    if trusted is None and any(map(reads_certificates, providers)):
        yield (
            "server.trusted_proxies: not set, so every program of this machine counts as a proxy "
            "and can state the certificate of any client; name the addresses of the proxies"
        )


def _claims_warnings(
    file: File,
    policy: Policy | None,
    providers: Sequence[PluginConfig],
    store: StoreConfig | None,
) -> Iterator[str]:
    if policy is None and not file.jwt.emit_claims and file.revocation is None:
        yield from claim_warnings.without_effect(providers)
    elif policy is not None and not (store is not None and store.imported):
        yield from claim_warnings.impossible_tags(policy, providers)


def _pepper_warnings(store: StoreConfig | None, given: Mapping[str, Any]) -> list[str]:
    """
    Warn if the pepper of the token store, the key of its hashes, is derived from C{jwt.secret}.

    @raise ConfigError: there is no pepper, and no C{jwt.secret} to derive a pepper from.
    """
    if store is None or store.makes_pepper or store.peppers():
        return []
    jwt = _section(given, "jwt")
    if all(jwt.get(key) is None for key in ("secret", "secret_file", "secret_env")):
        missing = "is missing; a pepper can be derived from jwt.secret only if that is set"
        raise ConfigError([Problem("store.pepper", missing)])
    derived = (
        "store.pepper: not set, so derived from jwt.secret; a change of jwt.secret invalidates "
        "all API tokens"
    )
    return [derived]


def _section(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a section of the file, or an empty one if the section is missing or invalid."""
    found = given.get(key)
    return found if isinstance(found, Mapping) else {}


def _shared_port(given: Mapping[str, Any]) -> Iterator[Problem]:
    """
    Yield a problem if the main port and the metrics port are the same, even if their sections have
    other problems.
    """
    server, metrics = _section(given, "server"), _section(given, "metrics")
    port = server.get("port")
    is_open = metrics.get("enabled") is not False and not metrics.get("listen")
    if is_open and type(port) is int and port == metrics.get("port", METRICS_PORT):
        one, other = ("metrics", "server") if "port" in metrics else ("server", "metrics")
        yield Problem(f"{one}.port", f"is {port}, the same port as {other}.port; choose another")


def _check_sharing(store: StoreConfig | None, file: File | None, given: Mapping[str, Any]) -> None:
    """
    If several worker processes are configured, require a token store that they can share.

    @raise ConfigError: the configured token store is in memory, so each worker process would have a
        store of its own.
    """
    workers = _section(given, "server").get("workers") if file is None else file.server.processes
    several = isinstance(workers, int) and workers > 1
    if store is not None and store.type == "memory" and several:
        raise ConfigError([Problem("store.type", "several workers cannot share a store in memory")])

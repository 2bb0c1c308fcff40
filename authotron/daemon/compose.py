"""Build a gateway from a configuration: plugins, authenticator, keys, decision cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import repeat
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.logger import Logger
from zope.interface.interface import InterfaceClass

from authotron.concurrency.reactor_time import Meter
from authotron.config import plugins
from authotron.config.carried import CredentialNames, credential_names
from authotron.config.check import AUTHORIZER, Config
from authotron.config.plugins import ContractConfig, FactName
from authotron.config.schema import File
from authotron.config.server import Forwarded
from authotron.daemon import answers, plugin_contract
from authotron.daemon.carriers import Looking
from authotron.gateway import credentials, decisions, outcomes
from authotron.gateway.authentication import Authenticator
from authotron.gateway.contracts import Contracts
from authotron.gateway.credentials import Challenged
from authotron.gateway.gateway import Gateway
from authotron.gateway.identity_check import IdentityCheck
from authotron.jose import minter
from authotron.jose.minter import Minter
from authotron.limits.descriptors import connection_limiter, count_connections
from authotron.model.errors import ConfigError, Problem
from authotron.net.world import World
from authotron.plugin import trusted_proxies
from authotron.plugin.contract import Contract
from authotron.plugin.interfaces import (
    IAcceptsOwnJwts,
    IAugmenter,
    IAuthorizer,
    IKeepsPolicies,
    IKeepsRecords,
    IProvider,
    ITokenStore,
)
from authotron.plugin.policy_facts import NGINX, with_policy_facts
from authotron.telemetry.metrics import Metrics, Part
from authotron.tokens.owners import Owners
from authotron.tokens.provider import TokenProvider
from authotron.web.replies import Replies, Reply

if TYPE_CHECKING:  # imported at run time only if a configuration needs them
    from authotron.gateway.authorizer import Authorizer
    from authotron.gateway.client_claims import ClientClaims
    from authotron.gateway.policy import Enforcement
    from authotron.gateway.proofs import Proofs
    from authotron.gateway.revocations import Revocations
    from authotron.gateway.status_lists import StatusLists
    from authotron.gateway.transmitters import Transmitter
    from authotron.model.protected_resources import ProtectedResources
    from authotron.policy.policies import Policies
    from authotron.tokens.exchanged_tokens import ExchangedTokens
    from authotron.tokens.refresh_family import RefreshFamilies
    from authotron.tokens.service import TokenService

_TOKENS = "authotron.tokens.service"
"""The module that manages API tokens, which is loaded if a token store is configured."""

_log = Logger()


def compose(
    config: Config,
    world: World,
    metrics: Metrics,
    store: ITokenStore | None = None,
    policies: Policies | None = None,
) -> Gateway[Reply]:
    """
    Build a gateway from a configuration, without starting services or opening connections.

    @param store: a token store that is open already, to be used instead of a new one.
    @param policies: the compiled policies of the configuration, if they were compiled before
        (L{compiled_policies}).

    @raise ConfigError: a plugin cannot be built, or a file that the configuration names cannot be
        read.
    """
    file, has_authorizer = config.file, config.authorizer is not None
    with config.origins.locating():
        _check_counts("providers", config.providers)
        _check_counts("augmenters", config.augmenters)
    remotes = [*config.providers, *config.augmenters, *([config.authorizer] * has_authorizer)]
    limit_connections = connection_limiter(remotes)
    memory = file.auth.cache.max_bytes // 2 // (len(remotes) + 1)
    timeout = file.auth.timeout_in_ms / 1000
    world = evolve(world, timeout=timeout, limit_connections=limit_connections, memory=memory)
    problems: list[Problem] = []
    providers: list[IProvider] = [
        *_built(IProvider, "providers", config.providers, repeat(world), problems)
    ]
    worlds = (with_own_timeout(each, world) for each in config.augmenters)
    augmenters: list[IAugmenter] = [
        *_built(IAugmenter, "augmenters", config.augmenters, worlds, problems)
    ]
    with config.origins.locating():
        signer = _minter(file, world, problems)
        tokens = _tokens(config, world, store)
    for provider in providers:
        if IAcceptsOwnJwts.providedBy(provider):
            signer = signer.stating_source()
            IAcceptsOwnJwts(provider).use_keys(signer, file.jwt.iss)
    owners = Owners(providers, world.clock, file.tokens.users, world.memory)
    own = TokenProvider(tokens, owners, world.clock)
    names = credential_names(config)
    contracts = _contracts(config, names)
    with config.origins.locating():
        looking = Looking(config, providers, own)
        looking.check(contracts)
    exchanged = _exchanged(config, world, signer, owners, tokens)
    with config.origins.locating():
        families = _families(config, world, tokens)
    authenticator = Authenticator(
        providers,
        augmenters,
        world.clock,
        metrics,
        timeout=timeout,
        in_order=file.auth.prefer == "order",
        own=own,
        is_unknown=own.is_unknown,
        identity_check=IdentityCheck(file.auth.identity),
        carriers=looking.by_judge,
        exchanged=exchanged,
        accepts_proofs=file.tokens.bound is not None,
    )
    with config.origins.locating():
        proofs = _proofs(config, world, tokens)
    replies = _replies(file, looking.challenged, contracts.contracts, proofs)
    judges = [*providers, *([own] if tokens else [])]
    with config.origins.locating():
        claims = _claims(config, metrics, judges)
    enforcement = _enforcement(config, world, metrics, claims, policies)
    revocations = _revocations(config, world, claims, authenticator)
    if claims is not None and file.jwt.emit_claims:
        # policies have checked the claims before a JWT is minted
        signer = signer.emitting(claims.checked if enforcement is None else claims.listed)
    status_lists = _status_lists(config, world)
    if status_lists is not None:
        signer = signer.referring(status_lists.reference)
    remembered = decisions.make(
        file.auth.cache,
        world.clock,
        authenticator,
        signer,
        replies,
        Meter("/authenticate", world.clock, metrics.reactor_blocked),
        enforcement,
        looking.carriers,
        revocations,
    )
    expected = [*judges, *([exchanged] if exchanged else [])]
    metrics.expect(expected, augmenters, outcomes.RESULTS)
    return Gateway(
        config,
        authenticator,
        signer,
        remembered,
        contracts,
        owners,
        tokens,
        enforcement,
        looking.carriers,
        names,
        claims,
        exchanged,
        revocations,
        proofs,
        transmitters=_transmitters(config, world),
        status_lists=status_lists,
        families=families,
    )


def _exchanged(
    config: Config, world: World, signer: Minter, owners: Owners, tokens: TokenService | None
) -> ExchangedTokens | None:
    """Build the object that issues and verifies exchanged tokens, if the configuration has it."""
    if config.file.tokens.exchange is None:
        return None
    from authotron.daemon import compose_exchange  # noqa: PLC0415 - only needed here

    return compose_exchange.exchanged_tokens(config, world.clock, signer, owners, tokens)


def _transmitters(config: Config, world: World) -> Mapping[str, Transmitter]:
    """
    Build the objects that receive events of identity providers, if some are configured.

    @raise ConfigError: the section of an identity provider has problems.
    """
    if config.file.events is None or not config.file.events.transmitters:
        return {}
    from authotron.daemon import compose_events  # noqa: PLC0415 - only needed here

    with config.origins.locating():
        return compose_events.transmitters(config, world)


def _status_lists(config: Config, world: World) -> StatusLists | None:
    """Build the object that gives minted JWTs a place in a Token Status List, if configured."""
    if config.file.events is None or config.file.events.status_list is None:
        return None
    from authotron.daemon import compose_events  # noqa: PLC0415 - only needed here

    with config.origins.locating():
        return compose_events.status_lists(config, world)


def _families(config: Config, world: World, tokens: TokenService | None) -> RefreshFamilies | None:
    """Build the object that keeps the families of refresh tokens, if the configuration has it."""
    if config.file.tokens.refresh is None:
        return None
    from authotron.daemon import compose_exchange  # noqa: PLC0415 - only needed here

    return compose_exchange.refresh_families(config, world.clock, tokens)


def _claims(config: Config, metrics: Metrics, providers: Iterable[Part]) -> ClientClaims | None:
    """Build the object that makes the claims of clients, if anything needs their claims."""
    file = config.file
    if config.policy is None and not file.jwt.emit_claims and file.revocation is None:
        return None
    from authotron.daemon import compose_claims  # noqa: PLC0415 - only needed here

    return compose_claims.client_claims(config, providers, metrics)


def _revocations(
    config: Config, world: World, claims: ClientClaims | None, authenticator: Authenticator
) -> Revocations | None:
    """
    Build the object that says whose credentials are revoked, if credentials can be revoked. The
    object knows no revocations yet (L{authotron.daemon.live_records}).
    """
    if config.file.revocation is None or claims is None:
        return None
    from authotron.gateway import revocations, token_ids  # noqa: PLC0415 - only needed here

    authenticator.name_token = token_ids.with_token_id
    return revocations.unread(claims, world.clock.seconds)


async def compiled_policies(config: Config, world: World, metrics: Metrics) -> Policies | None:
    """
    Compile the policies of a configuration in pieces, between which the process serves requests;
    return C{None} if the configuration has no policy, or if further policies are in a token store.
    """
    if config.policy is None or config.policy.section.store:
        return None
    from authotron.daemon import compose_policy  # noqa: PLC0415 - only needed here

    return await compose_policy.compile_in_pieces(config.policy, world.clock, metrics)


def _enforcement(
    config: Config,
    world: World,
    metrics: Metrics,
    claims: ClientClaims | None,
    policies: Policies | None,
) -> Enforcement | None:
    """Build the object that applies the policies, if the configuration has a policy."""
    if config.policy is None or claims is None:
        return None
    from authotron.daemon import compose_policy  # noqa: PLC0415 - only needed here

    return compose_policy.enforcement(
        config.policy, world.clock, metrics, claims, _authorizer(config, world, metrics), policies
    )


def _authorizer(config: Config, world: World, metrics: Metrics) -> Authorizer | None:
    """
    Build the object that asks the authorizer, if the configuration has an authorizer.

    @raise ConfigError: the authorizer cannot be built.
    """
    if config.authorizer is None:
        return None
    from authotron.gateway.authorizer import Authorizer  # noqa: PLC0415 - only needed here

    world = with_own_timeout(config.authorizer, world)
    plugin: IAuthorizer = _build_plugin(
        IAuthorizer, "authorizers", AUTHORIZER, config.authorizer, world
    )
    metrics.expect_authorizer(plugin)
    return Authorizer(plugin, world.clock, world.timeout, metrics)


def _contracts(config: Config, names: CredentialNames) -> Contracts:
    """
    Build the contracts of the proxies that may ask the gateway for decisions.

    @param names: the parts of requests that carry credentials; the replies of some contracts name
        the headers among them.

    @raise ConfigError: a contract cannot be built, or two contracts have the same path.
    """
    server = config.file.server
    problems: list[Problem] = []
    paths: set[tuple[str, bool]] = set()
    found: list[Contract] = []
    for place, section in enumerate(config.contracts):
        at = f"server.contracts[{place}]"
        try:
            contract = _build_contract(_with_headers(section, at, config), at, server.forwarded)
        except ConfigError as error:
            problems += error.problems
            continue
        own = {(each.path, each.appends) for each in contract.endpoints}
        if own & paths:
            problems.append(Problem(at, "has a path that another contract has, too"))
        paths |= own
        if contract.answers is not None and contract.answers.removed_in:
            removed = tuple(each for each in names.headers if each != "Authorization")
            contract = evolve(contract, answers=evolve(contract.answers, removed=removed))
        if config.policy is not None:
            is_enforced = config.policy.section.mode == "enforce"
            contract = with_policy_facts(contract, required=is_enforced)
        elif config.file.tokens.exchange is not None:  # for the restrictions of exchanged tokens
            contract = with_policy_facts(contract, required=False)
        found.append(contract)
    if problems:
        raise ConfigError(problems)
    found, protocols = (
        [answers.with_answers(each, config.file) for each in some]
        for some in (found, answers.PROTOCOLS)
    )
    proxies = trusted_proxies.make(server.trusted_proxies)
    resources = _resources(config)
    return Contracts(found, proxies, server.forwarded, protocols, resources)


def _resources(config: Config) -> ProtectedResources | None:
    """Return the protected resources of a configuration, or C{None} if it has none."""
    if config.file.oauth is None or not config.file.oauth.resources:
        return None
    from authotron.model import protected_resources  # noqa: PLC0415 - only needed here

    return protected_resources.ProtectedResources(
        [
            protected_resources.ProtectedResource(each.resource)
            for each in config.file.oauth.resources
        ]
    )


def _with_headers(section: ContractConfig, at: str, config: Config) -> ContractConfig:
    """
    Return the section of a contract with the headers that C{policy.facts} names for nginx.

    @raise ConfigError: the section of the contract names another header for the same fact of a
        request.
    """
    if config.policy is None or section.type != NGINX:
        return section
    named = config.policy.section.facts
    headers = dict(section.headers)
    pairs: tuple[tuple[FactName, str], ...] = (
        ("path", "uri"),
        ("method", "method"),
        ("namespace", "namespace"),
    )
    for fact, key in pairs:
        name = getattr(named, key) if key in named.model_fields_set else None
        if name is None:
            continue
        if headers.get(fact, name).lower() != name.lower():
            why = f"is another header than in policy.facts.{key}; name it once"
            raise ConfigError([Problem(f"{at}.headers.{fact}", why)])
        headers[fact] = name
    return section.model_copy(update={"headers": headers})


def _build_contract(section: ContractConfig, at: str, forwarded: Forwarded) -> Contract:
    """
    Build the contract of a proxy from its section of the configuration.

    @raise ConfigError: C{make} of the contract's module fails, or does not return a contract.
    """
    try:
        contract = plugins.load("contracts", section.type, at).make(section, forwarded)
    except ConfigError as error:
        raise error.under(at) from None
    except Exception as defect:  # noqa: BLE001 - an exception in a plugin does not end the service
        reason = f"building contract {section.type!r} failed: {plugins.place_of(defect)}"
        raise ConfigError([Problem(at, reason)]) from None
    if not isinstance(contract, Contract):
        reason = f"make() of contract {section.type!r} does not return a Contract"
        raise ConfigError([Problem(at, reason)])
    authorization = section.authorization or contract.authorization
    return evolve(contract, authorization=authorization)


def _check_counts(kind: str, configs: Sequence[Any]) -> None:
    """
    Call the method C{count_connections} of each plugin's section that has this method.

    @raise ConfigError: the method of a plugin fails, or does not return a number.
    """
    for place, section in enumerate(configs):
        try:
            count_connections([section])
        except Exception as defect:  # noqa: BLE001 - an exception in a plugin does not end the service
            where = plugins.place_of(defect)
            why = f"the method count_connections() of plugin {section.type!r} failed: {where}"
            raise ConfigError([Problem(f"{kind}[{place}]", why)]) from None


def _proofs(config: Config, world: World, tokens: TokenService | None) -> Proofs | None:
    """
    Build the object that verifies proofs, if the configuration allows tokens that are bound to a
    key.

    @raise ConfigError: no token store is configured that could keep the ids of proofs.
    """
    bound = config.file.tokens.bound
    if bound is None:
        return None
    if tokens is None or not tokens.store.keeps_records:
        why = (
            "needs a token store that keeps records, for the ids of the proofs that were used; "
            "configure the section store"
        )
        raise ConfigError([Problem("tokens.bound", why)])
    from authotron.gateway.proofs import Proofs  # noqa: PLC0415 - only needed here

    return Proofs(tokens.store, bound, world.clock)


def _replies(
    file: File,
    challenged: Sequence[Challenged],
    contracts: Sequence[Contract],
    proofs: Proofs | None,
) -> Replies:
    """
    Build the object that makes HTTP replies, with the WWW-Authenticate challenges and the header
    profiles of a configuration.
    """
    challenge = partial(
        credentials.challenge,
        challenged,
        charset=file.auth.challenge_charset,
        basic_first=file.auth.challenge_order == "basic-first",
        further="" if proofs is None else proofs.challenge(),
    )
    errors: Sequence[str] = outcomes.TOKEN_ERRORS if file.auth.challenge_errors else ()
    if file.revocation is not None and not errors:
        errors = [outcomes.INVALID_TOKEN]
    error_challenges = {error: challenge(error=error) for error in errors}
    if proofs is not None:
        refused = proofs.challenge(outcomes.INVALID_TOKEN)
        error_challenges[outcomes.INVALID_UNDER_DPOP] = refused
    profile, *others = answers.profiles(file, contracts)
    return Replies(challenge(), profile, error_challenges, others)


def with_own_timeout(config: Any, world: World) -> World:
    """
    Return the L{World} (clock, HTTP client and timeouts) for an augmenter or authorizer, whose
    configuration key C{timeout} may override the common timeout.
    """
    return evolve(world, timeout=getattr(config, "timeout", None) or world.timeout)


def _built(
    interface: InterfaceClass,
    kind: str,
    configs: Sequence[Any],
    worlds: Iterable[World],
    problems: list[Problem],
) -> Iterator[Any]:
    """
    Build the plugins of one kind.

    @param problems: the list to which the problems of plugins that cannot be built are added.
    """
    for place, (config, world) in enumerate(zip(configs, worlds, strict=False)):
        try:
            yield _build_plugin(interface, kind, f"{kind}[{place}]", config, world)
        except ConfigError as error:
            problems += error.problems


def _build_plugin(interface: InterfaceClass, kind: str, at: str, config: Any, world: World) -> Any:
    """
    Build a plugin from its section, and verify that the plugin keeps the contract of its interface.

    @param at: the path of the section in the configuration file.

    @raise ConfigError: C{make} of the plugin fails, or returns an object that breaks the contract.
    """
    try:
        plugin = plugins.load(kind, config.type, at).make(config, world)
        plugin_contract.verify(interface, plugin, at, config.type)
    except ConfigError as error:
        raise error.under(at) from None
    except Exception as defect:  # noqa: BLE001 - an exception in a plugin does not end the service
        _log.failure(
            "building plugin {type} failed, refusing the configuration",
            type=config.type,
            event="startup.part.broken",
        )
        reason = f"building plugin {config.type!r} failed: {type(defect).__name__}"
        raise ConfigError([Problem(at, reason)]) from None
    return plugin


def _minter(file: File, world: World, problems: Sequence[Problem]) -> Minter:
    """
    Build the L{Minter}, which signs JWTs, unless the configuration has problems.

    @raise ConfigError: the section or a key has problems; the error lists all of them.
    """
    try:
        built = minter.make(file.jwt, world.clock, file.longest_lifetime)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return built


def _tokens(config: Config, world: World, store: ITokenStore | None) -> TokenService | None:
    """
    Build the service of API tokens, if a store is configured.

    Stores that are configured as in auth-o-tron, the gateway that authotron replaces, have no
    pepper. For a token store without a pepper, a pepper is derived from `jwt.secret`, because all
    processes that share the store know this secret.
    """
    if config.store is None:
        return None
    secret = config.file.jwt.secret
    backend = store or _build_plugin(ITokenStore, "stores", "store", config.store, world)
    if config.policy is not None and config.policy.section.store:
        _check_keeps_policies(backend)
    if config.shares_records:
        _check_keeps_records(backend, "revocation")
    if config.file.jwt.sealing_key is not None:
        _check_keeps_records(backend, "jwt.sealing_key")
    tokens: TokenService = import_module(_TOKENS).make(
        backend,
        config.file.tokens,
        config.store,
        world.clock,
        secret.get_secret_value() if secret else None,
    )
    tokens.announces = config.file.revocation is not None
    return tokens


def _check_keeps_policies(store: ITokenStore) -> None:
    """
    Check that the token store can keep policies.

    @raise ConfigError: the token store cannot keep policies, for example because it is a plugin of
        another package.
    """
    if not IKeepsPolicies.providedBy(store):
        why = f"needs a token store that keeps policies, which type {store.type!r} does not"
        raise ConfigError([Problem("policy.store", why)])


def _check_keeps_records(store: ITokenStore, at: str) -> None:
    """
    Check that the token store can keep records, such as revocations and signing keys.

    @param at: the configuration key that needs records, for messages.

    @raise ConfigError: the token store cannot keep records, for example because it is a plugin of
        another package.
    """
    if not IKeepsRecords.providedBy(store):
        why = f"needs a token store that keeps records, which type {store.type!r} does not"
        raise ConfigError([Problem(at, why)])

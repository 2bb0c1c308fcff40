"""C{authotron tokens import}: copy tokens of another service into the configured store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import click
from attrs import define, evolve

from authotron.cli import acl_proxy, token_sources
from authotron.cli.options import (
    Command,
    Group,
    config_option,
    exit_on_config_error,
    load_config,
    text,
)
from authotron.cli.output import say
from authotron.cli.token_sources import ImportableToken, OwnerRule, SkippedToken, SourceToken
from authotron.cli.token_store import run
from authotron.concurrency.racing import with_timeout
from authotron.config.check import Config
from authotron.config.section import read
from authotron.gateway.gateway import Gateway
from authotron.gateway.identity_check import IdentityCheck
from authotron.model.errors import BadIdentity, ConfigError, Problem
from authotron.net.world import World
from authotron.stores import mongo, mongo_client, redis
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply

_PROGRESS = 1_000
"""The progress is printed each time this number of tokens has been read."""

_TIMEOUT = 10.0
"""Maximum number of seconds for one operation on the database from which tokens are imported."""

_dry_run_option: Callable[[Any], Any] = click.option(
    "--dry-run", is_flag=True, help="Print what would be copied, and write nothing."
)


@click.group(
    "import",
    cls=Group,
    examples=("authotron tokens import auth-o-tron --from theirs.yaml --dry-run",),
)
def import_() -> None:
    """
    Copy tokens of another service.

    The tokens also stay in the store of the other service, because the import only reads that
    store. Imported tokens are accepted if the configuration has `store.imported: true`. Tokens that
    an earlier import has copied are not changed, so a second import copies only new tokens. A token
    that never expires gets the lifetime `tokens.max_ttl`. Exit status 1 if some tokens were
    skipped.
    """


@import_.command(
    "acl-proxy",
    cls=Command,
    short_help="Copy the tokens in the Redis of an acl-proxy.",
    examples=("authotron tokens import acl-proxy --realm internal --username {email}",),
)
@config_option
@click.option(
    "--realm",
    type=text,
    required=True,
    help="Realm of the owners of the tokens, which a configuration of acl-proxy does not name.",
)
@click.option(
    "--username",
    type=text,
    required=True,
    metavar="RULE",
    help="User name of the owners of the tokens, with {email}, {comment} or {hash} in it, "
    "or one name for all.",
)
@click.option("--role", type=text, multiple=True, help="A role of every owner (may be repeated).")
@_dry_run_option
def of_acl_proxy(
    path: Path, realm: str, username: str, role: tuple[str, ...], *, dry_run: bool
) -> None:
    """
    Copy the tokens in the Redis of an acl-proxy.

    The variables REDIS_HOST, REDIS_PORT, ... tell where the Redis is. An acl-proxy stores only the
    hashes of tokens. The copied hashes are verified with the PEPPER of the acl-proxy, which must be
    the value of `store.acl_proxy_pepper` in the configuration.
    """
    with exit_on_config_error():
        section = read(redis.Config, acl_proxy.store(os.environ), "REDIS_*")
    rule = OwnerRule(realm, username, role)

    async def work(gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        _require_keys(gateway.config, "imported", "acl_proxy_pepper")
        source = redis.client(section, world)
        try:
            found = token_sources.acl_proxy_tokens(source, rule, world.clock.seconds())
            await _Import(tokens, gateway.authenticator.identity_check, world, dry_run).copy(found)
        finally:
            await source.stop()

    run(path, work)


@import_.command(
    "auth-o-tron",
    cls=Command,
    short_help="Copy the tokens in the MongoDB of an auth-o-tron.",
    examples=("authotron tokens import auth-o-tron --from theirs.yaml --dry-run",),
)
@config_option
@click.option(
    "--from",
    "theirs",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file of the auth-o-tron, whose `store` is read.",
)
@click.option(
    "--realm",
    type=text,
    help="Realm of all imported tokens, if authotron's configuration names it differently.",
)
@_dry_run_option
def of_auth_o_tron(path: Path, theirs: Path, realm: str | None, *, dry_run: bool) -> None:
    """Copy the tokens, with their owners, in the MongoDB of an auth-o-tron."""
    section = load_config(theirs).store
    if not isinstance(section, mongo.Config):
        raise click.UsageError(f"the configuration {theirs} has no store of type mongo")

    async def work(gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        _require_keys(gateway.config, "imported")
        peer = mongo_client.tls_peer(section)
        pool = mongo_client.connection_pool(section, peer)
        try:
            if peer is not None:
                await with_timeout(world.clock, _TIMEOUT, peer.wait_for_peer())
            database = pool[section.database]
            found = token_sources.auth_o_tron_tokens(
                database[section.tokens_collection or "tokens"],
                database[section.users_collection or "users"],
                realm,
            )
            await _Import(tokens, gateway.authenticator.identity_check, world, dry_run).copy(found)
        finally:
            await pool.disconnect()

    run(path, work)


def _require_keys(config: Config, *keys: str) -> None:
    """
    Require those keys of the section C{store} that are needed to accept imported tokens.

    @raise ConfigError: a key of the section C{store} is not set.
    """
    problems = [
        Problem(f"store.{key}", "must be set, or the imported tokens are not accepted")
        for key in keys
        if not getattr(config.store, key)
    ]
    if problems:
        raise ConfigError(problems)


@define
class _Import:
    """One import, which counts the tokens that are copied, present already, and skipped."""

    _tokens: TokenService
    _gate: IdentityCheck
    _world: World
    _dry_run: bool
    _copied: int = 0
    _present: int = 0
    _skipped: int = 0

    async def copy(self, found: AsyncIterator[SourceToken]) -> None:
        """
        Copy all tokens of a source, and print how many were copied.

        @raise Unavailable: the source or the target is down.
        @raise SystemExit: 1 if some tokens were skipped.
        """
        while True:
            item = await with_timeout(self._world.clock, _TIMEOUT, _next(found))
            if item is None:
                break
            await self._process(self._with_checked_owner(item))
        would = "would be copied" if self._dry_run else "were copied"
        say(
            f"{self._copied} tokens {would}, {self._present} were present already, "
            f"{self._skipped} were skipped"
        )
        if self._skipped:
            raise SystemExit(1)

    def _with_checked_owner(self, item: SourceToken) -> SourceToken:
        """Skip a token whose owner a gateway would reject."""
        if isinstance(item, SkippedToken):
            return item
        try:
            owner = self._gate.admit(item.token.owner, item.token.provider)
        except BadIdentity as bad:
            return SkippedToken("a token", f"the owner of the token is rejected: {bad}")
        return evolve(item, token=evolve(item.token, owner=owner))

    async def _process(self, item: SourceToken) -> None:
        if isinstance(item, SkippedToken):
            self._skipped += 1
            say(f"skipped: {item.which}: {item.why}", fg="yellow", err=True)
        elif await self._copy(item):
            self._copied += 1
        else:
            self._present += 1
        seen = self._copied + self._present + self._skipped
        if seen % _PROGRESS == 0:
            say(f"{seen} tokens processed", err=True)

    async def _copy(self, item: ImportableToken) -> bool:
        if self._dry_run:
            return not await self._tokens.imported.has(item.known_as)
        return await self._tokens.imported.copy(item.known_as, item.token)


async def _next(found: AsyncIterator[SourceToken]) -> SourceToken | None:
    return await anext(found, None)

"""C{authotron tokens import}: copy the tokens of another service into the configured store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import click
from attrs import define, evolve

from authotron.cli import acl_proxy, token_sources
from authotron.cli.options import (
    complaints,
    config_option,
    loaded,
    text,
)
from authotron.cli.output import say
from authotron.cli.token_sources import Found, LeftOut, OwnerRule
from authotron.cli.token_store import run
from authotron.concurrency.racing import with_timeout
from authotron.config.check import Config
from authotron.config.section import read
from authotron.gateway.gate import Gate
from authotron.gateway.gateway import Gateway
from authotron.model.errors import BadIdentity, ConfigError, Problem
from authotron.net.world import World
from authotron.stores import mongo, mongo_client, redis
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply

_PROGRESS = 1_000
_PATIENCE = 10.0
"""Seconds the other service may take for one step."""

_dry_run_option: Callable[[Any], Any] = click.option(
    "--dry-run", is_flag=True, help="Only say what would be copied; write nothing."
)


@click.group("import")
def import_() -> None:
    """
    Copy the tokens of another service, which is only read.

    They go on being good where the configuration says `store.imported: true`. What is here already
    is left as it is, so that a second run copies what came since. A token without an end gets
    `tokens.max_ttl`. Exit status 1 if some had to be left out.
    """


@import_.command("acl-proxy")
@config_option
@click.option(
    "--realm", type=text, required=True, help="Realm of the owners; the source knows none."
)
@click.option(
    "--username",
    type=text,
    required=True,
    metavar="RULE",
    help="Name of the owners, with {email}, {comment} or {hash} in it, or one name for all.",
)
@click.option("--role", type=text, multiple=True, help="A role of every owner (may be repeated).")
@_dry_run_option
def of_acl_proxy(
    path: Path, realm: str, username: str, role: tuple[str, ...], *, dry_run: bool
) -> None:
    """
    Copy from the Redis of an acl-proxy, which its own variables name: REDIS_HOST and so on.

    There are only hashes. They are verified with its PEPPER, so the configuration must have that
    as `store.acl_proxy_pepper`.
    """
    with complaints():
        section = read(redis.Config, acl_proxy.store(os.environ), "REDIS_*")
    rule = OwnerRule(realm, username, role)

    async def work(gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        _expect(gateway.config, "imported", "acl_proxy_pepper")
        source = redis.client(section, world)
        try:
            found = token_sources.of_acl_proxy(source, rule, world.clock.seconds())
            await _Import(tokens, gateway.authenticator.gate, world, dry_run).copy(found)
        finally:
            await source.stop()

    run(path, work)


@import_.command("auth-o-tron")
@config_option
@click.option(
    "--from",
    "theirs",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Its configuration file, whose `store` is the source.",
)
@click.option("--realm", type=text, help="What the realm of all of them is called here.")
@_dry_run_option
def of_auth_o_tron(path: Path, theirs: Path, realm: str | None, *, dry_run: bool) -> None:
    """Copy from the MongoDB of an auth-o-tron, tokens with their owners."""
    section = loaded(theirs).store
    if not isinstance(section, mongo.Config):
        raise click.UsageError(f"{theirs} has no store of type mongo")

    async def work(gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        _expect(gateway.config, "imported")
        peer = mongo_client.tls_peer(section)
        pool = mongo_client.connection_pool(section, peer)
        try:
            if peer is not None:
                await with_timeout(world.clock, _PATIENCE, peer.settled())
            database = pool[section.database]
            found = token_sources.of_auth_o_tron(
                database[section.tokens_collection], database[section.users_collection], realm
            )
            await _Import(tokens, gateway.authenticator.gate, world, dry_run).copy(found)
        finally:
            await pool.disconnect()

    run(path, work)


def _expect(config: Config, *keys: str) -> None:
    """
    Without some keys of the store nobody would ever look for what was imported.

    @raise ConfigError: one is not set.
    """
    problems = [
        Problem(f"store.{key}", "is needed for what is to be imported")
        for key in keys
        if not getattr(config.store, key)
    ]
    if problems:
        raise ConfigError(problems)


@define
class _Import:
    """One run: what was copied, what was here, what was left out."""

    _tokens: TokenService
    _gate: Gate
    _world: World
    _dry_run: bool
    _copied: int = 0
    _here: int = 0
    _left_out: int = 0

    async def copy(self, found: AsyncIterator[Found | LeftOut]) -> None:
        """
        Copy all there is, and tell.

        @raise Unavailable: one of the two stores does not answer.
        @raise SystemExit: 1 if some were left out.
        """
        while True:
            item = await with_timeout(self._world.clock, _PATIENCE, _next(found))
            if item is None:
                break
            await self._take(self._admitted(item))
        would = "would be copied" if self._dry_run else "copied"
        say(f"{self._copied} {would}, {self._here} here already, {self._left_out} left out")
        if self._left_out:
            raise SystemExit(1)

    def _admitted(self, item: Found | LeftOut) -> Found | LeftOut:
        """A token whose owner no gateway would let pass is left out."""
        if isinstance(item, LeftOut):
            return item
        try:
            owner = self._gate.admit(item.token.owner, item.token.provider)
        except BadIdentity as bad:
            return LeftOut("a token", f"has an owner that is refused: {bad}")
        return evolve(item, token=evolve(item.token, owner=owner))

    async def _take(self, item: Found | LeftOut) -> None:
        if isinstance(item, LeftOut):
            self._left_out += 1
            say(f"left out: {item.which} {item.why}", fg="yellow", err=True)
        elif await self._copy(item):
            self._copied += 1
        else:
            self._here += 1
        seen = self._copied + self._here + self._left_out
        if seen % _PROGRESS == 0:
            say(f"{seen} so far", err=True)

    async def _copy(self, item: Found) -> bool:
        if self._dry_run:
            return not await self._tokens.imported.has(item.known_as)
        return await self._tokens.imported.copy(item.known_as, item.token)


async def _next(found: AsyncIterator[Found | LeftOut]) -> Found | LeftOut | None:
    return await anext(found, None)

"""C{authotron keys}: list, generate, promote and retire the keys with which JWTs are signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import execute

from authotron.cli.composed import compose_or_exit
from authotron.cli.options import Command, Group, clock, config_option, json_option, load_config
from authotron.cli.options import text as one_line
from authotron.cli.output import say, say_json
from authotron.cli.token_store import run
from authotron.gateway.gateway import Gateway
from authotron.gateway.key_status import moment
from authotron.jose import ring_keys
from authotron.jose.key_ring import KeyPair, KeyRing, Plan, RefusedTransition, UnreadableRing
from authotron.jose.ring_keys import RingKeys
from authotron.model.errors import Unavailable
from authotron.net.world import World
from authotron.telemetry import audit
from authotron.tokens import shared_keys
from authotron.tokens.service import TokenService
from authotron.tokens.shared_keys import SharedKeys
from authotron.web.replies import Reply

_HEADER = ("STATE", "KID", "ALGORITHM", "PUBLISHED", "SIGNS FROM", "SIGNS UNTIL", "GONE FROM")

_NOT_STORED = (
    "the signing keys are in files, because jwt.sealing_key is not set; change jwt.key_file and "
    "jwt.previous_key_files, and reload the gateway"
)

Change = Callable[[KeyRing, float], KeyRing]
"""
A function that returns a changed ring of signing keys, given a ring and the time in seconds since
the epoch.
"""


@click.group(cls=Group, examples=("authotron keys list", "authotron keys promote"))
def keys() -> None:
    """
    List and rotate the keys with which JWTs are signed.

    With `jwt.sealing_key` the keys are in the token store, and each key is first next (published),
    then active (it signs), then retiring (published, until its last JWT has expired), and then
    gone. With `jwt.rotation` the gateways rotate the keys by themselves.
    """


@keys.command(
    "list",
    cls=Command,
    examples=("authotron keys list", "authotron keys list --json | jq -r '.keys[0].kid'"),
)
@config_option
@json_option
def list_keys(path: Path, *, as_json: bool) -> None:
    """
    List the signing keys, their states, and the moments at which the states change.

    All times are in UTC. The active key is listed first. If `jwt.sealing_key` is not set, the keys
    in the files of the configuration are listed, which have no times.
    """
    config = load_config(path, as_json=as_json)
    if config.file.jwt.sealing_key is None:
        world = World(clock(), execute)
        _print([*_static(compose_or_exit(config, world, as_json=as_json))], as_json=as_json)
        return

    async def work(shared: SharedKeys, plan: Plan, world: World) -> None:
        stored = await shared.read()
        if stored.ring is None:
            raise Unavailable(shared_keys.NO_RING)
        found = [*_rows(stored.ring, world.clock.seconds(), plan)]
        _print(found, stored.ring.version, as_json=as_json)

    _run(path, work, as_json=as_json)


@keys.command(
    cls=Command,
    examples=("authotron keys generate", "authotron keys generate --replace"),
)
@click.option(
    "--replace", "replaces", is_flag=True, help="Remove the present next key, which has not signed."
)
@config_option
@json_option
def generate(path: Path, *, replaces: bool, as_json: bool) -> None:
    """
    Generate the next signing key, with the algorithm `jwt.alg`.

    All gateways publish the new key at once. It signs when the active key has signed for
    `jwt.rotation`, or when it is promoted. With `--replace` the new key takes the place of the
    present next key, for example because `jwt.alg` has changed.

    Exit status 1 if there is a next key, and `--replace` is not given.
    """

    async def work(shared: SharedKeys, plan: Plan, world: World) -> None:
        pair = await world.threads(partial(ring_keys.new_pair, plan))
        change = partial(_with_next, pair=pair, plan=plan, replaces=replaces)
        await _change(shared, plan, world, "generated", pair.kid, change, as_json=as_json)

    _run(path, work, as_json=as_json)


@keys.command(cls=Command, examples=("authotron keys promote",))
@config_option
@json_option
def promote(path: Path, *, as_json: bool) -> None:
    """
    Let the next signing key sign as soon as possible.

    The next key signs from now on, or from when all backends know it: `jwt.key_set_lifetime` and
    `jwt.key_spread` after it was generated. The command prints this time, and does not wait. The
    active key is then retiring: it is published until its last JWT has expired.

    Exit status 1 if there is no next key, or if it signs as soon as possible already.
    """

    async def work(shared: SharedKeys, plan: Plan, world: World) -> None:
        stored = await shared.read()
        after = None if stored.ring is None else stored.ring.following(world.clock.seconds())
        kid = "" if after is None else after.kid
        change = partial(_promoted, kid=kid, plan=plan)
        await _change(shared, plan, world, "promoted", kid, change, as_json=as_json)

    _run(path, work, as_json=as_json)


@keys.command(
    cls=Command, examples=("authotron keys retire DR0lLb-KiFB0UJAlqE-o3EnAwA10oEV2EcFY4tQQjKs",)
)
@click.argument("kid", type=one_line)
@config_option
@json_option
def retire(kid: str, path: Path, *, as_json: bool) -> None:
    """
    Remove the signing key KID at once, because it has become known to others.

    All JWTs that KID has signed are refused from then on, by backends as soon as they fetch the
    published keys again. If KID is active, the next key signs at once; the command refuses this
    while backends may not know the next key.

    Exit status 1 if KID cannot be removed.
    """

    async def work(shared: SharedKeys, plan: Plan, world: World) -> None:
        change = partial(_without, kid=kid, plan=plan)
        await _change(shared, plan, world, "retired", kid, change, as_json=as_json)

    _run(path, work, as_json=as_json)


def _with_next(ring: KeyRing, now: float, *, pair: KeyPair, plan: Plan, replaces: bool) -> KeyRing:
    """
    Return the ring of signing keys with a new next key.

    @raise RefusedTransition: the key ring has a next key that is not to be replaced.
    """
    after = ring.following(now)
    while after is not None:
        if not replaces:
            raise RefusedTransition(
                f"key {after.kid} is next already; promote it, or give --replace to remove it"
            )
        ring = ring.without(after.kid, now, plan)
        after = ring.following(now)
    return ring.with_next(pair, now, plan)


def _promoted(ring: KeyRing, now: float, *, kid: str, plan: Plan) -> KeyRing:
    """@raise RefusedTransition: the key that was to be promoted is not next any more."""
    after = ring.following(now)
    if after is not None and after.kid != kid:
        raise RefusedTransition(f"key {kid} is not next any more; list the keys, and try again")
    return ring.promoted(now, plan)


def _without(ring: KeyRing, now: float, *, kid: str, plan: Plan) -> KeyRing:
    return ring.without(kid, now, plan)


Work = Callable[[SharedKeys, Plan, World], Any]
"""The work of a command: a coroutine function that reads or changes the ring of signing keys."""


def _run(path: Path, work: Work, *, as_json: bool) -> None:
    """
    Run some work with the ring of signing keys in the token store; if the ring cannot be read, or
    refuses the change, print the reason and exit with status 1.
    """

    async def with_ring(gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        config, keys_ = gateway.config.file.jwt, gateway.minter.keys
        if not isinstance(keys_, RingKeys):
            raise Unavailable(_NOT_STORED)
        shared = shared_keys.make(config, tokens.store, world.clock)
        try:
            await work(shared, keys_.plan, world)
        except (RefusedTransition, UnreadableRing) as reason:
            raise Unavailable(str(reason)) from None

    run(path, with_ring, as_json=as_json)


async def _change(
    shared: SharedKeys,
    plan: Plan,
    world: World,
    what: str,
    kid: str,
    change: Change,
    *,
    as_json: bool,
) -> None:
    """Change the ring of signing keys, write an audit event, and print the ring."""
    ring = await shared.change(lambda found: change(found, world.clock.seconds()))
    audit.signing_key_changed(what, kid, ring.version, audit.at_terminal())
    _print([*_rows(ring, world.clock.seconds(), plan)], ring.version, as_json=as_json)


def _rows(ring: KeyRing, now: float, plan: Plan) -> Iterator[dict[str, str | None]]:
    """Yield the keys of a key ring as JSON, the active key first."""
    active = ring.active(now)
    for key in (active, *(each for each in ring.keys if each is not active)):
        gone = ring.gone_from(key, plan)
        yield {
            "state": ring.state(key, now, plan),
            "kid": key.kid,
            "algorithm": key.pair.algorithm,
            "published": moment(key.created),
            "signs_from": moment(key.active_from),
            "signs_until": moment(ring.ends(key)),
            "gone_from": moment(gone),
        }


def _static(gateway: Gateway[Reply]) -> Iterator[dict[str, str | None]]:
    """Yield the keys that a configuration names as JSON, the active key first."""
    minter = gateway.minter
    signer = minter.keys.signer(0)
    times = dict.fromkeys(("published", "signs_from", "signs_until", "gone_from"))
    yield {"state": "active", "kid": signer.kid, "algorithm": signer.algorithm, **times}
    for jwk in minter.jwks["keys"]:
        if jwk["kid"] != signer.kid:
            yield {"state": "retiring", "kid": jwk["kid"], "algorithm": jwk["alg"], **times}


def _print(
    rows: Sequence[dict[str, str | None]], version: int | None = None, *, as_json: bool
) -> None:
    if as_json:
        say_json({"version": version, "keys": rows})
        return
    names = ("state", "kid", "algorithm", "published", "signs_from", "signs_until", "gone_from")
    lines = [_HEADER, *(tuple(row[name] or "-" for name in names) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())

"""C{authotron revocations}: list and withdraw revocations in the configured token store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from authotron.cli.options import Command, Group, config_option, json_option, text
from authotron.cli.output import say, say_json
from authotron.cli.token_store import run
from authotron.gateway.gateway import Gateway
from authotron.gateway.records import WITHDRAWN, withdrawn
from authotron.model import revocation
from authotron.model.errors import Rejected
from authotron.model.records import Record
from authotron.model.revocation import Revocation
from authotron.net.world import World
from authotron.telemetry import audit
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply
from authotron.web.revocation_bodies import as_json as revocation_as_json


@click.group(
    cls=Group,
    examples=("authotron revocations list", "authotron revocations remove 019ac1d4c5a2f0..."),
)
def revocations() -> None:
    """
    List and withdraw revocations.

    The commands work with the configured token store, without the gateway. `authotron revoke` makes
    revocations.
    """


@revocations.command("list", cls=Command, examples=("authotron revocations list --json",))
@click.option("--all", "lists_ended", is_flag=True, help="List also those that have ended.")
@config_option
@json_option
def list_stored(path: Path, *, lists_ended: bool, as_json: bool) -> None:
    """List the revocations in the token store, the oldest first."""

    async def work(_gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        now = world.clock.seconds()
        stored = await tokens.store.records(revocation.KIND, now)
        found, damaged = _read(stored)
        listed = [each for each in found if lists_ended or each.until is None or now < each.until]
        if as_json:
            say_json({"revocations": [*map(revocation_as_json, listed)], "damaged": damaged})
            return
        for line in _lines(listed):
            say(line)
        for id_ in damaged:
            say(f"{id_}: cannot be read, so gateways answer 503 until it is removed", fg="red")
        if not (listed or damaged):
            say("There are no revocations.")

    run(path, work, as_json=as_json)


def _read(stored: Sequence[Record]) -> tuple[list[Revocation], list[str]]:
    """Return the revocations in some records, and the ids of the records that cannot be read."""
    found: list[Revocation] = []
    damaged: list[str] = []
    for record in stored:
        if record.content == WITHDRAWN:
            continue
        try:
            found.append(revocation.of_record(record))
        except ValueError:
            damaged.append(record.id)
    return found, damaged


def _lines(found: Sequence[Revocation]) -> Iterator[str]:
    for each in found:
        moments = (
            ("made", each.created),
            ("issued before", each.issued_before),
            ("from", each.active_from),
            ("until", each.until),
        )
        times = ", ".join(f"{name} {_date(at)}" for name, at in moments if at is not None)
        reason = f": {each.reason}" if each.reason else ""
        yield f"{each.id}  {each.about} ({times}){reason}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@revocations.command(cls=Command, examples=("authotron revocations remove 019ac1d4c5a2f0...",))
@click.argument("id_", type=text, metavar="ID")
@config_option
@json_option
def remove(path: Path, id_: str, *, as_json: bool) -> None:
    """
    Withdraw a revocation, so that the credentials count again.

    Exit status 1 if the token store has no such revocation.
    """

    async def work(_gateway: Gateway[Reply], tokens: TokenService, world: World) -> None:
        now, store = world.clock.seconds(), tokens.store
        stored = await store.record(revocation.KIND, id_, now)
        if stored is None or stored.content == WITHDRAWN:
            raise Rejected(f"there is no revocation {id_}")
        if not await store.replace_record(withdrawn(stored, now), stored):
            raise Rejected(f"revocation {id_} was withdrawn meanwhile")
        [old, *_] = [*_read([stored])[0], Revocation(id_)]
        audit.revocation_withdrawn(old, audit.at_terminal())
        if as_json:
            say_json({"withdrawn": id_})
        else:
            say(f"revocation {id_} is withdrawn; gateways apply this within 1 s")

    run(path, work, as_json=as_json)

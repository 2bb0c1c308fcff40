"""C{authotron tokens}: back up the token store, restore a backup, and replace a lost pepper."""

from __future__ import annotations

from pathlib import Path

import click

from authotron.cli.options import Command, config_option, json_option
from authotron.cli.output import say, say_json
from authotron.cli.token_store import run
from authotron.config import files
from authotron.gateway.gateway import Gateway
from authotron.model.errors import Unavailable
from authotron.net.world import World
from authotron.plugin.interfaces import IBacksUp, IKeepsPepper
from authotron.telemetry import audit
from authotron.tokens.service import TokenService
from authotron.web.replies import Reply

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command(
    cls=Command,
    short_help="Copy all API tokens to a new file.",
    examples=("authotron tokens backup /var/backups/tokens.db",),
)
@config_option
@json_option
@_file
def backup(path: Path, file: Path, *, as_json: bool) -> None:
    """
    Copy all API tokens to a new FILE, while the gateway runs or not.

    Only a store of type `sqlite` can be copied. The pepper is not in FILE: keep a copy of it in
    another place, since FILE is useless without it.
    """

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        await _backed_up(kept).back_up(file)
        audit.backed_up(str(file), audit.at_terminal())
        pepper_file = _pepper_file(kept)
        if as_json:
            say_json({"file": str(file), "pepper_file": pepper_file})
            return
        say(f"wrote {file}")
        pepper = pepper_file or "store.pepper of the configuration"
        say(f"keep the pepper apart from the backup: {pepper}")

    run(path, work, as_json=as_json)


@click.command(
    cls=Command,
    short_help="Replace all API tokens by those of a backup.",
    examples=("authotron tokens restore /var/backups/tokens.db --pepper pepper-copy",),
)
@config_option
@_file
@click.option(
    "--pepper",
    "pepper_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file that holds a copy of the pepper of the store that was backed up.",
)
@click.option("--replace", is_flag=True, help="Discard the API tokens that the store has now.")
@json_option
def restore(
    path: Path, file: Path, pepper_file: Path | None, *, replace: bool, as_json: bool
) -> None:
    """
    Replace all API tokens by those of FILE, which `tokens backup` wrote.

    Stop the gateway before you run this command. If FILE is damaged or needs another pepper, the
    store is not changed.
    """
    pepper = None if pepper_file is None else _content(pepper_file)

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        await _backed_up(kept).restore(file, pepper, kept.store.verify_backup, replace=replace)
        await kept.store.open()
        audit.restored(str(file), audit.at_terminal())
        if as_json:
            say_json({"restored": str(file)})
        else:
            say(f"restored the API tokens of {file}")

    run(path, work, opens=False, as_json=as_json)


@click.command(
    "new-pepper",
    cls=Command,
    short_help="Accept a new pepper; tokens of a lost pepper are rejected.",
    examples=("authotron tokens new-pepper",),
)
@config_option
@json_option
def new_pepper(path: Path, *, as_json: bool) -> None:
    """
    Give up all API tokens that were hashed with a lost pepper.

    After this command the token store accepts the pepper in the configuration, or, if none is
    configured, a new pepper that the store generates. API tokens that were hashed with another
    pepper are rejected, until their owners create new ones.
    """

    async def work(_: Gateway[Reply], kept: TokenService, _world: World) -> None:
        await kept.store.accept_pepper()
        audit.pepper_accepted(audit.at_terminal())
        if as_json:
            say_json({"accepted": True})
        else:
            say("the token store accepts its pepper; API tokens of another pepper are rejected")

    run(path, work, opens=False, as_json=as_json)


def _pepper_file(kept: TokenService) -> str | None:
    """
    Return the path of the file with the pepper that the token store generated, if
    there is one.
    """
    backend = kept.store.backend
    if not IKeepsPepper.providedBy(backend) or kept.store.pepper is None:
        return None
    return str(backend.pepper_file)


def _backed_up(kept: TokenService) -> IBacksUp:
    """
    Return the token store if authotron can back it up.

    @raise Unavailable: the store cannot be backed up by authotron, because its database has tools
        of its own for backups.
    """
    backend = kept.store.backend
    if not IBacksUp.providedBy(backend):
        raise Unavailable(
            f"a store of type {backend.type} is backed up with the tools of its database"
        )
    found: IBacksUp = backend
    return found


def _content(path: Path) -> bytes:
    try:
        return files.read_small(path).strip()
    except OSError as error:
        raise click.ClickException(f"cannot read {path}: {error.strerror}") from None

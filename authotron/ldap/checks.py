"""Trying a directory step by step, each server by itself, before users do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from authotron.ldap.connection import Connection
from authotron.ldap.directory import Directory
from authotron.ldap.lookup import Lookup
from authotron.ldap.servers import Security
from authotron.model.errors import Rejected, Unavailable
from authotron.net.world import World
from authotron.plugin.interfaces import CheckResult


class Section(Protocol):
    """As much as is needed of the section of a part that asks a directory."""

    uri: tuple[str, ...]
    bind_dn: str | None
    search_base: str

    def lookup(self) -> Lookup:
        """What finds a user."""

    def directory(self, world: World) -> Directory:
        """The directory, not connected."""

    def security(self, uri: str) -> Security:
        """What is done before anything is said."""

    def model_copy(self, *, update: dict[str, Any]) -> Any:
        """The section with something else in it."""


async def run_checks(
    section: Section, world: World, username: str | None = None
) -> AsyncIterator[CheckResult]:
    """
    Try everything that a part would do, for each server alone.

    @param username: whose groups to count.
    """
    for uri in section.uri:
        directory: Directory = section.model_copy(update={"uri": (uri,)}).directory(world)
        try:
            async for finding in _server(section, world, uri, directory, username):
                yield finding
                if not finding.good:
                    break
        finally:
            directory.close()


async def _server(
    section: Section, world: World, uri: str, directory: Directory, username: str | None
) -> AsyncIterator[CheckResult]:
    yield await _tried(f"{uri}: connection", _connected(section, uri, directory))
    yield await _tried(f"{uri}: search", _searched(section, directory))
    if username is not None:
        yield await _tried(f"{uri}: user", _found(section, world, directory, username))


async def _tried(what: str, step: Any) -> CheckResult:
    try:
        return CheckResult(what, good=True, told=await step)
    except (Rejected, Unavailable) as reason:
        return CheckResult(what, good=False, told=str(reason))


async def _connected(section: Section, uri: str, directory: Directory) -> str:
    async def ping(connection: Connection) -> None:
        await connection.ping()  # until something is answered nobody is known to be there

    await directory.use_connection(ping)
    security = section.security(uri)
    tls = "in clear" if security is Security.CLEAR else f"{security.value}, certificate verified"
    return f"{tls}, bound as {section.bind_dn or 'nobody'}"


async def _searched(section: Section, directory: Directory) -> str:
    async def look(connection: Connection) -> bool:
        return await connection.read(section.search_base, ("1.1",)) is not None

    if not await directory.use_connection(look):
        raise Unavailable(f"there is nothing at {section.search_base}, or it is not shown to us")
    return f"{section.search_base} can be read"


async def _found(section: Section, world: World, directory: Directory, username: str) -> str:
    lookup = section.lookup()

    async def look(connection: Connection) -> str:
        entry = await lookup.find(connection, username)
        roles = await lookup.roles(connection, world.threads, username, entry)
        return f"{entry.dn if entry else 'no entry'}, {len(roles)} roles"

    return await directory.use_connection(look)

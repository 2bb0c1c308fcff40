"""Checks for C{authotron doctor}: connection, search base and one user of each LDAP server."""

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


class LdapSection(Protocol):
    """What the checks need from the configuration section of an LDAP provider or augmenter."""

    uri: tuple[str, ...]
    bind_dn: str | None
    search_base: str

    def lookup(self) -> Lookup:
        """Return the configured search for users and their roles."""

    def directory(self, world: World) -> Directory:
        """Return a new directory that is not connected yet."""

    def security(self, uri: str) -> Security:
        """Return whether the connection to C{uri} uses TLS, StartTLS or no encryption."""

    def model_copy(self, *, update: dict[str, Any]) -> Any:
        """Return a copy of the configuration section with some values replaced."""


async def check_search_base(directory: Directory, base: str) -> None:
    """
    Read the entry at the search base.

    @raise Unavailable: no server answers, or the search base does not exist or is not readable.
    """

    async def read_base(connection: Connection) -> bool:
        return await connection.read(base, ("1.1",)) is not None

    if not await directory.use_connection(read_base):
        raise Unavailable(
            f"search_base {base} does not exist, or the service account may not read it"
        )


async def run_checks(
    section: LdapSection, world: World, username: str | None = None
) -> AsyncIterator[CheckResult]:
    """
    Check every configured server by itself; stop at the first failed check of a server.

    @param username: the user to look up, or C{None} to look no user up.
    """
    for uri in section.uri:
        directory: Directory = section.model_copy(update={"uri": (uri,)}).directory(world)
        try:
            async for check in _check_server(section, world, uri, directory, username):
                yield check
                if not check.good:
                    break
        finally:
            directory.close()


async def _check_server(
    section: LdapSection, world: World, uri: str, directory: Directory, username: str | None
) -> AsyncIterator[CheckResult]:
    yield await _outcome(f"{uri}: connection", _check_connection(section, uri, directory))
    yield await _outcome(f"{uri}: search", _check_search(section, directory))
    if username is not None:
        yield await _outcome(f"{uri}: user", _check_user(section, world, directory, username))


async def _outcome(what: str, check: Any) -> CheckResult:
    try:
        return CheckResult(what, good=True, detail=await check)
    except (Rejected, Unavailable) as reason:
        return CheckResult(what, good=False, detail=str(reason))


async def _check_connection(section: LdapSection, uri: str, directory: Directory) -> str:
    async def ping(connection: Connection) -> None:
        await connection.ping()  # without a bind, the server has not sent any message yet

    await directory.use_connection(ping)
    security = section.security(uri)
    tls = "in clear" if security is Security.CLEAR else f"{security.value}, certificate verified"
    account = f"bound as {section.bind_dn}" if section.bind_dn else "anonymous"
    return f"{tls}, {account}"


async def _check_search(section: LdapSection, directory: Directory) -> str:
    await check_search_base(directory, section.search_base)
    return f"{section.search_base} is readable"


async def _check_user(
    section: LdapSection, world: World, directory: Directory, username: str
) -> str:
    lookup = section.lookup()

    async def look_up(connection: Connection) -> str:
        entry = await lookup.find(connection, username)
        roles = await lookup.roles(connection, world.threads, username, entry)
        return f"{entry.dn if entry else 'no entry'}, {len(roles)} roles"

    return await directory.use_connection(look_up)

"""Checks for C{authotron doctor}: connection, search base and one user of each LDAP server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Protocol

from authotron.ldap import encoding
from authotron.ldap.connection import Connection
from authotron.ldap.decoding import Entry
from authotron.ldap.directory import Directory
from authotron.ldap.encoding import Search
from authotron.ldap.groups import Grant
from authotron.ldap.lookup import Lookup
from authotron.ldap.servers import Security
from authotron.ldap.values import values_of
from authotron.model.errors import Rejected, Unavailable
from authotron.net.world import World
from authotron.plugin.interfaces import CheckResult

_MUCH = 4096
"""Number of bytes in a JWT from which the size of a user's roles is reported."""

_SERVER = re.compile(r"^\S+:\d+: ")
"""Matches the host and port of the server, with which an error message may begin."""

_MOST_ROLES = 100
"""Maximum number of roles of a user that are listed; further roles are only counted."""


class LdapSection(Protocol):
    """
    The values that the checks need from the configuration section of an LDAP provider
    or augmenter.
    """

    uri: tuple[str, ...]
    bind_dn: str | None
    search_base: str

    def lookup(self) -> Lookup:
        """Return the configured search for users and their roles."""

    def directory(self, world: World) -> Directory:
        """Return a new directory that is not connected yet."""

    def searches_alone(self) -> bool:
        """Return whether the gateway searches as service account or anonymous, not as the user."""

    def security(self, uri: str) -> Security:
        """Return how the connection to C{uri} is encrypted: by TLS, by StartTLS or not at all."""

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


async def check_answer(directory: Directory) -> None:
    """
    Ask for the root entry, which every server answers without a bind.

    @raise Unavailable: no server answers.
    """

    async def ping(connection: Connection) -> None:
        # An open connection proves nothing; only an answer to a request shows that the server
        # speaks LDAP.
        await connection.ping()

    await directory.use_connection(ping)


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
    if not section.searches_alone():
        if username is not None:
            why = "the user is not looked up: without bind_dn, a search needs the user's password"
            yield CheckResult(f"{uri}: user", good=True, detail=why)
        return
    yield await _outcome(f"{uri}: search", _check_search(section, directory))
    if username is not None:
        found: list[Grant] = []
        check = _check_user(section, world, directory, username, found)
        yield await _outcome(f"{uri}: user", check)
        for grant in found[:_MOST_ROLES]:
            yield CheckResult(f"{uri}: role", good=True, detail=f"{grant.role} from {grant.group}")
        if len(found) > _MOST_ROLES:
            more = f"{len(found) - _MOST_ROLES} more roles"
            yield CheckResult(f"{uri}: role", good=True, detail=more)


async def _outcome(what: str, check: Any) -> CheckResult:
    try:
        return CheckResult(what, good=True, detail=await check)
    except (Rejected, Unavailable) as reason:
        # The message need not name the server, since the name of the check begins with the server's
        # address.
        detail = _SERVER.sub("", str(reason))
        return CheckResult(what, good=False, detail=detail)


async def _check_connection(section: LdapSection, uri: str, directory: Directory) -> str:
    await check_answer(directory)
    security = section.security(uri)
    tls = "in clear" if security is Security.CLEAR else f"{security.value}, certificate verified"
    account = f"bound as {section.bind_dn}" if section.bind_dn else "anonymous"
    return f"{tls}, {account}"


async def _check_search(section: LdapSection, directory: Directory) -> str:
    await check_search_base(directory, section.search_base)
    return f"{section.search_base} is readable"


async def _check_user(
    section: LdapSection, world: World, directory: Directory, username: str, found: list[Grant]
) -> str:
    """
    Look up a user in a directory, and append the user's roles to C{found}.

    @raise Rejected: the directory has no entry for the user, and no group search by user name finds
        a group.
    """
    lookup = section.lookup()

    async def look_up(connection: Connection) -> str:
        entry = await lookup.find(connection, username)
        found[:] = await lookup.grants(connection, world.threads, username, entry)
        if entry is None and not found:
            raise Rejected(await _explain_no_entry(connection, lookup, username))
        parts = [entry.dn if entry else "no entry", _count_roles(found)]
        if not found and entry and lookup.rules.by_dn:
            parts += await _explain_no_groups(connection, lookup, entry)
        return ", ".join(parts)

    return await directory.use_connection(look_up)


async def _explain_no_entry(connection: Connection, lookup: Lookup, username: str) -> str:
    """Explain why a user has no entry: none matches, or the user name is spelled differently."""
    search = lookup.user.text_for(username)
    where = lookup.user_base or "the root of all names"
    others = await lookup.find_all(connection, username, limit=1) if lookup.exact_spelling else []
    if others:
        return (
            f"no entry has the name {username} letter by letter below {where}; "
            f"{search} matches {others[0].dn}"
        )
    return f"no entry matches {search} below {where}"


def _count_roles(found: list[Grant]) -> str:
    """
    Return a text that states how many roles a user has and, if the roles take many bytes in a JWT,
    how many bytes.
    """
    counted = f"{len(found)} role{'' if len(found) == 1 else 's'}"
    size = sum(len(grant.role.encode()) + len('"",') for grant in found) * 4 // 3  # base64
    return counted if size < _MUCH else f"{counted}: {size} bytes in a JWT (see jwt.warn_bytes)"


async def _explain_no_groups(connection: Connection, lookup: Lookup, entry: Entry) -> list[str]:
    """Explain why the attribute that lists a user's groups has not given the user any roles."""
    attribute = lookup.group_attribute
    listed = values_of(entry, attribute)
    if listed:
        return [f"none of the {len(listed)} groups in {attribute} is selected by filter or filters"]
    query = Search(lookup.user_base, encoding.present(attribute), ("1.1",), limit=1)
    try:
        others = await connection.search(query)
    # The search may fail here because a search without an index can exceed a limit of the server.
    except Unavailable:
        return [f"the entry has no {attribute}"]
    if others:
        return [f"the entry has no {attribute}, but other entries have"]
    advice = "set group_attribute, or let filter: (member={dn}) search the groups"
    return [f"no entry below {lookup.user_base} has {attribute}: {advice}"]

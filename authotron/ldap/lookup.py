"""From the name of a user to an entry, and from the entry to roles and attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from attrs import frozen
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.errors import Rejected, Unavailable
from authotron.ldap import names
from authotron.ldap.answers import Entry
from authotron.ldap.connection import Connection
from authotron.ldap.filters import Template, User
from authotron.ldap.groups import Found, Rules
from authotron.ldap.names import BadName
from authotron.ldap.wire import Search
from authotron.racing import T, everyone
from authotron.world import Threads

_DEEP, _MOST_GROUPS, _AT_ONCE = 10, 10_000, 50
_MANY = 50
"""From so many groups on their names are read off the reactor."""

_NO_ATTRIBUTES = ("1.1",)


class Ambiguous(Rejected):
    """Several entries go by one name."""


@frozen
class Lookup:
    """
    Where users are, and what their groups mean.

    @ivar extra: attributes to read beside the groups.
    """

    user: Template
    user_base: str
    search_base: str
    group_attribute: str
    extra: tuple[str, ...]
    rules: Rules
    nested: bool
    role_prefix: str
    attributes: Mapping[str, str]
    _log = Logger()

    def wanted(self) -> tuple[str, ...]:
        """The attributes of a user to read."""
        return tuple(dict.fromkeys([self.group_attribute, *self.extra]))

    async def find(self, connection: Connection, username: str) -> Entry | None:
        """
        The entry of a user.

        @raise Ambiguous: there are several.
        @raise Unavailable: the directory does not say.
        """
        wanted = self.user.fill(User(username))
        found = await connection.search(Search(self.user_base, wanted, self.wanted(), limit=2))
        if len(found) > 1:
            raise Ambiguous("several entries go by that name")
        return found[0] if found else None

    async def roles(
        self, connection: Connection, threads: Threads, username: str, entry: Entry | None
    ) -> tuple[str, ...]:
        """
        The roles of a user; without an entry only those found by searches for the name.

        @raise Unavailable: the directory does not say.
        """
        if self.rules.broken is not None:
            raise Unavailable(self.rules.broken)
        roles: list[str] = []
        if self.rules.listed and entry is not None:
            whole = await connection.whole(entry, self.group_attribute)
            dns = whole.texts(self.group_attribute)
            dns = await self._with_ancestors(connection, threads, dns)
            roles += await _worked_out(threads, dns, self.rules.of_listed)
        for search in self.rules.searches:
            if entry is None and search.search.needs_dn():
                continue
            user = User(username, entry.dn if entry else "")
            dns = await self._searched(connection, search, user)
            dns = await self._with_ancestors(connection, threads, dns)
            roles += await _worked_out(threads, dns, partial(self._of_found, search))
        return tuple(f"{self.role_prefix}{role}" for role in roles if self._may_follow(role))

    def _may_follow(self, role: str) -> bool:
        """Whether a role keeps its place behind the prefix; names never make a path longer."""
        forges = "/" in self.role_prefix and "/" in role and not role.startswith("/")
        if forges:
            self._log.warn(
                "role {role} is left out: behind {prefix} it would look like another's path",
                role=role,
                prefix=self.role_prefix,
                event="ldap.role.unsound",
            )
        return not forges

    def attributes_of(self, entry: Entry) -> dict[str, str]:
        """What of an entry becomes attributes of the identity; the first value of each."""
        found = {ours: entry.texts(theirs) for theirs, ours in self.attributes.items()}
        return {ours: values[0] for ours, values in found.items() if values}

    def needs_entry(self) -> bool:
        """Whether the user's entry matters at all."""
        searches_need = any(each.search.needs_dn() for each in self.rules.searches)
        return bool(self.rules.listed or searches_need or self.attributes)

    def _of_found(self, search: Found, dns: Sequence[str]) -> list[str]:
        return self.rules.of_found(search, dns, self.search_base)

    async def _searched(self, connection: Connection, search: Found, user: User) -> tuple[str, ...]:
        wanted = search.search.fill(user)
        limit = _MOST_GROUPS + 1
        found = await connection.search(Search(self.search_base, wanted, _NO_ATTRIBUTES, limit))
        if len(found) > _MOST_GROUPS:
            raise Unavailable(f"a search finds more than {_MOST_GROUPS} groups")
        return tuple(entry.dn for entry in found)

    async def _with_ancestors(
        self, connection: Connection, threads: Threads, dns: Sequence[str]
    ) -> tuple[str, ...]:
        """The groups and, where that is wanted, the groups they are in, each once."""
        if not self.nested:
            return tuple(dns)
        known = level = await _worked_out(threads, dns, _by_key)
        for _ in range(_DEEP):
            above = await self._above(connection, [*level.values()])
            new = await _worked_out(threads, above, _by_key)
            level = {key: dn for key, dn in new.items() if key not in known}
            known = {**known, **level}
            if not level:
                break
            if len(known) > _MOST_GROUPS:
                raise Unavailable(f"more than {_MOST_GROUPS} groups, with those they are in")
        return tuple(known.values())

    async def _above(self, connection: Connection, dns: Sequence[str]) -> list[str]:
        found: list[str] = []
        for begin in range(0, len(dns), _AT_ONCE):
            some = dns[begin : begin + _AT_ONCE]
            for groups in _good(await everyone([self._groups_of(connection, dn) for dn in some])):
                found += groups
        return found

    async def _groups_of(self, connection: Connection, dn: str) -> tuple[str, ...]:
        entry = await connection.read(dn, (self.group_attribute,))
        if entry is None:
            return ()
        whole = await connection.whole(entry, self.group_attribute)
        return whole.texts(self.group_attribute)


def _good(outcomes: Iterable[tuple[str, ...] | Failure]) -> Iterable[tuple[str, ...]]:
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            outcome.raiseException()
        else:
            yield outcome


async def _worked_out(
    threads: Threads, dns: Sequence[str], work: Callable[[Sequence[str]], T]
) -> T:
    """What comes of reading names; off the reactor, if they are many."""
    return work(dns) if len(dns) < _MANY else await threads(lambda: work(dns))


def _by_key(dns: Iterable[str]) -> dict[object, str]:
    return {_key(dn): dn for dn in dns}


def _key(dn: str) -> object:
    """The same for all ways to write a name."""
    try:
        return names.folded(names.parse(dn))
    except BadName:
        return dn

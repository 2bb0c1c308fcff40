"""From the name of a user to an entry, and from the entry to roles and attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from attrs import frozen
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import T, everyone
from authotron.ldap import filters
from authotron.ldap.connection import Connection, ServerFault
from authotron.ldap.decoding import Entry
from authotron.ldap.dn import InvalidDn, fold_dn, parse_dn
from authotron.ldap.encoding import Search
from authotron.ldap.filters import FilterTemplate, TemplateUser
from authotron.ldap.groups import GroupRules, GroupSearch
from authotron.model.errors import Rejected, Unavailable
from authotron.net.world import Threads

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
    @ivar exactly: whether an entry counts only if it holds the user name letter by letter; else
        the caller takes over the name that the entry has.
    """

    user: FilterTemplate
    user_base: str
    search_base: str
    group_attribute: str
    extra: tuple[str, ...]
    rules: GroupRules
    nested: bool
    role_prefix: str
    attributes: Mapping[str, str]
    exactly: bool = False
    _log = Logger()

    def attributes_to_read(self) -> tuple[str, ...]:
        """The attributes of a user to read."""
        return tuple(dict.fromkeys([self.group_attribute, *self.extra]))

    async def find(self, connection: Connection, username: str) -> Entry | None:
        """
        The entry of a user.

        @raise Ambiguous: there are several.
        @raise Unavailable: the directory does not say.
        """
        wanted = self.user.fill(TemplateUser(username))
        found = await connection.search(
            Search(self.user_base, wanted, self.attributes_to_read(), limit=2)
        )
        if len(found) > 1:
            raise Ambiguous("several entries go by that name")
        if not found or not self.exactly or await self._has_name(connection, found[0], username):
            return found[0] if found else None
        self._note_other_spelling(username)
        return None

    async def _has_name(self, connection: Connection, entry: Entry, username: str) -> bool:
        """
        Whether an entry that the directory takes for the user's has that very name.

        Where its DN does not say, the attributes are read by which the search has found it.
        """
        naming = self.user.username_attributes()
        if filters.names_user_in_rdn(entry.dn, username, naming):
            return True
        known = {each: entry.attributes.get(each.lower()) for each in naming}
        given = {each.lower(): values for each, values in known.items() if values is not None}
        if self.user.is_exact(Entry(entry.dn, given), TemplateUser(username)):
            return True
        if len(given) == len(naming):
            return False
        read = await connection.read(entry.dn, naming)
        return read is not None and self.user.is_exact(read, TemplateUser(username))

    def _note_other_spelling(self, username: str) -> None:
        self._log.info(
            "user {username} is spelled differently in the directory, and gets nothing from there",
            username=username,
            event="ldap.user.spelling",
        )

    async def roles(
        self, connection: Connection, threads: Threads, username: str, entry: Entry | None
    ) -> tuple[str, ...]:
        """
        The roles of a user; without an entry only those found by searches for the name.

        @raise Unavailable: the directory does not say.
        """
        if self.rules.error is not None:
            raise Unavailable(self.rules.error)
        roles: list[str] = []
        if self.rules.listed and entry is not None:
            whole = await connection.read_all_values(entry, self.group_attribute)
            dns = whole.strings(self.group_attribute)
            dns = await self._with_ancestors(connection, threads, dns)
            roles += await _worked_out(threads, dns, self.rules.roles_of_memberships)
        for search in self.rules.searches:
            if entry is None and search.search.needs_dn():
                continue
            user = TemplateUser(username, entry.dn if entry else "")
            dns = await self._searched(connection, search, user, entry)
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
        found = {ours: entry.strings(theirs) for theirs, ours in self.attributes.items()}
        return {ours: values[0] for ours, values in found.items() if values}

    def needs_entry(self) -> bool:
        """Whether the user's entry matters at all."""
        searches_need = any(each.search.needs_dn() for each in self.rules.searches)
        return bool(self.rules.listed or searches_need or self.attributes)

    def _of_found(self, search: GroupSearch, dns: Sequence[str]) -> list[str]:
        return self.rules.roles_of_search(search, dns, self.search_base)

    async def _searched(
        self, connection: Connection, search: GroupSearch, user: TemplateUser, entry: Entry | None
    ) -> tuple[str, ...]:
        """
        The groups that a search finds for exactly this name.

        Where it is not certain that the directory knows the user under that spelling, the members
        of the groups are read, and a group counts only if one of them is spelled like that.
        """
        template = search.search
        certain = await self._is_spelled(connection, template, user, entry)
        wanted = _NO_ATTRIBUTES if certain else template.username_attributes()
        query = Search(self.search_base, template.fill(user), wanted, _MOST_GROUPS + 1)
        found = await connection.search(query)
        if len(found) > _MOST_GROUPS:
            raise Unavailable(f"a search finds more than {_MOST_GROUPS} groups")
        if certain:
            return tuple(group.dn for group in found)
        exact = [group.dn for group in found if template.is_exact(group, user)]
        if len(exact) < len(found):
            self._note_other_spelling(user.username)
        return tuple(exact)

    @staticmethod
    async def _is_spelled(
        connection: Connection, template: FilterTemplate, user: TemplateUser, entry: Entry | None
    ) -> bool:
        """Whether a search for groups need not look at how their members are spelled."""
        if not template.username_attributes():
            return True
        dn = template.dn_of(user)
        if dn is None:
            return entry is not None
        if entry is not None and filters.is_same_dn(entry.dn, dn, user.username):
            return True
        try:
            itself = await connection.read(dn, _NO_ATTRIBUTES)
        except ServerFault:
            raise
        except Unavailable:  # such as for want of rights, or since that is not a DN to the server
            return False
        return itself is not None and filters.spells_user_alike(itself.dn, dn, user.username)

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
        whole = await connection.read_all_values(entry, self.group_attribute)
        return whole.strings(self.group_attribute)


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
        return fold_dn(parse_dn(dn))
    except InvalidDn:
        return dn

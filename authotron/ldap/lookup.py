"""Find the entry of a user in a directory, and turn the entry into roles and attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from attrs import define, evolve, field, frozen
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import T, start, wait_all
from authotron.ldap import encoding
from authotron.ldap.connection import Connection
from authotron.ldap.decoding import Entry
from authotron.ldap.dn import InvalidDn, fold_dn, parse_dn
from authotron.ldap.encoding import Filter, Search
from authotron.ldap.filters import FilterTemplate, TemplateUser
from authotron.ldap.groups import Grant, GroupRules, GroupSearch
from authotron.ldap.results import ServerFault
from authotron.ldap.spelling import is_same_dn, names_user_in_rdn, spells_user_alike
from authotron.ldap.values import Encoding, texts_of, values_of
from authotron.model.errors import Rejected, Unavailable
from authotron.net.world import Threads

_MAX_DEPTH, _MAX_GROUPS, _CONCURRENT_READS = 10, 10_000, 50
"""
Limits of nested groups: number of levels, of groups of one user, and of groups that are read
concurrently.
"""

_MIN_THREADED = 50
"""Minimum number of DNs that are parsed in a thread, so that the reactor is not blocked."""

_NO_ATTRIBUTES = ("1.1",)
"""The attribute list by which a search requests no attributes (RFC 4511 section 4.5.1.8)."""


_USERS_WITHOUT = 20
"""
After this number of users in a row without C{group_attribute}, the log says that none of these
users had the attribute.
"""


class Ambiguous(Rejected):
    """An LDAP search for one user found several entries."""


@define(eq=False)
class Remarks:
    """
    The log messages that this lookup has already written, so that each message is written only
    once.

    @ivar users: the number of users looked up so far, counted until one of them has the attribute
        that lists groups.
    """

    made: set[str] = field(factory=set)
    users: int = 0

    def is_new(self, remark: str) -> bool:
        """Record that a message is logged, and return whether this is the first time."""
        is_new = remark not in self.made
        self.made.add(remark)
        return is_new


@frozen
class Lookup:
    """
    How users are found in a directory, and how their groups become roles.

    @ivar user: the LDAP filter that finds a user.
    @ivar user_base: the DN below which users are searched.
    @ivar search_base: the DN below which groups are searched.
    @ivar group_attribute: the attribute of a user's entry that lists the user's groups.
    @ivar extra: attributes to read besides the groups.
    @ivar attributes: names of identity attributes by the names of LDAP attributes.
    @ivar encodings: how values of LDAP attributes are written, by their names in lower case.
    @ivar exact_spelling: whether an entry counts only if one of its values equals the user name,
        including the case of letters. If C{exact_spelling} is false, the caller must take the user
        name from the entry.
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
    encodings: Mapping[str, Encoding]
    exact_spelling: bool = False
    _remarks: Remarks = field(factory=Remarks, eq=False, repr=False)
    _log = Logger()

    def attributes_to_read(self) -> tuple[str, ...]:
        """Return the LDAP attributes that are read from a user's entry."""
        in_filters = [
            name for each in self.rules.searches for name in each.template.entry_attributes()
        ]
        return tuple(dict.fromkeys([self.group_attribute, *self.extra, *in_filters]))

    async def find(self, connection: Connection, username: str) -> Entry | None:
        """
        Return the entry of a user, or C{None} if the directory has no such entry.

        @raise Ambiguous: the search found several entries.
        @raise Unavailable: the search failed.
        """
        entries = await self.find_all(connection, username, limit=2)
        if len(entries) > 1:
            raise Ambiguous("the directory has several entries for the user name")
        entry = entries[0] if entries else None
        if entry is None or not self.exact_spelling:
            return entry
        if await self._has_name(connection, entry, username):
            return entry
        self._log_other_spelling(username)
        return None

    async def find_all(
        self, connection: Connection, username: str, extra: tuple[str, ...] = (), *, limit: int
    ) -> list[Entry]:
        """
        Return the entries that the search for a user finds.

        @param extra: attributes to read besides the configured ones.
        @raise Unavailable: the search failed.
        """
        filter_ = self.user.fill(TemplateUser(username))
        if filter_ is None:
            return []
        attributes = tuple(dict.fromkeys([*self.attributes_to_read(), *extra]))
        return await connection.search(Search(self.user_base, filter_, attributes, limit))

    async def _has_name(self, connection: Connection, entry: Entry, username: str) -> bool:
        """
        Return whether a value in an entry that the search found equals the user name, including the
        case of letters.

        If the DN of an entry does not contain the user name, the attributes that the filter
        compares are read to see how the directory spells the user name.
        """
        compared = self.user.username_attributes()
        if names_user_in_rdn(entry.dn, username, compared):
            return True
        values = {name: entry.attributes.get(name.lower()) for name in compared}
        known = {name.lower(): some for name, some in values.items() if some is not None}
        if self.user.is_exact(Entry(entry.dn, known), TemplateUser(username)):
            return True
        if len(known) == len(compared):
            return False
        complete = await connection.read(entry.dn, compared)
        return complete is not None and self.user.is_exact(complete, TemplateUser(username))

    def _log_other_spelling(self, username: str) -> None:
        self._log.info(
            "user {username} ignored by LDAP: the directory spells the user name differently",
            username=username,
            event="ldap.user.spelling",
        )

    async def roles(
        self, connection: Connection, threads: Threads, username: str, entry: Entry | None
    ) -> tuple[str, ...]:
        """
        Return the roles of a user.

        @param entry: the user's entry; without an entry only searches by user name yield roles.
        @raise Unavailable: a search or a read failed, or the configured rules are invalid.
        """
        grants = await self.grants(connection, threads, username, entry)
        return tuple(grant.role for grant in grants)

    async def grants(
        self, connection: Connection, threads: Threads, username: str, entry: Entry | None
    ) -> list[Grant]:
        """
        Return the roles of a user, each with the group that it comes from.

        @param entry: the user's entry; without an entry only searches by user name yield roles.
        @raise Unavailable: a search or a read failed, or the configured rules are invalid.
        """
        if self.rules.error is not None:
            raise Unavailable(self.rules.error)
        grants: list[Grant] = []
        if self.rules.by_dn and entry is not None:
            complete = await connection.read_all_values(entry, self.group_attribute)
            dns = complete.strings(self.group_attribute)
            self._remark_groups(has_any=bool(dns))
            dns = await self._with_ancestors(connection, threads, dns)
            grants += await _compute(threads, dns, self.rules.of_memberships)
        for search in self.rules.searches:
            if entry is None and search.template.needs_entry():
                continue
            user = TemplateUser(username, entry)
            dns = await self._search_groups(connection, search, user)
            dns = await self._with_ancestors(connection, threads, dns, search, user)
            grants += await _compute(threads, dns, partial(self._of_search, search))
        return [
            evolve(grant, role=f"{self.role_prefix}{grant.role}")
            for grant in grants
            if self._fits_prefix(grant.role)
        ]

    def _remark_groups(self, *, has_any: bool) -> None:
        """Log once if none of the first users has the attribute that lists the groups."""
        if has_any:
            self._remarks.users = -1
        elif self._remarks.users >= 0:
            self._remarks.users += 1
            if self._remarks.users == _USERS_WITHOUT:
                self._log.warn(
                    "none of the first {users} users has the LDAP attribute {attribute}, so they "
                    "have no roles; set group_attribute, or search by filter: (member={{dn}})",
                    users=_USERS_WITHOUT,
                    attribute=self.group_attribute,
                    event="ldap.group.attribute",
                )

    def _fits_prefix(self, role: str) -> bool:
        """
        Return whether C{role_prefix} may precede a role: not if both contain a slash, and the role
        does not begin with a slash.

        For example, with the prefix C{/Team/} the common name C{a/b} would become the path
        C{/Team/a/b}, which looks like a group C{b} inside a group C{a}, though there is no such
        group.
        """
        extends_path = "/" in self.role_prefix and "/" in role and not role.startswith("/")
        if extends_path:
            self._log.warn(
                "LDAP role {role} ignored: with role_prefix {prefix} it would be another path",
                role=role,
                prefix=self.role_prefix,
                event="ldap.role.unsound",
            )
        return not extends_path

    def attributes_of(self, entry: Entry) -> dict[str, str]:
        """
        Return the identity attributes that are made from an entry; if an LDAP attribute has several
        values, only the first is used.
        """
        values = {name: self.texts(entry, of_ldap) for of_ldap, name in self.attributes.items()}
        return {name: some[0] for name, some in values.items() if some}

    def texts(self, entry: Entry, attribute: str) -> list[str]:
        """
        Return the values of an LDAP attribute as text; log once if none of the values
        is text.
        """
        texts = texts_of(entry, attribute, self.encodings)
        if not texts and values_of(entry, attribute) and self._remarks.is_new(attribute):
            self._log.warn(
                "LDAP attribute {attribute} left out: its values are not text; set encodings: "
                "{{{attribute}: guid}}, or sid, base64, hex",
                attribute=attribute,
                event="ldap.attribute.binary",
            )
        return texts

    def needs_entry(self) -> bool:
        """Return whether the configured roles and attributes depend on the user's entry."""
        searches_need = any(each.template.needs_entry() for each in self.rules.searches)
        return bool(self.rules.by_dn or searches_need or self.attributes)

    def _of_search(self, search: GroupSearch, dns: Sequence[str]) -> list[Grant]:
        return self.rules.of_search(search, dns, self.search_base)

    async def _search_groups(
        self, connection: Connection, search: GroupSearch, user: TemplateUser
    ) -> tuple[str, ...]:
        """
        Return the DNs of the groups that a search finds for a user name in exactly this spelling.

        If the directory may spell the name differently, the members of the groups are read, and a
        group counts only if one member is spelled exactly like the user name.
        """
        template = search.template
        filter_ = template.fill(user)
        if filter_ is None:
            self._remark_undefined(template, user)
            return ()
        is_certain = await self._is_spelled_alike(connection, template, user)
        attributes = _NO_ATTRIBUTES if is_certain else template.username_attributes()
        groups = await self._find_groups(connection, filter_, attributes)
        if is_certain:
            return tuple(group.dn for group in groups)
        exact = [group.dn for group in groups if template.is_exact(group, user)]
        if len(exact) < len(groups):
            self._log_other_spelling(user.username)
        return tuple(exact)

    async def _find_groups(
        self, connection: Connection, filter_: Filter, attributes: tuple[str, ...]
    ) -> list[Entry]:
        query = Search(self.search_base, filter_, attributes, _MAX_GROUPS + 1)
        groups = await connection.search(query)
        if len(groups) > _MAX_GROUPS:
            raise Unavailable(f"a search for groups found more than {_MAX_GROUPS} groups")
        return groups

    def _remark_undefined(self, template: FilterTemplate, user: TemplateUser) -> None:
        """Log once that a search was not sent, since an entry lacks an attribute of the search."""
        if self._remarks.is_new(template.text):
            missing = [name for name in template.entry_attributes() if not user.values_of(name)]
            self._log.warn(
                "LDAP search {filter} finds nothing for user {username}: the entry has no "
                "{attributes}",
                filter=template.text,
                username=user.username,
                attributes=", ".join(missing),
                event="ldap.attribute.missing",
            )

    @staticmethod
    async def _is_spelled_alike(
        connection: Connection, template: FilterTemplate, user: TemplateUser
    ) -> bool:
        """
        Return whether the directory is known to contain the user name in exactly the spelling of
        the request.

        If the directory contains the user name exactly as the user wrote it, a search for groups
        need not read the members of the groups.
        """
        if not template.username_attributes():
            return True
        dn, entry = template.dn_of(user), user.entry
        if dn is None:
            return entry is not None
        if entry is not None and is_same_dn(entry.dn, dn, user.username):
            return True
        try:
            by_dn = await connection.read(dn, _NO_ATTRIBUTES)
        except ServerFault:
            raise
        except Unavailable:  # the service account may not read the entry, or the DN is invalid
            return False
        return by_dn is not None and spells_user_alike(by_dn.dn, dn, user.username)

    async def _with_ancestors(
        self,
        connection: Connection,
        threads: Threads,
        dns: Sequence[str],
        search: GroupSearch | None = None,
        user: TemplateUser | None = None,
    ) -> tuple[str, ...]:
        """
        Return the groups and, if C{nested}, the groups that contain them, without duplicates.

        To find the groups that contain a group, authotron reads C{group_attribute} of this group
        and also searches for them, because many directories fill C{memberOf} for users only or not
        at all.
        """
        if not self.nested:
            return tuple(dns)
        known = level = await _compute(threads, dns, _by_key)
        for _ in range(_MAX_DEPTH):
            above = await self._parents(connection, [*level.values()])
            if search is not None and user is not None and search.template.finds_nested():
                above += await self._search_parents(connection, search, user, [*level.values()])
            new = await _compute(threads, above, _by_key)
            level = {key: dn for key, dn in new.items() if key not in known}
            known = {**known, **level}
            if not level:
                break
            if len(known) > _MAX_GROUPS:
                raise Unavailable(f"the user is in more than {_MAX_GROUPS} nested groups")
        else:
            self._remark_depth(next(iter(level.values())))
        return tuple(known.values())

    def _remark_depth(self, dn: str) -> None:
        if self._remarks.is_new("depth"):
            self._log.warn(
                "LDAP groups above {dn} are not looked up: nesting is limited to {depth} levels",
                dn=dn,
                depth=_MAX_DEPTH,
                event="ldap.group.depth",
            )

    async def _search_parents(
        self, connection: Connection, search: GroupSearch, user: TemplateUser, dns: Sequence[str]
    ) -> list[str]:
        """
        Return the DNs of the groups that directly contain at least one of the given groups; one
        search asks for many of the given groups at once.
        """
        parents: list[str] = []
        for begin in range(0, len(dns), _CONCURRENT_READS):
            some = dns[begin : begin + _CONCURRENT_READS]
            filled = [search.template.fill(evolve(user, group=dn)) for dn in some]
            wanted = [each for each in filled if each is not None]
            if wanted:
                filter_ = encoding.any_of(wanted) if len(wanted) > 1 else wanted[0]
                found = await self._find_groups(connection, filter_, _NO_ATTRIBUTES)
                parents += [group.dn for group in found]
        return parents

    async def _parents(self, connection: Connection, dns: Sequence[str]) -> list[str]:
        """Return the DNs of the groups that directly contain one of the given groups."""
        parents: list[str] = []
        for begin in range(0, len(dns), _CONCURRENT_READS):
            some = dns[begin : begin + _CONCURRENT_READS]
            outcomes = await wait_all([start(self._groups_of(connection, dn)) for dn in some])
            for groups in _values_or_raise(outcomes):
                parents += groups
        return parents

    async def _groups_of(self, connection: Connection, dn: str) -> tuple[str, ...]:
        entry = await connection.read(dn, (self.group_attribute,))
        if entry is None:
            return ()
        complete = await connection.read_all_values(entry, self.group_attribute)
        return complete.strings(self.group_attribute)


def _values_or_raise(
    outcomes: Iterable[tuple[str, ...] | Failure],
) -> Iterable[tuple[str, ...]]:
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            outcome.raiseException()
        else:
            yield outcome


async def _compute(threads: Threads, dns: Sequence[str], work: Callable[[Sequence[str]], T]) -> T:
    """Call C{work} with some DNs; if there are at least 50 DNs to parse, call it in a thread."""
    return work(dns) if len(dns) < _MIN_THREADED else await threads(lambda: work(dns))


def _by_key(dns: Iterable[str]) -> dict[object, str]:
    return {_key(dn): dn for dn in dns}


def _key(dn: str) -> object:
    """Return a key that is equal for all ways to write a DN."""
    try:
        return fold_dn(parse_dn(dn))
    except InvalidDn:
        return dn

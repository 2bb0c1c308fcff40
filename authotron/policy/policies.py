"""
All rules of a configuration, compiled once; and what one identity may do according to them.

Rules are looked up by a tag of the identities to which they apply. Identities that have the same
tags, counting only tags that some rule names, share the table of the rules that apply to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from weakref import WeakValueDictionary

from attrs import define, field, frozen

from authotron.model.authentication import Login
from authotron.model.identity import Identity
from authotron.policy import index
from authotron.policy.claims import Source, by_key, claims_of, known_claims
from authotron.policy.groups import innermost_first, tags_of
from authotron.policy.index import Block, Index
from authotron.policy.namespaces import is_namespace
from authotron.policy.reasons import Reason
from authotron.policy.restrictions import Restriction
from authotron.policy.rules import Asked, Claims, Group, Rule
from authotron.policy.ruling import BAD_NAMESPACE, BY_DEFAULT, RESTRICTED, Ruling
from authotron.policy.subjects import GROUP
from authotron.policy.table import SeveralTables, Table

_MOST_PERMISSIONS = 200_000
"""
Maximum number of permissions in all tables that are kept, each of which takes about 100 bytes; when
the number is exceeded, all tables are discarded, and the tables in use are built again.
"""

_MOST_TOGETHER = 20_000
"""Maximum number of permissions that are put together in one table for an identity."""

_MOST_SHARED = 1_000
"""
Maximum number of access objects that identities share, each of which takes about one kilobyte. If
the number is exceeded, all shared access objects are discarded; those still in use are soon created
again.
"""

_MOST_ROLES = 10
"""Maximum number of roles of an identity that shares its access object with other identities."""

_TABLE = 10
"""The number of permissions as which an empty table counts."""


@frozen
class Held:
    """
    The claims of an identity, as policies keep them.

    @ivar tags: the claims of the identity, counting only those that some rule or group names.
    @ivar claims: all claims of the identity, if any rule has a condition that may read them.
    """

    tags: frozenset[str]
    claims: Claims = field(factory=dict)

    def __sizeof__(self) -> int:
        """Return how many bytes the object takes; the tags themselves belong to the rules."""
        size = _TAG * len(self.tags)
        if self.claims:
            values = [value for key in self.claims.values() for value in key]
            size += _CLAIM * len(values) + sum(map(len, values))
        return size


@define(eq=False)
class Policies:
    """
    All rules and groups of a configuration.

    @ivar allows_by_default: whether a request is allowed if no rule applies to it.
    @ivar heaviest: whether only the group of an identity with the greatest weight counts.
    @ivar kept: the number of permissions in all tables that are kept.
    @ivar _index: the rules, indexed by tags (claims and groups); a caller that has built the index
        in pieces passes it in.
    @ivar _shared: the access objects that identities share. The references are weak, because a
        cycle of references would keep discarded policies in memory: objects that exist at the end
        of a long reload are exempt from garbage collection.
    """

    rules: Sequence[Rule]
    groups: Sequence[Group] = ()
    allows_by_default: bool = False
    heaviest: bool = False
    _index: Index = field(repr=False)
    _ordered: Sequence[Group] = field(init=False, repr=False)
    _tables: dict[tuple[frozenset[str], str], Table | SeveralTables] = field(
        factory=dict, init=False, repr=False
    )
    _shared: WeakValueDictionary[object, Access] = field(
        factory=WeakValueDictionary, init=False, repr=False
    )
    kept: int = field(default=0, init=False, repr=False)

    @_index.default
    def _indexed(self) -> Index:
        found = Index()
        for each in self.rules:
            found.add(each)
        return found

    def __attrs_post_init__(self) -> None:
        self._ordered = innermost_first(each for each in self.groups if not each.disabled)
        for each in self._ordered:
            self._index.name(each.subject)

    def access(
        self,
        claims: Iterable[str],
        restrictions: tuple[Restriction, ...] = (),
        unrestricted: Iterable[str] | None = None,
        login: Login | None = None,
    ) -> Access:
        """
        Return an object that decides what an identity may do.

        @param claims: the claims of the identity; claims that look like tags of groups are ignored.
        @param restrictions: the restrictions of the credential, each of which must allow a request,
            too.
        @param unrestricted: the claims that the identity would have by another credential, if its
            credential hides some: a request that these claims do not allow is not allowed either,
            so that hiding a claim never lifts a deny.
        @param login: what is known about the login of the client.
        """
        held = self._held(claims)
        whole = held if unrestricted is None else self._held(unrestricted)
        return Access(self, held, restrictions, None if whole == held else whole, login)

    def access_of(
        self,
        identity: Identity,
        source: Source,
        unrestricted: Identity | None = None,
        login: Login | None = None,
        actors: Sequence[tuple[Identity, Source]] = (),
    ) -> Access:
        """
        Return an object that decides what an identity may do.

        Identities share one access object if they have the same claims, as far as rules read
        claims.

        @param unrestricted: the identity with all roles and scopes, if its credential hides some.
        @param login: what is known about the login of the client.
        @param actors: the identities that act in the name of the identity, each with its source.
        """
        shares = not actors and not (login is not None and self._index.has_requirements)
        if unrestricted is None and shares:
            key = self._shared_key(identity, source)
            if key is not None:
                return self._shared.get(key) or self._share(key, self._held_by(identity, source))
        held = self._held_by(identity, source)
        whole = held if unrestricted is None else self._held_by(unrestricted, source)
        acting = tuple(self._held_by(*each) for each in actors)
        return Access(self, held, (), None if whole == held else whole, login, acting)

    def _shared_key(self, identity: Identity, source: Source) -> tuple[object, ...] | None:
        """
        Return all facts of an identity that rules may read, or C{None} if rules may read more than
        its user name and a few roles.
        """
        realm, username, roles, attributes, scopes = identity
        index = self._index
        if index.has_conditions or len(roles) > _MOST_ROLES or source.filter is not None:
            return None
        known = index.known
        if (scopes and "scope" in known) or (
            attributes and not known.keys().isdisjoint(attributes)
        ):
            return None
        named = username if "username" in known else None
        return source.name, source.type, source.issuer, realm, named, roles

    def _share(self, key: tuple[object, ...], held: Held) -> Access:
        """
        Return the access object that all identities with the same tags (claims and
        groups) share.
        """
        if len(self._shared) >= _MOST_SHARED:
            self._shared.clear()
        found = self._shared.get(held.tags) or Access(self, held)
        self._shared[key] = self._shared[held.tags] = found
        return found

    def _held_by(self, identity: Identity, source: Source) -> Held:
        if self._index.has_conditions:
            return self._held(claims_of(identity, source))
        return Held(known_claims(identity, source, self._index.known))

    def _held(self, claims: Iterable[str]) -> Held:
        """Return the claims of an identity as policies keep them, without tags of groups."""
        known = self._index.tags
        own = [each for each in claims if not each.startswith(GROUP)]
        tags = frozenset([known[each] for each in own if each in known])
        return Held(tags, by_key(own)) if self._index.has_conditions else Held(tags)

    def table(self, held: frozenset[str], namespace: str) -> Table | SeveralTables | None:
        """
        Return the rules that identities with some tags can use in a namespace, or C{None} if the
        namespace is malformed.
        """
        key = held, namespace
        table = self._tables.get(key)
        if table is None and is_namespace(namespace):
            table = _together([each.table for each in self._blocks(held, namespace)])
            size = table.size + _TABLE + len(held)
            self.kept += size
            if self.kept > _MOST_PERMISSIONS:
                self._tables.clear()
                self.kept = size
            self._tables[key] = table
        return table

    def usable(self, held: frozenset[str], namespace: str) -> list[Rule]:
        """Return the rules that identities with some tags can use in a namespace, in order."""
        blocks = self._blocks(held, namespace)
        found = {rule.number: rule for each in blocks for rule in each.rules}
        return [rule for _, rule in sorted(found.items())]

    def groups_of(self, held: frozenset[str], namespace: str) -> frozenset[str]:
        """
        Return the policy groups, as tags, of which identities with the given tags are
        members.
        """
        return tags_of(self._ordered, held, namespace, heaviest=self.heaviest)

    def _blocks(self, held: frozenset[str], namespace: str) -> list[Block]:
        """
        Return the rules that identities with given tags can use in a namespace,
        grouped by subject.
        """
        tags = held | self.groups_of(held, namespace)
        return self._index.fitting(tags, namespace)


def _together(tables: Sequence[Table]) -> Table | SeveralTables:
    """
    Return the rules of several tables: small tables are put together, so that requests take less
    time, and large tables stay separate, so that the first request takes no longer.
    """
    small = [each for each in tables if each.size < index.LARGE]
    if sum(each.size for each in small) > _MOST_TOGETHER:
        return SeveralTables(tables)
    large = [each for each in tables if each.size >= index.LARGE]
    found = [Table.together(small), *large] if small or not large else large
    return found[0] if len(found) == 1 else SeveralTables(found)


@define(eq=False)
class Access:
    """
    What one identity may do according to the policies.

    @ivar restrictions: the restrictions of the credential; each of them must also allow a request.
    @ivar unrestricted: the claims that the identity would have if its credential hid no claims, or
        C{None} if the credential hides no claims.
    @ivar login: what is known about the login of the client.
    @ivar actors: the claims of the identities that act in the name of the client; each of them must
        be allowed to make a request, too.
    """

    policies: Policies = field(repr=False)
    held: Held
    restrictions: tuple[Restriction, ...] = ()
    unrestricted: Held | None = None
    login: Login | None = None
    actors: tuple[Held, ...] = ()
    _size: int = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        others = (*self.actors, *([self.unrestricted] if self.unrestricted else ()))
        self._size = _ACCESS + self.held.__sizeof__() + sum(each.__sizeof__() for each in others)

    def rule(self, asked: Asked, now: float) -> Ruling:
        """
        Apply the policies to a request.

        @param now: the current time, in seconds since the epoch.
        """
        ruling = self._rule(self.held, asked, now)
        if self.unrestricted is not None:
            whole = self._rule(self.unrestricted, asked, now)
            if not whole.allows:
                return whole
            if not ruling.allows and ruling.reason is not Reason.DENIED:
                return RESTRICTED
        for each in self.actors:
            if ruling.allows:
                ruling = self._rule(each, asked, now)
        if not ruling.allows or not self.restrictions:
            return ruling
        return ruling if all(each.allows(asked) for each in self.restrictions) else RESTRICTED

    def is_settled(self, resource: str, namespace: str) -> bool:
        """
        Return whether the ruling about a resource depends only on the verb and the namespace, so
        that it never changes.
        """
        if self.restrictions:
            return False
        for held in (self.held, self.unrestricted, *self.actors):
            table = None if held is None else self.policies.table(held.tags, namespace)
            if table is not None and not table.is_settled(resource):
                return False
        return True

    def named(self, namespace: str) -> Table | SeveralTables | None:
        """
        Return the rules that the identity can use in a namespace, or C{None} if the namespace is
        malformed.
        """
        return self.policies.table(self.held.tags, namespace)

    def is_uniform(self, resource: str, namespace: str) -> bool:
        """
        Return whether all resources directly in the folder of a resource have the same ruling,
        which depends only on the verb and the namespace and never changes.
        """
        if self.restrictions or self.unrestricted is not None or self.actors:
            return False
        table = self.policies.table(self.held.tags, namespace)
        return table is not None and table.is_uniform(resource)

    def _rule(self, held: Held, asked: Asked, now: float) -> Ruling:
        policies = self.policies
        table = policies.table(held.tags, asked.namespace)
        if table is None:
            return BAD_NAMESPACE
        ruling = table.rule(asked, now, held.claims, self.login)
        if ruling.allows or ruling.reason in _BY_RULE or not policies.allows_by_default:
            return ruling
        return BY_DEFAULT

    def __sizeof__(self) -> int:
        """Return how many bytes the object takes."""
        return self._size


_BY_RULE = (Reason.DENIED, Reason.LOGIN)
"""
Reasons of a ruling by which a rule refuses a request, so that the default of the policy is not
applied.
"""

_ACCESS = 450
"""Number of bytes of an access object without any tag."""

_TAG = 32
"""Number of bytes by which each tag enlarges an access object."""

_CLAIM = 150
"""Number of bytes of each claim that is kept for conditions, apart from its characters."""

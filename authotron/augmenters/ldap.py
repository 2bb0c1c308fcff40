"""Add roles and attributes that an LDAP directory holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from attrs import define, evolve, field
from pydantic import Field, field_validator
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from authotron.config.plugins import AugmenterConfig
from authotron.config.section import NonEmptyStr, Seconds
from authotron.ldap import checks
from authotron.ldap.connection import Connection
from authotron.ldap.directory import Directory
from authotron.ldap.filter_parser import parse_filter
from authotron.ldap.lookup import Ambiguous, Lookup
from authotron.ldap.settings import (
    Connectivity,
    Membership,
    check_user_filter,
)
from authotron.model.errors import Unavailable
from authotron.model.identity import Addition, Identity
from authotron.net.world import Threads, World
from authotron.plugin.cache import LookupCache, addition_bytes
from authotron.plugin.interfaces import (
    CheckResult,
    IAugmenter,
    IConnected,
    IReachable,
)

_STALE = 5.0
"""
Number of seconds between two queries of a directory that is unavailable, during which outdated
roles and attributes of a user are used.
"""

_NEW_KEYS = {"user_filter", *Membership.model_fields} - {"filter", "filters"}
"""
The configuration keys about users and groups that auth-o-tron, the gateway which authotron
replaces, does not have.
"""


class Config(AugmenterConfig, Membership, Connectivity):
    """`type: ldap`: the groups of a user in a directory become roles."""

    type: Literal["ldap"]
    user_filter: NonEmptyStr = Field(
        default="(&(objectClass=person)(cn={username}))",
        description="the LDAP search that finds a user",
    )
    cache: Seconds = Field(
        default=120,
        description="seconds for which the roles and attributes of a user are used without asking "
        "the directory again",
    )
    cache_empty: Seconds = Field(
        default=30,
        description="seconds for which it is remembered that a user has no roles and attributes; "
        "never longer than `cache`",
    )
    stale_if_error: Seconds = Field(
        default=0,
        description="seconds beyond `cache` for which stale roles and attributes are used in an "
        "outage",
    )

    _checked_filter = field_validator("user_filter")(check_user_filter)

    def run_checks(self, world: World, username: str | None) -> AsyncIterator[CheckResult]:
        """Check each LDAP server, and look up the roles and attributes of C{username}."""
        return checks.run_checks(self, world, username)

    def searches_alone(self) -> bool:
        """Return true: an augmenter never binds as the user to search."""
        return True

    def _may_be_moved(self) -> bool:
        """
        Return whether the section lacks all keys about users and groups that auth-o-tron does not
        know.
        """
        return self.model_fields_set.isdisjoint(_NEW_KEYS)

    def lookup(self) -> Lookup:
        """Build the LDAP search that finds a user and the user's roles."""
        user = parse_filter(self.user_filter)
        # Without C{user_filter} no further attributes are compared with the user name, as in
        # auth-o-tron: most DNs contain the name.
        naming = user.username_attributes() if "user_filter" in self.model_fields_set else ()
        return self._lookup(user, self.search_base, naming, exact_spelling=True)


@implementer(IAugmenter, IConnected, IReachable)
@define(eq=False)
class LdapAugmenter:
    """Asks a directory for the roles of a user, once for all requests that wait for them."""

    name: str
    realm: str
    required: bool
    timeout: float | None
    _clock: IReactorTime
    _threads: Threads = field(repr=False)
    _directory: Directory = field(repr=False)
    _lookup: Lookup = field(repr=False)
    _ttl: float
    _ttl_empty: float
    _cache: LookupCache[Addition] = field(repr=False)
    type: str = field(default="ldap", init=False)
    runs_last: bool = field(default=False, init=False)
    _log = Logger()

    async def augment(self, identity: Identity) -> Addition:
        username = identity.username
        try:
            return await self._cache.get(username, lambda: self._look_up(username), username)
        except Unavailable as unavailable:
            known = self._cache.stale_answer(username)
            if known is None:
                raise
            self._log.warn(
                "augmenter {augmenter} uses stale roles, as the directory is unavailable: {reason}",
                augmenter=self.name,
                reason=str(unavailable),
                event="ldap.stale",
            )
            return evolve(known, fresh_until=self._clock.seconds() + _STALE)

    def close(self) -> None:
        """Close the idle connections to the directory, and keep no connection open from now on."""
        self._directory.close()

    async def check_reachable(self) -> None:
        """Read the search base, to check that the LDAP directory answers."""
        await checks.check_search_base(self._directory, self._lookup.search_base)

    async def _look_up(self, username: str) -> Addition:
        async def look(connection: Connection) -> Addition:
            return await self._search(connection, username)

        addition = await self._directory.use_connection(look)
        something = addition.roles or addition.attributes
        seconds = self._ttl if something else min(self._ttl, self._ttl_empty)
        return evolve(addition, fresh_until=self._clock.seconds() + seconds)

    async def _search(self, connection: Connection, username: str) -> Addition:
        entry = None
        if self._lookup.needs_entry():
            try:
                entry = await self._lookup.find(connection, username)
            except Ambiguous:
                self._log.warn(
                    "augmenter {augmenter}: several entries match user {username}, so none is used",
                    augmenter=self.name,
                    username=username,
                    event="ldap.user.ambiguous",
                )
                return Addition()
        roles = await self._lookup.roles(connection, self._threads, username, entry)
        return Addition(roles, self._lookup.attributes_of(entry) if entry else {})


def make(config: Config, world: World) -> IAugmenter:
    """Build the augmenter from its section of the configuration."""
    return LdapAugmenter(
        config.name,
        config.realm,
        config.required,
        config.timeout,
        world.clock,
        world.threads,
        config.directory(world),
        config.lookup(),
        config.cache,
        config.cache_empty,
        LookupCache(world.clock, world.memory, addition_bytes, config.stale_if_error),
    )

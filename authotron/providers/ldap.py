"""Verify user names and passwords by binding to an LDAP directory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Literal

from attrs import define, field
from pydantic import Field, field_validator, model_validator
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.config.plugins import ProviderConfig
from authotron.config.section import NonEmptyStr, NonEmptyStrs, Seconds
from authotron.ldap import checks
from authotron.ldap.connection import Connection
from authotron.ldap.decoding import Entry
from authotron.ldap.directory import Directory
from authotron.ldap.dn import InvalidDn, escape_value, fold_dn, fold_value, parse_dn
from authotron.ldap.filter_parser import parse_filter, person_filter
from authotron.ldap.logon import ACCOUNT, PRINCIPAL, LogonName, parse_logon, strip_domain
from authotron.ldap.lookup import Lookup
from authotron.ldap.settings import (
    Attribute,
    Connectivity,
    Membership,
    check_user_filter,
)
from authotron.limits.client_turns import ClientTurns
from authotron.limits.rejected_passwords import PasswordGuard, PasswordStatus, RetryConfig
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential, Identity
from authotron.model.naming import normalize
from authotron.net.world import Threads, World
from authotron.plugin.interfaces import (
    Affinity,
    CheckResult,
    IConnected,
    IProvider,
    IReachable,
    IUserLookup,
)

_CANDIDATES = 5
"""Maximum number of entries that a search for the account of a logon name returns."""

_LONGEST = 256
"""Maximum length of a user name that is looked up in an LDAP directory, in characters."""

_UNSEEN = re.compile(
    "[\\u00ad\\u034f\\u1806\\u180b-\\u180e\\u200b-\\u200f\\u2060-\\u2064\\ufe00-\\ufe0f\\ufeff\\ufffc]"
)
"""
A regular expression of the characters that LDAP directories ignore in names
(RFC 4518 section 2.2).
"""


class Config(ProviderConfig, Membership, Connectivity, RetryConfig):
    """`type: ldap`: HTTP Basic, verified by binding to a directory as the user."""

    type: Literal["ldap"]
    user_attribute: Attribute = Field(
        default="uid",
        description="the attribute by which users are searched; its value is the user name of the "
        "identity, however the user spelled it",
    )
    user_filter: NonEmptyStr | None = Field(
        default=None,
        description="LDAP filter that finds a user by {username}; default: the person whose "
        "`user_attribute` equals the user name",
    )
    user_dn: NonEmptyStr | None = Field(
        default=None,
        description="the DN of a user, with {username} in it, to bind without a search; for Active "
        "Directory also {username}@example.org or EXAMPLE\\{username}; entry and groups are then "
        "read as the user",
    )
    domains: NonEmptyStrs = Field(
        default=(),
        description="names of the domain that users may write before or after their user name: "
        "EXAMPLE\\alice, alice@example.org",
    )
    cache: Seconds = Field(
        default=60, description="seconds for which an accepted credential is not checked again"
    )

    @property
    def verifies_passwords(self) -> bool:
        return True

    @field_validator("user_filter")
    @classmethod
    def _check_filter(cls, text: str | None) -> str | None:
        return text if text is None else check_user_filter(text)

    @field_validator("user_dn")
    @classmethod
    def _check_dn(cls, text: str | None) -> str | None:
        if text is None or parse_logon(text) is not None:
            return text
        if "{username}" not in text:
            raise ValueError(
                "the value does not contain {username}, so all users would bind as one user"
            )
        bare = text.replace("{username}", "x")
        try:
            parse_dn(bare)
        except InvalidDn as error:
            raise ValueError(
                f"the value is not a DN with {{username}} ({error}), nor {{username}}@example.org "
                "or EXAMPLE\\{username}"
            ) from None
        if "{" in bare:
            raise ValueError(
                "contains a brace that does not belong to {username}; write \\7b for this brace"
            )
        return text

    @field_validator("bind_dn")
    @classmethod
    def _check_account(cls, text: str | None) -> str | None:
        if text == "":
            raise ValueError("is empty; leave bind_dn out for anonymous searches")
        return text

    @model_validator(mode="after")
    def _check_ways(self) -> Config:
        by_dn = self.user_dn is not None and self.logon() is None
        if by_dn and self.user_filter is not None:
            raise ValueError("give user_dn or user_filter, not both")
        return self

    def logon(self) -> LogonName | None:
        """Return the form of the names by which users bind, or C{None} if users bind by a DN."""
        if self.user_dn is None:
            return None
        return parse_logon(self.user_dn, self.domains, self.search_base)

    def name_attribute(self) -> str:
        """Return the attribute that holds the user name of the identity."""
        if self.logon() is not None and "user_attribute" not in self.model_fields_set:
            return ACCOUNT
        return self.user_attribute

    def searches_alone(self) -> bool:
        """
        Return whether the gateway searches by a service account or anonymously, and not as the
        user.
        """
        return self.user_dn is None or self.bind_dn is not None

    def run_checks(self, world: World, username: str | None) -> AsyncIterator[CheckResult]:
        """Check each LDAP server, and show the roles and attributes of user C{username}."""
        return checks.run_checks(self, world, username)

    def lookup(self) -> Lookup:
        """Build the LDAP searches that find a user, and the roles of a user."""
        logon = self.logon()
        if self.user_filter is not None:
            user = parse_filter(self.user_filter)
        elif logon is not None:
            user = parse_filter(logon.search())
        else:
            user = person_filter(self.user_attribute)
        return self._lookup(user, self.search_base, (self.name_attribute(),))

    def _sends_passwords(self) -> bool:
        return True


@implementer(IProvider, IConnected, IReachable)
@define(eq=False)
class LdapProvider:
    """
    Verifies Basic credentials by an LDAP bind as the user, on a connection that is used only for
    this bind.
    """

    name: str
    realm: str
    _clock: IReactorTime
    _threads: Threads = field(repr=False)
    _directory: Directory = field(repr=False)
    _lookup: Lookup = field(repr=False)
    _user_attribute: str
    _user_dn: str | None
    _logon: LogonName | None
    _domains: tuple[str, ...]
    _searches_alone: bool
    _ttl: float
    _guard: PasswordGuard = field(repr=False)
    _turns: ClientTurns = field(repr=False)
    type: str = field(default="ldap", init=False)
    scheme: str = field(default="basic", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    async def authenticate(self, credential: Credential) -> Authentication:
        username, password = credential.username_and_password()
        if not password:  # an LDAP bind without a password succeeds as anonymous
            raise Rejected("the password is empty")
        if len(username) > _LONGEST or not username.isprintable():
            raise Rejected("the user name is too long or not printable")
        if self._logon is not None:
            name = self._logon.account_of(username)
            judging = partial(self._by_logon_name, self._logon, name, password)
        else:
            name = strip_domain(username, self._domains)
            judge = self._by_search if self._user_dn is None else self._by_dn
            judging = partial(judge, name, password)
        return await self._turns.ask(credential.client, name, judging)

    def close(self) -> None:
        """
        Close idle connections to the directory, and from now on close each connection after its
        use.
        """
        self._directory.close()

    async def check_reachable(self) -> None:
        """
        Check that the LDAP directory answers, by reading the search base if
        reading it is allowed.
        """
        if self._searches_alone:
            await checks.check_search_base(self._directory, self._lookup.search_base)
        else:
            await checks.check_answer(self._directory)

    async def _by_search(self, username: str, password: str) -> Authentication:
        async def find(connection: Connection) -> Entry | None:
            return await self._lookup.find(connection, username)

        entry = await self._directory.use_connection(find)
        if entry is None:
            raise Rejected("unknown user")
        sent = PasswordStatus()
        await self._guard.judge(
            _normalize_dn(entry.dn),
            password,
            lambda: self._directory.verify(entry.dn, password, sent),
            sent,
        )

        async def identify(connection: Connection) -> Authentication:
            return await self._build_authentication(connection, entry, username)

        return await self._directory.use_connection(identify)

    async def _by_dn(self, username: str, password: str) -> Authentication:
        assert self._user_dn is not None
        dn = self._user_dn.replace("{username}", escape_value(username))

        async def identify(connection: Connection) -> Authentication:
            entry = await connection.read(dn, self._lookup.attributes_to_read())
            if entry is None:
                raise Unavailable(
                    "users may not read their own entries; use user_filter instead of user_dn"
                )
            return await self._build_authentication(connection, entry, username)

        sent = PasswordStatus()
        return await self._guard.judge(
            _normalize_dn(dn),
            password,
            lambda: self._directory.run_as_user(dn, password, identify, sent),
            sent,
        )

    async def _by_logon_name(self, logon: LogonName, name: str, password: str) -> Authentication:
        async def identify(connection: Connection) -> Authentication:
            extra = (ACCOUNT, PRINCIPAL)
            entries = await self._lookup.find_all(connection, name, extra, limit=_CANDIDATES)
            entry = logon.choose(entries, name)
            if not logon.is_certain(entry, name):
                await _check_account(connection, logon, entry)
            return await self._build_authentication(connection, entry, name)

        sent, bind_name = PasswordStatus(), logon.bind_name(name)
        return await self._guard.judge(
            fold_value(_UNSEEN.sub("", bind_name)),
            password,
            lambda: self._directory.run_as_user(bind_name, password, identify, sent),
            sent,
        )

    async def _build_authentication(
        self, connection: Connection, entry: Entry, written: str
    ) -> Authentication:
        username = self._canonical_name(entry, written)
        roles = await self._lookup.roles(connection, self._threads, username, entry)
        identity = Identity(self.realm, username, roles, self._lookup.attributes_of(entry))
        return Authentication(identity, fresh_until=self._clock.seconds() + self._ttl)

    def _canonical_name(self, entry: Entry, written: str) -> str:
        """
        Return the user name as the LDAP directory spells it, so that a user has only one name.

        If the user's entry has several names, return the one that is equal to what the user
        entered, or else the only one that differs from it just in upper and lower case, character
        width and blanks.

        @raise Rejected: the entry has no user name, or has several and not exactly one of them
            matches.
        """
        known = self._lookup.texts(entry, self._user_attribute)
        same = [each for each in known if each == written] or [
            each for each in known if fold_value(each) == fold_value(written)
        ]
        # The values of an LDAP attribute have no order, so the first value must not be chosen.
        if len(known) > 1 and len(same) != 1:
            raise Rejected(
                f"the entry has several {self._user_attribute}, and not exactly one of them "
                "matches the user name that the client sent"
            )
        for each in same or known:
            if each.strip() and each.isprintable():
                return normalize(each)
        raise Rejected(f"the entry has no {self._user_attribute}")


async def _check_account(connection: Connection, logon: LogonName, entry: Entry) -> None:
    """
    Ask the server which account is bound, and compare the answer with an entry.

    If the server lacks the request Who am I? (RFC 4532), the gateway assumes that the bind was for
    the account of the entry.

    @raise Rejected: the server has bound another account than the account of the entry.
    @raise Unavailable: the server accepted the bind as anonymous, or did not answer.
    """
    whoami = await connection.who_am_i()
    if whoami == "":
        raise Unavailable("the LDAP server accepted the bind as anonymous, not as the user")
    if whoami is not None and not logon.is_called(entry, whoami):
        raise Rejected(
            "the directory has bound another account than that of the entry that was found"
        )


def _normalize_dn(dn: str) -> str:
    """
    Convert a DN to a form that is equal for all its spellings, because all spellings name one
    account of the directory.

    Characters that directories ignore, such as soft hyphens, are removed (RFC 4518 section 2.2).
    """
    try:
        return repr([sorted(step) for step in fold_dn(parse_dn(_UNSEEN.sub("", dn)))])
    except InvalidDn:
        return dn


@implementer(IUserLookup)
@define(eq=False)
class SearchingLdapProvider(LdapProvider):
    """
    An LDAP provider that finds users by a search, and therefore can look up users without a
    password.
    """

    async def look_up(self, username: str) -> Authentication:
        """Search for a user whose name is spelled exactly as C{username}."""

        async def look(connection: Connection) -> Authentication | None:
            entry = await self._lookup.find(connection, username)
            if entry is None:
                return None
            return await self._build_authentication(connection, entry, username)

        found = await self._directory.use_connection(look)
        if found is None or found.identity.username != username:
            raise Rejected("unknown user")
        return found


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    kind = SearchingLdapProvider if config.user_dn is None else LdapProvider
    return kind(
        config.name,
        config.realm,
        world.clock,
        world.threads,
        config.directory(world),
        config.lookup(),
        config.name_attribute(),
        config.user_dn,
        config.logon(),
        config.domains,
        config.searches_alone(),
        config.cache,
        world.rejected_passwords.guard(config.name, config.retry_wrong_after),
        config.turns(world),
    )

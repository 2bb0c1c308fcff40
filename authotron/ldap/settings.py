"""Configuration keys that the LDAP provider and the LDAP augmenter share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from authotron.config.problems import require_none
from authotron.config.section import (
    NonEmptyStr,
    Seconds,
    Secret,
    Section,
)
from authotron.ldap.directory import Directory
from authotron.ldap.filter_parser import is_template, parse_filter
from authotron.ldap.filters import FilterTemplate
from authotron.ldap.groups import complete_rdns, group_rules, is_partial_dn
from authotron.ldap.lookup import Lookup
from authotron.ldap.servers import (
    Limits,
    Security,
    Server,
    ServiceAccount,
)
from authotron.ldap.values import KNOWN, Encoding
from authotron.limits.client_turns import ClientTurns
from authotron.limits.descriptors import LimitConnections
from authotron.model.hosts import is_local
from authotron.net.tls import TrustConfig, Verifier
from authotron.net.urls import has_host, with_ascii_host
from authotron.net.world import TIMEOUT_SHARE, World

_PORTS = {"ldap": 389, "ldaps": 636}


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _check_address(text: str) -> str:
    """
    Return the URI, with its host in ASCII, if it is the address of an LDAP server, without a user
    name.
    """
    try:
        text = with_ascii_host(text)
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts = None
    good = parts is not None and parts.scheme in _PORTS and has_host(parts) and port != 0
    if parts is None or not (good and text.isascii() and text.isprintable()):
        # The error message must not repeat a text that may contain a password.
        is_address = "://" in text and "@" not in text
        shown = f"{text!r} " if is_address else ""
        raise ValueError(
            f"{shown}is not the address of an LDAP server; write ldap://host or ldaps://host:636"
        )
    if parts.username is not None:
        raise ValueError("must have only a host and a port; write ldap://host or ldaps://host:636")
    return parts.geturl()  # the scheme in lower case, so that LDAPS:// is recognised as encrypted


def _has_more_than_host(uri: str) -> bool:
    parts = urlsplit(uri)
    return bool(parts.path.strip("/") or parts.query or parts.fragment)


Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_check_address)], ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


Attribute = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")]
"""The name of an LDAP attribute."""


def _check_dn(text: str) -> str:
    if not is_partial_dn(text):
        raise ValueError("the value is not a DN; a DN looks like ou=people,dc=example,dc=org")
    return text


Dn = Annotated[str, AfterValidator(_check_dn)]
"""The DN of an entry."""


def _check_base(text: str) -> str:
    return _check_dn(text) if text else text


SearchBase = Annotated[str, AfterValidator(_check_base)]
"""The DN of the entry where a search begins; empty for the root of all names."""


class Connectivity(TrustConfig):
    """
    The configuration keys for connecting to a directory, and for the service account
    that searches.
    """

    uri: Addresses = Field(
        description="address of the LDAP server: ldap://host:389 or ldaps://host:636; or a list "
        "of servers that are tried in order"
    )
    search_base: SearchBase = Field(description="DN below which users and groups are searched")
    bind_dn: str | None = Field(
        default=None,
        description="DN of the service account that searches; if not set, searches are anonymous "
        "without a bind; if empty, an anonymous bind is sent before",
    )
    ldap_password: Secret | None = Field(default=None, description="password of `bind_dn`")
    tls: Literal["none", "starttls", "ldaps", "required"] | None = Field(
        default=None,
        description="how connections are encrypted: none, starttls, ldaps, or required (ldaps "
        "for ldaps:// and starttls for ldap://); if not set, ldaps:// is encrypted and ldap:// "
        "is not",
    )
    connect_timeout: Seconds = Field(
        default=2, gt=0, description="seconds to connect to a server, including TLS and bind"
    )
    answer_timeout: Seconds = Field(
        default=3, gt=0, description="seconds in which a server must answer one request"
    )
    connections: int = Field(
        default=4,
        ge=1,
        le=100,
        description="maximum of connections for searches, and as many again for the binds of "
        "users; further requests wait",
    )
    idle_timeout: Seconds = Field(
        default=60, gt=0, description="seconds for which an unused connection is kept open"
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Connectivity:
        require_none(("", why) for why in self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.tls in ("none", "starttls") and any(u.startswith("ldaps:") for u in self.uri):
            yield f"tls: {self.tls} contradicts ldaps://"
        if self.bind_dn and self.ldap_password is None:
            yield "bind_dn needs ldap_password"
        elif self.bind_dn and not self._password():
            yield (
                "ldap_password is empty; servers treat this as an anonymous bind: for anonymous "
                'searches, write bind_dn: ""'
            )

    def _password(self) -> str:
        return "" if self.ldap_password is None else self.ldap_password.get_secret_value()

    def count_connections(self, limit_connections: LimitConnections) -> int:
        """Return the maximum number of connections to the directory, for searches and binds."""
        return 2 * limit_connections(self.connections)

    def warnings(self) -> tuple[str, ...]:
        """
        Return the warnings about an LDAP configuration section, which C{authotron check} and the
        log show.
        """
        return tuple(self._connection_warnings())

    def _connection_warnings(self) -> Iterator[str]:
        if self.ldap_password is not None and self.bind_dn is None:
            yield "ldap_password has no effect without bind_dn; searches are anonymous"
        if self.bind_dn == "" and self._password():
            yield "ldap_password is sent without a name (bind_dn is empty); most servers reject it"
        if not self.search_base:
            yield (
                "search_base is empty, so searches begin at the root of all names, where most "
                "servers find nothing"
            )
        for uri in self.uri:
            if _has_more_than_host(uri):
                yield f"{uri}: only host and port count; set search_base for the base of searches"
        if self._sends_passwords():
            for uri in self.uri:
                if self.security(uri) is Security.CLEAR and not is_local(uri):
                    yield f"passwords are sent in clear to {uri}; set tls: starttls, or use ldaps://"

    def _sends_passwords(self) -> bool:
        return bool(self.bind_dn or self._password()) and self.bind_dn is not None

    def directory(self, world: World) -> Directory:
        """
        Make the directory that a configuration section describes; no connection is
        opened yet.
        """
        account = None
        if self.bind_dn is not None:
            account = ServiceAccount(self.bind_dn, self._password())
        servers = [self._server(uri) for uri in self.uri]
        return Directory(world.clock, world.connect, servers, account, self._limits(world))

    def turns(self, world: World) -> ClientTurns:
        """
        Create the queue in which clients wait while the directory is busy with the passwords of
        other clients.
        """
        return ClientTurns(
            world.clock,
            TIMEOUT_SHARE * world.timeout,
            self.count_connections(world.limit_connections),
        )

    def _limits(self, world: World) -> Limits:
        """Return the timeouts, cut so that every server can be tried within the total timeout."""
        timeout = TIMEOUT_SHARE * world.timeout
        return Limits(
            min(self.connect_timeout, timeout / (len(self.uri) + 1)),
            min(self.answer_timeout, timeout / len(self.uri)),
            timeout,
            self.idle_timeout,
            world.limit_connections(self.connections),
        )

    def _server(self, uri: str) -> Server:
        parts = urlsplit(uri)
        security = self.security(uri)
        port = parts.port or _PORTS["ldaps" if security is Security.TLS else "ldap"]
        host = parts.hostname or ""
        if security is Security.CLEAR:
            return Server(host, port, security)
        return Server(host, port, security, Verifier(self.trust()))

    def security(self, uri: str) -> Security:
        """Return how the connection to one of the configured server addresses is encrypted."""
        if uri.startswith("ldaps:"):
            return Security.TLS
        if self.tls == "required":
            return Security.STARTTLS
        return Security(self.tls or "none")


def check_user_filter(text: str) -> str:
    """
    Return the text if it is a filter that finds one user.

    @raise ValueError: the text is not a filter, or does not compare the user name.
    """
    template = parse_filter(text)
    if not template.uses_username():
        raise ValueError("the filter does not contain {username}, so it would match every user")
    if unknown := [each for each in template.placeholders() if each != "username"]:
        raise ValueError(
            f"the filter contains {{{unknown[0]}}}; only {{username}} is known before the search"
        )
    if not template.username_attributes():
        raise ValueError(
            "the filter compares no attribute with {username}, so it would match other users"
        )
    return text


def _check_group_filter(text: str) -> str:
    """
    Return the text of a group filter, which may be an LDAP filter or a part of a DN.

    @raise ValueError: the text is in parentheses, but is not a valid LDAP filter.
    """
    if is_template(text):
        parse_filter(text)
    return text


GroupFilter = Annotated[str, AfterValidator(_check_group_filter)]
"""Selects the groups that become roles: a part of a DN, or a search for groups."""


class Membership(Section):
    """
    The configuration keys that say where the groups of a user are found, and how these become
    roles.
    """

    user_base: Dn | None = Field(
        default=None, description="DN below which users are searched; default: `search_base`"
    )
    group_attribute: Attribute = Field(
        default="memberOf",
        description="attribute of a user's entry that lists the DNs of the user's groups",
    )
    filter: GroupFilter | None = Field(
        default=None,
        description="only groups whose DN contains this text become roles; in parentheses and "
        "with {username} or {dn}: an LDAP search for the user's groups",
    )
    filters: Annotated[tuple[GroupFilter, ...], Field(strict=False)] | None = Field(
        default=None,
        strict=False,
        description="only groups at or below one of these parts of a DN become roles, named as "
        "paths (/Ancestor/Name); or LDAP searches as in `filter`",
    )
    nested: bool = Field(
        default=False, description="whether groups that contain the user's groups count, too"
    )
    role_prefix: str = Field(default="", description="text to put before the name of each role")
    attributes: dict[Attribute, NonEmptyStr] = Field(
        default_factory=dict,
        description="LDAP attributes of the user to copy, and the names of the identity's "
        "attributes that they become",
    )
    encodings: dict[Attribute, Literal["text", "guid", "sid", "base64", "hex"]] = Field(
        default_factory=dict,
        description="how the bytes of LDAP attributes are written as text: text, guid, sid, base64 "
        "or hex; objectGUID and objectSid are known",
    )

    def warnings(self) -> tuple[str, ...]:
        """Return warnings about the configuration section, for C{authotron check} and the log."""
        return (*super().warnings(), *self._filter_warnings())  # type: ignore[misc] # Connectivity's

    def _filter_warnings(self) -> Iterator[str]:
        if self.filter is not None and self.filters is not None:
            yield "filter has no effect if filters is set, as in auth-o-tron"
        elif self.filter == "":
            yield "filter is empty, so every group becomes a role"
        for path, text in self._filters_with_path():
            if is_template(text):
                yield from self._search_warnings(path, text)
            elif text.lstrip().startswith("("):
                yield (
                    f"{path}: {text} is not a search, because it has no {{username}} or {{dn}}, or "
                    "no closing parenthesis at its end"
                )
            elif "{" in text:
                yield f"{path}: {text!r} is a part of a DN, in which placeholders are not replaced"
            elif path != "filter" and not is_partial_dn(text, strict=False):
                yield f"{path}: {text!r} is not a part of a DN, so every lookup will fail"
            elif path != "filter" and complete_rdns(text) != text:
                complete = complete_rdns(text)
                yield f"{path}: {text!r} is read as {complete!r}, as in auth-o-tron"

    def _search_warnings(self, path: str, text: str) -> Iterator[str]:
        """Yield the warnings about an LDAP search for groups."""
        if self.nested and not parse_filter(text).finds_nested():
            yield (
                f"{path}: {text} finds no nested groups, because it compares no DN; "
                "use {dn}, or leave nested out"
            )
        if self._may_be_moved():
            yield (
                f"{path}: {text} is an LDAP search, and each group that it finds becomes a "
                "role; auth-o-tron treated it as a part of a DN, and found no groups"
            )

    def _may_be_moved(self) -> bool:
        """
        Return whether the section may have been written for auth-o-tron, which has an LDAP
        augmenter, and no LDAP provider.
        """
        return False

    def _filters_with_path(self) -> Iterator[tuple[str, str]]:
        if self.filter is not None and self.filters is None:
            yield "filter", self.filter
        for place, text in enumerate(self.filters or ()):
            yield f"filters[{place}]", text

    def _lookup(
        self,
        user: FilterTemplate,
        search_base: str,
        extra: tuple[str, ...] = (),
        *,
        exact_spelling: bool = False,
    ) -> Lookup:
        return Lookup(
            user,
            self.user_base or search_base,
            search_base,
            self.group_attribute,
            tuple(dict.fromkeys([*extra, *self.attributes])),
            group_rules(self.filter, self.filters),
            self.nested,
            self.role_prefix,
            self.attributes,
            {**KNOWN, **{name.lower(): Encoding(how) for name, how in self.encodings.items()}},
            exact_spelling,
        )

"""What the parts that ask a directory have in common in the configuration."""

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

from authotron.config.section import (
    NonEmptyStr,
    Seconds,
    Secret,
    Section,
)
from authotron.ldap import filters, groups
from authotron.ldap.connection import Connection
from authotron.ldap.directory import Directory
from authotron.ldap.filters import FilterTemplate
from authotron.ldap.lookup import Lookup
from authotron.ldap.servers import (
    Limits,
    Security,
    Server,
    ServiceAccount,
)
from authotron.limits.descriptors import Narrow
from authotron.limits.turns import RemoteTurns
from authotron.model.errors import Unavailable
from authotron.model.hosts import is_local
from authotron.net.tls import TrustConfig, Verifier
from authotron.net.world import SHARE, World

_PORTS = {"ldap": 389, "ldaps": 636}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _address(text: str) -> str:
    """A place of a directory and nothing else: no base, no filter, no user."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts = None
    good = parts is not None and parts.scheme in _PORTS and parts.hostname and port != 0
    if parts is None or not (good and text.isascii() and text.isprintable()):
        is_address = "://" in text and "@" not in text  # else it may be, or hold, a password
        shown = f"{text!r} " if is_address else ""
        raise ValueError(
            f"{shown}is no address of a directory; write ldap://host or ldaps://host:636"
        )
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(
            "says more than where the directory is; write ldap://host or ldaps://host:636"
        )
    return parts.geturl()  # with a scheme in lower case: LDAPS is ldaps, and never in clear


Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


Attribute = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")]
"""The name of an LDAP attribute."""


def _checked_dn(text: str) -> str:
    if not groups.is_partial_dn(text):
        raise ValueError("is no DN, such as ou=people,dc=example,dc=org")
    return text


Dn = Annotated[str, AfterValidator(_checked_dn)]
"""The name of an entry, or of the root of a tree."""


class Connectivity(TrustConfig):
    """How to reach a directory, and whom to search as."""

    uri: Addresses = Field(
        description="where it is: ldap://host:389 or ldaps://host:636; a list is tried in order"
    )
    search_base: Dn = Field(description="the DN below which everything is looked for")
    bind_dn: NonEmptyStr | None = Field(
        default=None, description="the DN to search as; anonymous if not set"
    )
    ldap_password: Secret | None = Field(default=None, description="the password of `bind_dn`")
    tls: Literal["none", "starttls", "ldaps", "required"] | None = Field(
        default=None,
        description="none, starttls or ldaps; `required` is the encrypted one that suits the uri; "
        "if not set, ldap:// is in clear and ldaps:// is not",
    )
    connect_timeout: Seconds = Field(
        default=2, gt=0, description="seconds until a server is connected, with TLS and bind"
    )
    answer_timeout: Seconds = Field(default=3, gt=0, description="seconds a question may take")
    connections: int = Field(
        default=4,
        ge=1,
        le=100,
        description="connections for searches, and as many for users who log in; further questions "
        "wait, in turns of the clients",
    )
    idle_timeout: Seconds = Field(
        default=60, gt=0, description="seconds an unused connection is kept"
    )

    @model_validator(mode="after")
    def _encrypted_or_not(self) -> Connectivity:
        if self.tls in ("none", "starttls") and any(u.startswith("ldaps:") for u in self.uri):
            raise ValueError(f"tls: {self.tls} does not go with ldaps://")
        if self.bind_dn is not None and self.ldap_password is None:
            raise ValueError("bind_dn needs ldap_password")
        if self.ldap_password is not None and not self.ldap_password.get_secret_value():
            raise ValueError("ldap_password is empty, which servers take for nobody")
        return self

    def outward(self, narrow: Narrow) -> int:
        """How many connections to the directory the part may have: for searches, and for users."""
        return 2 * narrow(self.connections)

    def warnings(self) -> tuple[str, ...]:
        """What an operator should hear about."""
        return tuple(self._doubts())

    def _doubts(self) -> Iterator[str]:
        if self.ldap_password is not None and self.bind_dn is None:
            yield "ldap_password is not used without bind_dn; searches are anonymous"
        if self._sends_passwords():
            for uri in self.uri:
                if self.security(uri) is Security.CLEAR and not is_local(uri):
                    yield f"passwords travel in clear to {uri}; set tls: starttls, or use ldaps://"

    def _sends_passwords(self) -> bool:
        return self.bind_dn is not None

    def directory(self, world: World) -> Directory:
        """The directory; nothing is connected yet."""
        account = None
        if self.bind_dn is not None and self.ldap_password is not None:
            account = ServiceAccount(self.bind_dn, self.ldap_password.get_secret_value())
        servers = [self._server(uri) for uri in self.uri]
        return Directory(world.clock, world.connect, servers, account, self._limits(world))

    def turns(self, world: World) -> RemoteTurns:
        """Build the turns of the clients whose passwords the directory judges."""
        return RemoteTurns(world.clock, SHARE * world.patience, self.outward(world.narrow))

    def _limits(self, world: World) -> Limits:
        """As configured, but so that every server has a turn while somebody waits."""
        patience = SHARE * world.patience
        return Limits(
            min(self.connect_timeout, patience / (len(self.uri) + 1)),
            min(self.answer_timeout, patience / len(self.uri)),
            patience,
            self.idle_timeout,
            world.narrow(self.connections),
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
        """What is done at an address before anything is said."""
        if uri.startswith("ldaps:"):
            return Security.TLS
        if self.tls == "required":
            return Security.STARTTLS
        return Security(self.tls or "none")


def check_user_filter(text: str) -> str:
    """
    The text, if it is a search for a user.

    @raise ValueError: it is none.
    """
    template = filters.parse(text)
    if not template.uses_username():
        raise ValueError("there is no {username} in it, so it would find everybody")
    if not template.username_attributes():
        raise ValueError("compares no attribute with {username}, so it would find other users")
    return text


async def reach(directory: Directory, base: str) -> None:
    """
    Read the base of all searches.

    @raise Unavailable: it cannot be read.
    """

    async def look(connection: Connection) -> None:
        if await connection.read(base, ("1.1",)) is None:
            raise Unavailable(f"there is nothing at {base}, or it is not shown to us")

    await directory.use_connection(look)


def _sound(text: str) -> str:
    """A piece of a DN, or a search that is one by its grammar."""
    if filters.is_template(text):
        filters.parse(text)
    return text


GroupFilter = Annotated[NonEmptyStr, AfterValidator(_sound)]
"""Which groups count: a piece of a DN, or a search for groups."""


class Membership(Section):
    """How an entry tells the groups it is in, and what becomes of them."""

    user_base: Dn | None = Field(
        default=None, description="the DN below which users are; `search_base` if not set"
    )
    group_attribute: Attribute = Field(
        default="memberOf", description="the attribute of an entry that holds the DNs of its groups"
    )
    filter: GroupFilter | None = Field(
        default=None,
        description="only groups whose DN contains this; or, in parentheses and with {username} or "
        "{dn}, a search for groups",
    )
    filters: Annotated[tuple[GroupFilter, ...], Field(strict=False)] | None = Field(
        default=None,
        strict=False,
        description="groups at or below these pieces of a DN, as /Ancestor/Name; or searches as in "
        "`filter`",
    )
    nested: bool = Field(default=False, description="also the groups that the groups are in")
    role_prefix: str = Field(default="", description="what to put before the name of each role")
    attributes: dict[Attribute, NonEmptyStr] = Field(
        default_factory=dict,
        description="LDAP attributes of the user, and the attributes of the identity they become",
    )

    def warnings(self) -> tuple[str, ...]:
        """What an operator should hear about."""
        return (*super().warnings(), *self._surprises())  # type: ignore[misc] # Connectivity's

    def _surprises(self) -> Iterator[str]:
        for where, text in self._texts():
            if filters.is_template(text):
                yield (
                    f"{where}: {text} is a search, and each group it finds gives a role; "
                    "auth-o-tron took it for a piece of a DN, and found nothing"
                )
            elif text.lstrip().startswith("("):
                yield f"{where}: {text} is no search without {{username}} or {{dn}} and its end"
            elif where != "filter" and not groups.is_partial_dn(text):
                yield f"{where}: {text!r} is no piece of a DN, so every lookup will fail"

    def _texts(self) -> Iterator[tuple[str, str]]:
        if self.filter is not None:
            yield "filter", self.filter
        for place, text in enumerate(self.filters or ()):
            yield f"filters[{place}]", text

    def _lookup(
        self,
        user: FilterTemplate,
        search_base: str,
        extra: tuple[str, ...] = (),
        *,
        exactly: bool = False,
    ) -> Lookup:
        return Lookup(
            user,
            self.user_base or search_base,
            search_base,
            self.group_attribute,
            tuple(dict.fromkeys([*extra, *self.attributes])),
            groups.group_rules(self.filter, self.filters),
            self.nested,
            self.role_prefix,
            self.attributes,
            exactly,
        )

"""The rules and groups of policies, as a configuration file states them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    create_model,
    model_validator,
)

from authotron.config.problems import of_key, require_none
from authotron.config.section import Name, NonEmptyStr, Section, WholeSeconds
from authotron.model.hosts import check_host_pattern
from authotron.model.http_grammar import TOKEN
from authotron.model.paths import AmbiguousPath, canonical
from authotron.policy import expressions, namespaces, networks, permissions, subjects, times
from authotron.policy.permissions import Permission
from authotron.policy.requirements import Requirement
from authotron.policy.resources import ANY, DEEP, flaw
from authotron.policy.rules import Group, Rule
from authotron.policy.times import DAYS, Times
from authotron.policy.verbs import is_misspelt

_TOKEN = re.compile(TOKEN.decode())

_ACR = re.compile(r"[!#-\[\]-~]{1,256}")
"""The characters that RFC 9470 section 3 and RFC 6749 section 3.3 allow in a name in a list."""

Namespace = Annotated[NonEmptyStr, AfterValidator(namespaces.check)]
"""A namespace such as C{/data/archive}."""


def _network(text: str) -> str:
    networks.parse(text)
    return text


def _host(text: str) -> str:
    pattern = check_host_pattern(text)
    if re.search(r":[0-9]+$", pattern):
        raise ValueError("has a port; rules are about hosts whatever the port, so leave it out")
    return pattern


def _method(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError("is not a method, such as GET")
    if is_misspelt(text):
        raise ValueError(f"is not a method, because case counts; write {text.upper()}")
    return text


Method = Annotated[str, AfterValidator(_method)]
"""A method, whose case counts."""


def _permission(text: str) -> str:
    found = permissions.parse(text)
    resource = found.resource
    if resource.startswith("/"):
        _check_path(resource)
    if resource.startswith(("/", ANY)):
        for verb in found.verbs - {ANY}:
            _method(verb)
    for segment in resource.split("/"):
        if ANY in segment and segment not in (ANY, DEEP):
            raise ValueError(
                "has a `*` within a segment; `*` stands for a whole segment, and `**` for any "
                "number of segments"
            )
    return text


def _check_path(path: str) -> None:
    """
    Check that a rule spells a path in the canonical spelling, with which paths of requests are
    compared.
    """
    if "?" in path or "#" in path:
        raise ValueError("has a query or a fragment; rules are about paths alone")
    try:
        spelt = canonical(path.encode())
    except AmbiguousPath as ambiguous:
        raise ValueError(
            f"is a path that proxies and backends read differently ({ambiguous}); requests for it "
            "get a 400"
        ) from None
    if why := flaw(spelt):
        raise ValueError(f"has {why}; requests for it get a 400")
    if spelt != path:
        raise ValueError(f"is spelt differently in requests; write {spelt}")


def _moment(text: object) -> float:
    try:
        found = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        raise ValueError("is not a date and time; write 2026-01-31T00:00:00Z") from None
    if found.tzinfo is None:
        raise ValueError("has no time zone; write 2026-01-31T00:00:00Z")
    return found.timestamp()


def _clock(text: str) -> str:
    times.parse_clock(text)
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        raise ValueError("is not a time zone, such as Europe/Berlin or UTC") from None
    return text


def _expression(text: str) -> str:
    expressions.compiled(text)
    return text


def _filled(what: str, why: str) -> Any:
    def check(found: tuple[Any, ...]) -> tuple[Any, ...]:
        if not found:
            raise ValueError(f"is empty; {what}, {why}")
        return found

    return AfterValidator(check)


Tag = Annotated[str, AfterValidator(subjects.check_tag)]
"""A claim that an identity must have, in normal form."""

Tags = Annotated[
    tuple[Tag, ...],
    Field(strict=False),
    _filled("name the claims that an identity must have", "such as [role=reader]"),
]
Subject = Annotated[
    tuple[Tags, ...],
    Field(strict=False),
    _filled("name whom it is about", "such as [[role=reader]]"),
]
"""A list of lists of claims: an identity must have all claims of at least one list."""

Permissions = Annotated[
    tuple[Annotated[str, AfterValidator(_permission)], ...],
    Field(strict=False),
    _filled("name what it allows or denies", "such as [/data/**:GET]"),
]
Moment = Annotated[
    float,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment with a time zone (RFC 3339), in seconds since the epoch."""

Clock = Annotated[str, AfterValidator(_clock)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


_WEEK: tuple[Day, ...] = get_args(Day)


class _Times(Section):
    """A span of the day on some days of the week; a span may go over midnight."""

    to: Clock = Field(default="24:00", description="the first minute after the span")
    days: Annotated[tuple[Day, ...], Field(strict=False), _filled("name days", "such as [mon]")] = (
        Field(default=_WEEK, strict=False, description="the days on which a span starts")
    )
    zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="the time zone, such as `Europe/Berlin`"
    )

    @model_validator(mode="after")
    def _check_span(self) -> _Times:
        if times.parse_clock(self.to) == times.parse_clock(getattr(self, "from")):
            raise of_key("to", "is the same as from; leave both out for the whole day")
        return self


_START: Any = (Clock, Field(default="00:00", description="the first minute of the span"))
TimesConfig = create_model(
    "TimesConfig", __base__=_Times, __doc__=_Times.__doc__, **{"from": _START}
)
"""
The span of the day of a rule; this is a model of its own, because C{from} cannot be an attribute in
Python.
"""


def _acr(text: str) -> str:
    if not _ACR.fullmatch(text):
        raise ValueError(
            "is not a name of an authentication context: 1 to 256 characters of ASCII without "
            "blanks, quotes and backslashes"
        )
    return text


class RequireConfig(Section):
    """How a client must have logged in so that a rule allows a request (RFC 9470)."""

    acr: Annotated[
        tuple[Annotated[str, AfterValidator(_acr)], ...],
        Field(strict=False),
        _filled("name authentication contexts", "such as [gold]"),
    ] = Field(
        default=(),
        strict=False,
        description="the accepted values of the claim `acr`, the preferred ones first",
    )
    max_age: WholeSeconds | None = Field(
        default=None,
        description="maximum age of the login (claim `auth_time`) in whole seconds, such as 5m",
    )

    @model_validator(mode="after")
    def _check_whole(self) -> RequireConfig:
        if not self.acr and self.max_age is None:
            raise ValueError("requires nothing; name `acr`, or `max_age`, or both")
        return self

    def as_requirement(self) -> Requirement:
        """Return the requirement for a client's login in the form that the policy engine uses."""
        return Requirement(tuple(dict.fromkeys(self.acr)), self.max_age)


_APART = "write the deny into a rule of its own"
"""The advice in the message about a permission that denies in a rule with the key C{require}."""

Note = Callable[[str, str], None]
"""A function that receives the name of a rule, and why its condition has no value."""


def ignore(_rule: str, _reason: str) -> None:
    """Note nothing."""


class RuleConfig(Section):
    """What identities may do, or may not do."""

    name: NonEmptyStr = Field(description="the name, unique among all rules; used in the log")
    description: str = Field(default="", description="what the rule is for, for people")
    namespace: Namespace = Field(
        default=namespaces.ROOT,
        description="the rule counts for requests of this namespace and of those below",
    )
    targets: tuple[Namespace, ...] = Field(
        default=(),
        strict=False,
        description="the rule counts only in these namespaces, inside of `namespace`, and below",
    )
    subject: Subject = Field(
        description="the identities that the rule is about: lists of claims, all claims of one of "
        "which an identity must have"
    )
    permissions: Permissions = Field(
        description="what the rule allows, `resource:verb[,verb][:id]`, or with `-` denies: `*` is "
        "one segment of a path, `**` any number of them, and `*` alone everything"
    )
    hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        default=(),
        strict=False,
        description="hosts to which the rule is limited, such as `*.example.org`, on any port",
    )
    networks: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=(),
        strict=False,
        description="networks of clients to which the rule is limited, such as 192.0.2.0/24",
    )
    methods: tuple[Method, ...] | None = Field(
        default=None, strict=False, description="methods to which the rule is limited"
    )
    times: TimesConfig | None = Field(
        default=None, description="times of the day to which the rule is limited"
    )
    not_before: Moment | None = Field(
        default=None, description="the moment from which on the rule counts (RFC 3339)"
    )
    expires: Moment | None = Field(
        default=None, description="the moment from which on the rule does not count any more"
    )
    when: Annotated[str, AfterValidator(_expression)] | None = Field(
        default=None,
        description="a condition in CEL over `claims`, `request` and `now`, such as "
        "`request.host in claims.host` (needs the extra `cel`)",
    )
    require: RequireConfig | None = Field(
        default=None,
        description="how a client must have logged in so that the rule allows a request (RFC 9470)",
    )
    disabled: bool = Field(default=False, description="whether the rule is switched off")

    @model_validator(mode="after")
    def _check_whole(self) -> RuleConfig:
        require_none(
            ("targets", f"{each} is not {self.namespace}, the namespace of the rule, nor below it")
            for each in self.targets
            if not namespaces.is_within(each, self.namespace)
        )
        if self.methods is not None and not self.methods:
            raise of_key("methods", "is empty; leave it out for all methods")
        if None not in (self.not_before, self.expires) and self.not_before >= self.expires:  # type: ignore[operator] # neither value is None here
            raise of_key("expires", "is not after not_before, so the rule would never count")
        if self.require is not None:
            require_none(
                ("permissions", f"{each} denies, but a rule with `require` only allows; {_APART}")
                for each in self.permissions
                if each.startswith("-")
            )
        return self

    def parsed_permissions(self) -> tuple[Permission, ...]:
        """Return the parsed permissions of the rule."""
        return tuple(map(permissions.parse, self.permissions))

    def as_rule(self, number: int, note: Note = ignore) -> Rule:
        """
        Return the rule for the policy, with its position among all rules.

        @param note: a function that receives the name of the rule and the reason, whenever the
            condition of the rule has no value.
        """
        when = self.when and expressions.compiled(self.when, partial(note, self.name))
        return Rule(
            self.name,
            tuple(map(frozenset, self.subject)),
            self.parsed_permissions(),
            number,
            self.namespace,
            self.targets,
            self.hosts,
            tuple(map(networks.parse, self.networks)),
            None if self.methods is None else frozenset(self.methods),
            None if self.times is None else _as_times(self.times),
            self.not_before,
            self.expires,
            self.disabled,
            self.description,
            when or None,
            None if self.require is None else self.require.as_requirement(),
        )


def _as_times(given: Any) -> Times:
    return Times(
        times.parse_clock(getattr(given, "from")),
        times.parse_clock(given.to),
        frozenset(map(DAYS.index, given.days)),
        ZoneInfo(given.zone),
    )


class GroupConfig(Section):
    """A name for identities; rules and other groups refer to it by `@group:name=NAME`."""

    name: Name = Field(description="the name, unique among all groups")
    description: str = Field(default="", description="what the group is for, for people")
    namespace: Namespace = Field(
        default=namespaces.ROOT,
        description="requests of this namespace and of those below see the group",
    )
    weight: int = Field(
        default=0, description="with `groups_mode: heaviest` only the heaviest group counts"
    )
    subject: Subject = Field(
        description="the identities in the group: lists of claims, all claims of one of which an "
        "identity must have"
    )
    disabled: bool = Field(default=False, description="whether the group is switched off")

    def as_group(self, number: int) -> Group:
        """Return the group for the policy, with its position among all groups."""
        subject = tuple(map(frozenset, self.subject))
        return Group(self.name, subject, number, self.namespace, self.weight, self.disabled)


class RulesFile(Section):
    """A file with further rules and groups, which `policy.files` names."""

    rules: tuple[RuleConfig, ...] = Field(
        default=(), strict=False, description="what identities may do, or may not do"
    )
    groups: tuple[GroupConfig, ...] = Field(
        default=(), strict=False, description="names for identities"
    )

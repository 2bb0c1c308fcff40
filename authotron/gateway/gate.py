"""
The one gate that every identity passes, whatever provider, augmenter, import or API token it is of.

Behind the gate a user, a realm, a role and a scope each have one spelling, which neither a proxy
nor a person can mistake for another, and no identity is larger than the configuration allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field
from twisted.logger import Logger

from authotron.config.schema import IdentityConfig
from authotron.model.errors import BadIdentity
from authotron.model.identity import Addition, Identity
from authotron.model.naming import (
    MAX_NAME,
    MAX_ROLE,
    flaw,
    normalize,
)

_MAX_SHOWN = 64
"""Characters of a bad name that the log shows."""

_TAKEN_OUT = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)])
"""Control characters, and halves of surrogate pairs, which UTF-8 cannot encode."""


@define(eq=False)
class Gate:
    """Admits identities whose names are good (see L{flaw}) and which are not too large."""

    _limits: IdentityConfig = field(factory=IdentityConfig)
    _most_names: int = field(init=False)
    _most_values: int = field(init=False)
    _last_plain: Addition | None = field(default=None, init=False, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        # What is below these is not too large, even with a plain addition. In a string of so many
        # characters there are half as many names, with the commas between them.
        limits = self._limits
        counts = (limits.max_roles, limits.max_attributes, limits.max_scopes)
        self._most_names = min(MAX_NAME, limits.max_bytes // 4, *counts)
        self._most_values = limits.max_bytes // 8  # characters of up to four bytes

    def admit(self, identity: Identity, provider: str = "") -> Identity:
        """
        Check an identity, and give each of its names the one spelling it has.

        One that is plain, as nearly all are, comes back as it is, and no other does. A role, scope
        or attribute whose name is not good is left out, with a warning. Control characters are
        taken out of the values of attributes.

        @param provider: the name of the provider that returned it, for messages.

        @raise BadIdentity: the name of the user or the realm is not good, or there is too much.
        """
        try:
            return identity if self._is_plain(identity) else self._examined(identity, provider)
        except BadIdentity as bad:
            if not provider:
                raise
            raise BadIdentity(f"provider {provider!a}: {bad}") from None

    def _is_plain(self, identity: Identity) -> bool:
        """
        Whether an identity need not be examined: little of it, all names ASCII, none with blanks.

        All names are looked at as one string: every identity that is not remembered passes here.
        """
        realm, username, roles, attributes, scopes = identity
        if type(roles) is not tuple:  # from a plugin that does not keep to the interface
            return False
        names = ["", realm, username, *roles]
        try:
            if attributes:
                values = "".join(attributes.values())
                if len(values) > self._most_values or not values.isprintable():
                    return False
                names += attributes
            if scopes:
                names += scopes
                for each in scopes.values():
                    if type(each) is not tuple:
                        return False
                    names += each
            names.append("")
            joined = ",".join(names)
        except (TypeError, AttributeError):  # something is not a string, or not a mapping
            return False
        return len(joined) < self._most_names and _are_plain(joined)

    def are_plain(self, additions: Sequence[Addition]) -> bool:
        """
        Whether all these may be added to a plain identity, which is then plain and not too large.

        So what was admitted before need not be looked at again, nor an addition that is the same
        value for one user after the other, as of an augmenter with fixed lists.
        """
        if len(additions) != 1:
            return self._are_plain(additions)
        [addition] = additions
        if addition is self._last_plain:
            return True
        if not self._are_plain(additions):
            return False
        self._last_plain = addition
        return True

    def _are_plain(self, additions: Sequence[Addition]) -> bool:
        names, values = [""], [""]
        try:
            for each in additions:
                if type(each.roles) is not tuple:
                    return False
                names += each.roles
                names += each.attributes
                values += each.attributes.values()
            names.append("")
            joined, text = ",".join(names), "".join(values)
        except (TypeError, AttributeError):
            return False
        is_little = len(joined) + 4 * len(text) < self._most_names
        return is_little and text.isprintable() and _are_plain(joined)

    def _examined(self, identity: Identity, provider: str) -> Identity:
        realm, username = owner(identity.realm, identity.username)
        _check_types(identity)
        self._check_size(identity)
        left_out: list[str] = []
        examined = identity._replace(
            realm=realm,
            username=username,
            roles=_good("role", identity.roles, left_out),
            attributes=_cleaned(identity.attributes, left_out),
            scopes=_good_scopes(identity.scopes, left_out),
        )
        if left_out:
            self._log.warn(
                "{count} names of {username} in realm {realm} are left out, such as {example}",
                count=len(left_out),
                username=username,
                realm=realm,
                example=left_out[0],
                provider=provider,
                event="auth.identity.left_out",
            )
        return examined

    def _check_size(self, identity: Identity) -> None:
        limits = self._limits
        scopes = [scope for each in identity.scopes.values() for scope in each]
        for what, count, most in (
            ("roles", len(identity.roles), limits.max_roles),
            ("attributes", len(identity.attributes), limits.max_attributes),
            ("scopes", len(scopes) + len(identity.scopes), limits.max_scopes),
        ):
            if count > most:
                raise BadIdentity(f"{count} {what}; auth.identity.max_{what} is {most}")
        attributes = identity.attributes
        texts = (*identity.roles, *attributes, *attributes.values(), *identity.scopes, *scopes)
        size = sum(map(_size, texts))
        if size > limits.max_bytes:
            raise BadIdentity(f"{size} bytes; auth.identity.max_bytes is {limits.max_bytes}")


def owner(realm: str, username: str) -> tuple[str, str]:
    """
    The names of a realm and of one of its users, each in its one spelling.

    @raise BadIdentity: one of them is not good.
    """
    return _name("realm", realm), _name("user", username)


def _name(of: str, text: object) -> str:
    why = flaw(text) if isinstance(text, str) else "is not a string"
    if why is not None:
        raise BadIdentity(f"the name of the {of} {why}: {_shown(text)}")
    return normalize(str(text))


def _check_types(identity: Identity) -> None:
    """
    Look at what a plugin has put into an identity, which may be anything.

    @raise BadIdentity: a string would pass for a list of letters, or something is not a list.
    """
    attributes, scopes = identity.attributes, identity.scopes
    if not (isinstance(attributes, Mapping) and isinstance(scopes, Mapping)):
        raise BadIdentity("its attributes or scopes are not a mapping")
    for each in (identity.roles, *scopes.values()):
        if not isinstance(each, (tuple, list, set, frozenset)):
            raise BadIdentity("its roles or scopes are not a list")


def _are_plain(joined: str) -> bool:
    """
    Whether names are printable ASCII and trimmed, and none empty.

    @param joined: the names, with a comma before each and after the last one.
    """
    return (
        joined.isascii()
        and joined.isprintable()
        and ",," not in joined
        and (" " not in joined or (" ," not in joined and ", " not in joined))
    )


def _are_all_plain(texts: tuple[str, ...]) -> bool:
    """Whether no string needs to be examined; quick even for thousands of them."""
    try:
        return (
            _are_plain(",".join(("", *texts, ""))) and max(map(len, texts), default=0) <= MAX_ROLE
        )
    except TypeError:  # one is not a string
        return False


def _good(kind: str, texts: Iterable[str], left_out: list[str]) -> tuple[str, ...]:
    """Roles or scopes in their one spelling, without those that are not good."""
    given, good = tuple(texts), list[str]()
    if _are_all_plain(given):
        return given
    for text in given:
        why = flaw(text, MAX_ROLE, tab=True) if isinstance(text, str) else "is not a string"
        if why is None:
            good.append(normalize(text))
        else:
            left_out.append(f"{kind} {_shown(text)}, which {why}")
    return tuple(good)


def _good_scopes(
    scopes: Mapping[str, tuple[str, ...]], left_out: list[str]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for service, texts in scopes.items():
        for name in _good("service", (service,), left_out):
            found[name] = (*found.get(name, ()), *_good("scope", texts, left_out))
    return found


def _cleaned(attributes: Mapping[str, str], left_out: list[str]) -> dict[str, str]:
    """
    Attributes without control characters, in names and in values.

    A name that had to be changed does not take the place of another.
    """
    good, changed = {}, {}
    for name, value in attributes.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            left_out.append(f"attribute {_shown(name)}, which is not a string")
            continue
        cleaned = normalize(name.translate(_TAKEN_OUT))
        why = flaw(cleaned, MAX_ROLE)
        if why is not None:
            left_out.append(f"attribute {_shown(name)}, which {why}")
        elif cleaned == name:
            good[name] = value if value.isprintable() else value.translate(_TAKEN_OUT)
        else:
            changed[cleaned] = value.translate(_TAKEN_OUT)
    return {**changed, **good}


def _size(text: object) -> int:
    return len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else 0


def _shown(text: object) -> str:
    """Cut a name to what a log line may show, on one line and in ASCII."""
    return ascii(text if not isinstance(text, str) else text[:_MAX_SHOWN])

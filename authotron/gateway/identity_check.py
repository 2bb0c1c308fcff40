"""
Checks every identity, whether it comes from a provider, an augmenter, an import or an API token.

After the check each user, realm, role and scope has one spelling that cannot be mistaken for
another, and no identity is larger than the configuration allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType

from attrs import define, field
from twisted.logger import Logger

from authotron.config.schema import IdentityConfig
from authotron.model.authentication import PresentedToken
from authotron.model.errors import BadIdentity
from authotron.model.identity import Addition, Identity
from authotron.model.naming import (
    MAX_NAME,
    MAX_ROLE,
    flaw,
    normalize,
)

_MAX_SHOWN = 64
"""Maximum number of characters of a bad name that are logged."""

_MAX_PLAIN = 256
"""
Maximum number of additions of augmenters for which it is remembered that they need no
normalization.
"""

_without_controls = partial(re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff]").sub, "")
"""
Remove control characters from a string, and surrogates, which UTF-8 cannot encode.
"""


@define(eq=False)
class IdentityCheck:
    """
    Normalizes identities, and rejects an identity that is too large or has a bad name (see
    L{flaw}).
    """

    _limits: IdentityConfig = field(factory=IdentityConfig)
    _max_names: int = field(init=False)
    _max_values: int = field(init=False)
    _plain: dict[int, tuple[Addition, int]] = field(factory=dict, init=False, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        # An identity within C{_max_names} and C{_max_values} stays within the configured limits
        # even if augmenters double its size. In the joined string each name takes at least two
        # characters: one of the name and one comma.
        limits = self._limits
        counts = (limits.max_roles, limits.max_attributes, limits.max_scopes)
        self._max_names = min(MAX_NAME, limits.max_bytes // 4, *counts)
        self._max_values = limits.max_bytes // 8  # a character has up to four bytes in UTF-8

    def admit(self, identity: Identity, provider: str = "") -> Identity:
        """
        Check an identity, and return it with its names normalized.

        If no name has to be normalized, as in nearly all identities, the same object is returned,
        or else a copy with normalized names. Roles, scopes and attributes with bad names are left
        out, with a warning. Control characters are removed from the values of attributes.

        @param provider: the name of the provider that returned the identity, for messages.

        @raise BadIdentity: the name of the user or the realm is bad, or the identity is too large.
        """
        try:
            return (
                identity
                if self._is_plain(identity)
                else self._normalize_identity(identity, provider)
            )
        except BadIdentity as bad:
            if not provider:
                raise
            raise BadIdentity(f"provider {provider!a}: {bad}") from None

    def admit_actors(self, token: PresentedToken) -> PresentedToken:
        """
        Check the identities that act in the name of the user of a token, of which a provider may
        have stated new roles, and return the token with the names of these identities normalized.

        @raise BadIdentity: the name of an identity is bad, or an identity is too large.
        """
        actors = (
            each._replace(identity=self.admit(each.identity, each.provider))
            for each in token.actors
        )
        return token._replace(actors=tuple(actors))

    def _is_plain(self, identity: Identity) -> bool:
        """
        Return whether an identity can be used without normalization: it is small, and its names are
        ASCII without blanks at their ends.

        All names are joined to one string and checked together, because this check runs for each
        identity that is not cached, and checking several strings would take longer.
        """
        realm, username, roles, attributes, scopes = identity
        if type(roles) is not tuple:  # A plugin that violates the interface may return a list.
            return False
        names = ["", realm, username, *roles]
        try:
            if attributes:
                values = "".join(attributes.values())
                if len(values) > self._max_values or not values.isprintable():
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
        # a TypeError means that a value in the identity has the wrong type
        except (TypeError, AttributeError):
            return False
        return len(joined) < self._max_names and _are_plain(joined)

    def grown(self, size: int, addition: Addition) -> int | None:
        """
        Return by how much the additions of augmenters so far, this one included, enlarge an
        identity that was checked before, or C{None} if the identity must be checked again.

        Each addition with a read-only mapping of attributes is checked once, because an augmenter
        with fixed lists returns the same objects for many users.

        @param size: by how much the additions before this one enlarge the identity.
        """
        known = self._plain.get(id(addition))
        if known is not None and known[0] is addition:
            size += known[1]
        else:
            needed = _size_if_plain(addition)
            if needed is None:
                return None
            size += needed
            if type(addition.attributes) is MappingProxyType:
                if len(self._plain) >= _MAX_PLAIN:
                    self._plain.clear()
                # The cache entry refers to the addition, so no other object can get the id of the
                # addition.
                self._plain[id(addition)] = addition, needed
        return size if size < self._max_names else None

    def _normalize_identity(self, identity: Identity, provider: str) -> Identity:
        realm, username = owner(identity.realm, identity.username)
        _check_types(identity)
        self._check_size(identity)
        left_out: list[str] = []
        examined = identity._replace(
            realm=realm,
            username=username,
            roles=_normalize_names("role", identity.roles, left_out),
            attributes=_clean_attributes(identity.attributes, left_out),
            scopes=_normalize_scopes(identity.scopes, left_out),
        )
        if left_out:
            self._log.warn(
                "{count} bad names of {username} in realm {realm} are left out, such as {example}",
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
                raise BadIdentity(
                    f"the identity has {count} {what}; auth.identity.max_{what} is {most}"
                )
        attributes = identity.attributes
        texts = (*identity.roles, *attributes, *attributes.values(), *identity.scopes, *scopes)
        size = sum(map(_size, texts))
        if size > limits.max_bytes:
            message = (
                f"the identity has {size} bytes; auth.identity.max_bytes is {limits.max_bytes}"
            )
            raise BadIdentity(message)


def owner(realm: str, username: str) -> tuple[str, str]:
    """
    Return the normalized names of a realm and of one of its users.

    @raise BadIdentity: the name of the realm or of the user is not valid.
    """
    return _name("realm", realm), _name("user", username)


def _name(of: str, text: object) -> str:
    why = flaw(text) if isinstance(text, str) else "is not a string"
    if why is not None:
        raise BadIdentity(f"the name of the {of} is invalid: {_excerpt(text)} {why}")
    return normalize(str(text))


def _check_types(identity: Identity) -> None:
    """
    Check the types of what a plugin has put into an identity.

    @raise BadIdentity: roles or scopes are not lists (a string would pass for a list of letters),
        or attributes or scopes are not mappings.
    """
    attributes, scopes = identity.attributes, identity.scopes
    if not (isinstance(attributes, Mapping) and isinstance(scopes, Mapping)):
        raise BadIdentity("attributes or scopes are not a mapping")
    for each in (identity.roles, *scopes.values()):
        if not isinstance(each, (tuple, list, set, frozenset)):
            raise BadIdentity("roles or scopes are not a list")


def _size_if_plain(addition: Addition) -> int | None:
    """
    Return how much an addition adds to the size of an identity: a character of a name counts once,
    a character of a value four times. Return C{None} if the addition needs a full check.
    """
    if type(addition.roles) is not tuple:
        return None
    attributes = addition.attributes
    try:
        joined = ",".join(("", *addition.roles, *attributes, ""))
        text = "".join(attributes.values())
    except (TypeError, AttributeError):
        return None
    if not (text.isprintable() and _are_plain(joined)):
        return None
    return len(joined) + 4 * len(text)


def _are_plain(joined: str) -> bool:
    """
    Return whether names are printable ASCII, without blanks at an end, and not empty.

    @param joined: the names, with a comma before each and after the last one.
    """
    return (
        joined.isascii()
        and joined.isprintable()
        and ",," not in joined
        and (" " not in joined or (" ," not in joined and ", " not in joined))
    )


def _are_all_plain(texts: tuple[str, ...]) -> bool:
    """
    Return whether no name needs normalization; the check takes microseconds for
    thousands of names.
    """
    try:
        return (
            _are_plain(",".join(("", *texts, ""))) and max(map(len, texts), default=0) <= MAX_ROLE
        )
    except TypeError:  # One of the names is not a string.
        return False


def _normalize_names(kind: str, texts: Iterable[str], left_out: list[str]) -> tuple[str, ...]:
    """Return roles or scopes with normalized names, without those whose names are bad."""
    given, good = tuple(texts), list[str]()
    if _are_all_plain(given):
        return given
    for text in given:
        why = flaw(text, MAX_ROLE, tab=True) if isinstance(text, str) else "is not a string"
        if why is None:
            good.append(normalize(text))
        else:
            left_out.append(f"{kind} {_excerpt(text)}, which {why}")
    return tuple(good)


def _normalize_scopes(
    scopes: Mapping[str, tuple[str, ...]], left_out: list[str]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for service, texts in scopes.items():
        for name in _normalize_names("service", (service,), left_out):
            found[name] = (*found.get(name, ()), *_normalize_names("scope", texts, left_out))
    return found


def _clean_attributes(attributes: Mapping[str, str], left_out: list[str]) -> dict[str, str]:
    """
    Return attributes without control characters, in names and in values.

    If the name of an attribute had to be normalized, and another attribute has the normalized name
    already, that other attribute is kept.
    """
    good, changed = {}, {}
    for name, value in attributes.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            left_out.append(f"the attribute {_excerpt(name)}, whose name or value is not a string")
            continue
        cleaned = normalize(_without_controls(name))
        why = flaw(cleaned, MAX_ROLE)
        if why is not None:
            left_out.append(f"the attribute {_excerpt(name)}, whose name {why}")
        elif cleaned == name:
            good[name] = value if value.isprintable() else _without_controls(value)
        else:
            changed[cleaned] = _without_controls(value)
    return {**changed, **good}


def _size(text: object) -> int:
    return len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else 0


def _excerpt(text: object) -> str:
    """Return the beginning of a name for a log line, in ASCII."""
    return ascii(text if not isinstance(text, str) else text[:_MAX_SHOWN])

"""Check the types, and the realm, of what a provider or an augmenter of another package returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from authotron.model.authentication import Acting, Authentication, Login, PresentedToken
from authotron.model.binding import Binding
from authotron.model.errors import BadIdentity
from authotron.model.identity import Addition, Identity
from authotron.model.naming import normalize
from authotron.plugin.interfaces import IJudge

_MOST_SHOWN = 64
"""Maximum number of characters of a realm that a message repeats."""

_LISTS = (tuple, list, set, frozenset)
"""The types that are allowed for roles; a string must not pass for a list of letters."""

_NUMBERS = (type(None), int, float)
_TEXTS = (type(None), str)
_MAPPINGS = (dict, MappingProxyType)
_NOT_DERIVED = PresentedToken()[2:]


_WRONG = "the plugin returned a result of the wrong type: "


class WrongResult(TypeError):
    """
    A plugin returned a value that its interface does not allow.

    The logged message names the types, but contains no part of the value.
    """


class OtherRealm(BadIdentity):
    """
    Raised if the identity that a provider returns is of another realm than the provider, so that
    the client gets a 403.
    """


def check_authentication(found: object, provider: IJudge) -> WrongResult | OtherRealm | None:
    """
    Return what is wrong with the result of a provider, or C{None} if nothing is wrong.

    Checking an authentication of the usual types costs only a few comparisons, because the gateway
    checks every authentication that is not cached.
    """
    if not isinstance(found, Authentication):
        return wrong_type(found)
    identity, _, expires, fresh_until, _, conditions, restriction, _, login, token = found
    if (
        conditions
        or restriction is not None
        or login is not None
        or (token is not None and not _is_usual(token))
        or type(identity) is not Identity
        or type(expires) not in _NUMBERS
        or type(fresh_until) not in _NUMBERS
    ):
        for flaw in _flaws_of_authentication(found):
            return WrongResult(_WRONG + flaw)
    if identity.realm == provider.realm:
        return None
    return _other_realm(identity.realm, provider)


def check_addition(found: object) -> WrongResult | None:
    """Return what is wrong with the result of an augmenter, or C{None} if nothing is wrong."""
    if not isinstance(found, Addition):
        return wrong_type(found)
    if (
        type(found.roles) is not tuple
        or type(found.attributes) not in _MAPPINGS
        or type(found.fresh_until) not in _NUMBERS
    ):
        for flaw in _flaws_of_addition(found):
            return WrongResult(_WRONG + flaw)
    return None


def wrong_type(found: object) -> WrongResult:
    """Return the error for a result whose class the interface does not allow."""
    return WrongResult(_WRONG + type(found).__name__)


def _other_realm(realm: object, provider: IJudge) -> OtherRealm | None:
    """
    Return the error for a wrong realm, unless the realm equals the realm of the provider in another
    spelling.
    """
    if isinstance(realm, str) and normalize(realm) == normalize(provider.realm):
        return None
    shown = ascii(realm[:_MOST_SHOWN]) if isinstance(realm, str) else type(realm).__name__
    return OtherRealm(
        f"provider {provider.name!a} returned an identity of realm {shown}, but the realm of the "
        f"provider is {provider.realm!a}"
    )


def _flaws_of_authentication(found: Authentication) -> Iterator[str]:
    restriction: Any = found.restriction
    if not isinstance(found.identity, Identity):
        yield f"identity is {_name(found.identity)}, must be Identity"
    yield from _flaws_of_times(expires=found.expires, fresh_until=found.fresh_until)
    if not isinstance(found.conditions, (tuple, list)):
        yield f"conditions is {_name(found.conditions)}, must be tuple"
    elif not all(callable(getattr(each, "holds", None)) for each in found.conditions):
        yield "an object of conditions has no method holds"
    if restriction is not None and not callable(getattr(restriction, "restrict", None)):
        yield f"restriction is {_name(restriction)}, and has no method restrict"
    if found.login is not None:
        yield from _flaws_of_login(found.login)
    if found.token is not None and not _is_usual(found.token):
        yield "token is not a PresentedToken with values of the declared types"


def _is_usual(token: object) -> bool:
    """Return whether the values of a L{PresentedToken} have the declared types."""
    if not isinstance(token, PresentedToken):
        return False
    id_, issued, ancestors, audience, actors, binding = token
    if type(id_) not in _TEXTS or type(issued) not in _NUMBERS:
        return False
    # Most tokens are not derived from others; then one comparison is enough.
    return token[2:] == _NOT_DERIVED or (
        type(ancestors) is tuple
        and (audience is None or type(audience) is tuple)
        and type(actors) is tuple
        and (not actors or all(type(each) is Acting for each in actors))
        and (binding is None or type(binding) is Binding)
    )


def _flaws_of_login(login: object) -> Iterator[str]:
    if not isinstance(login, Login):
        yield f"login is {_name(login)}, must be Login"
        return
    if not isinstance(login.acr, str | None):
        yield f"login.acr is {_name(login.acr)}, must be str"
    yield from _flaws_of_times(**{"login.at": login.at})


def _flaws_of_addition(found: Addition) -> Iterator[str]:
    if not isinstance(found.roles, _LISTS):
        yield f"roles is {_name(found.roles)}, must be tuple"
    if not isinstance(found.attributes, Mapping):
        yield f"attributes is {_name(found.attributes)}, must be a mapping"
    yield from _flaws_of_times(fresh_until=found.fresh_until)


def _flaws_of_times(**times: object) -> Iterator[str]:
    for name, value in times.items():
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            yield f"{name} is {_name(value)}, must be a number or None"


def _name(value: object) -> str:
    return "None" if value is None else type(value).__name__

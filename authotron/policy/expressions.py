"""
Conditions of rules in the Common Expression Language (CEL), for decisions that rules cannot express
by lists.

The conditions are compiled by cel-expr-python, the Python package of Google's implementation of
CEL. An expression is type-checked when it is loaded, and its evaluation ends when it has used up
its budget of iterations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from authotron.policy.rules import Asked, Claims

if TYPE_CHECKING:
    from cel_expr_python import cel

LONGEST = 2000
"""Maximum number of characters in an expression."""

NEEDED = "needs the extra cel of the package authotron: pip install 'authotron[cel]'"

_FACTS: Mapping[str, Callable[[Asked], str | None]] = {
    "method": lambda asked: asked.verb,
    "path": lambda asked: asked.resource,
    "host": lambda asked: asked.host,
    "address": lambda asked: asked.address,
    "namespace": lambda asked: asked.namespace,
    "id": lambda asked: asked.id,
}
"""
The parts of a request that an expression may read, as in C{request.method}; an expression that
reads an unknown part has no value.
"""

_LISTING = re.compile(r"\.\s*map\s*\(")
"""The macro C{map} makes lists of lists, whose size the budget of iterations does not limit."""

_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


Note = Callable[[str], None]
"""A function that receives the reason why an expression has no value."""


@frozen
class Expression:
    """
    A condition on the claims of an identity, on its request, and on the time.

    The variables of an expression are C{claims} (for each key the list of its values),
    C{request.method}, C{.path}, C{.host}, C{.address}, C{.namespace} and C{.id}, and C{now}.

    @ivar text: the text of the expression in the configuration.
    @ivar reads: the facts of the request that the expression reads.
    @ivar _note: a function that receives the reason why the expression has no value, for example
        that a claim is missing.
    """

    text: str
    reads: frozenset[str]
    _compiled: Any = field(repr=False)
    _note: Note = field(repr=False)

    def holds(self, claims: Claims, asked: Asked, now: float) -> bool | None:
        """
        Return whether the condition holds for a request, or C{None} if the expression has no value.

        @param now: the current time, in seconds since the epoch.
        """
        facts = tuple([(f"request.{fact}", _FACTS[fact](asked)) for fact in self.reads])
        try:
            found = self._compiled.eval(activation=_latest.activation(claims, now, facts)).value()
        except (RuntimeError, TypeError, ValueError) as error:
            found = error
        if isinstance(found, bool):
            return found
        self._note(_first_line(str(found)))
        return None


class _Latest:
    """
    The values of variables for the request that conditions were applied to last, in the form of
    CEL.

    Converting the claims of an identity with 5,000 roles takes 0.4 ms, so they are converted once
    for all conditions that a request meets, and not by each condition again.
    """

    _MOST = 64
    """Maximum number of sets of facts for which the values are kept."""

    def __init__(self) -> None:
        self._claims: Claims | None = None
        self._now = 0.0
        self._known: dict[_Facts, Any] = {}

    def activation(self, claims: Claims, now: float, facts: _Facts) -> Any:
        """
        Return the values of all variables; a fact that is not known has none.

        @param claims: a mapping that never changes.
        """
        if claims is not self._claims or now != self._now or len(self._known) >= self._MOST:
            self._claims, self._now, self._known = claims, now, {}
        found = self._known.get(facts)
        if found is None:
            values: dict[str, object] = {name: value for name, value in facts if value is not None}
            values |= {"claims": claims, "now": datetime.fromtimestamp(now, UTC)}
            found = self._known[facts] = _environment(tuple(_FACTS)).Activation(values)
        return found


_Facts = tuple[tuple[str, str | None], ...]
"""The names and values of the facts of a request that a condition reads."""

_latest = _Latest()


def compiled(text: str, note: Note = lambda _reason: None) -> Expression:
    """
    Compile an expression, and check the types in it.

    @param note: a function that receives the reason, whenever the expression has no value.

    @raise ValueError: the expression is malformed, names an unknown variable, compares values of
        different types, or is no condition; or the extra is not installed. The message of the
        exception is for the operator.
    """
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    if _LISTING.search(text):
        raise ValueError("uses map(), whose result has no maximum size; use exists() or all()")
    found = _compile(text, tuple(_FACTS))
    kind = found.return_type().name().lower()
    if kind != "bool":
        raise ValueError(f"is no condition: its value is of the type {kind}, not bool")
    reads = frozenset(fact for fact in _FACTS if not _does_without(text, fact))
    return Expression(text, reads, found, note)


def compiled_for_claims(text: str, note: Note = lambda _reason: None) -> Expression:
    """
    Compile an expression that depends on the claims of an identity alone.

    @param note: a function that receives the reason, whenever the expression has no value.

    @raise ValueError: the expression cannot be compiled (L{compiled}), or depends on the request or
        on the time.
    """
    found = compiled(text, note)
    if found.reads or not _is_timeless(text):
        raise ValueError("reads `request` or `now`; it may read `claims` alone")
    return found


def _is_timeless(text: str) -> bool:
    """Return whether an expression can be compiled if the variable C{now} does not exist."""
    type_ = _library().Type
    claims = type_.Map(type_.STRING, type_.List(type_.STRING))
    try:
        _library().NewEnv(variables={"claims": claims}).compile(text)
    except RuntimeError:
        return False
    return True


def _library() -> Any:
    try:
        from cel_expr_python import cel  # noqa: PLC0415 - imported late: the package is optional, and takes 6 MiB of memory
    except ImportError:
        raise ValueError(NEEDED) from None
    return cel


@cache
def _environment(facts: tuple[str, ...]) -> cel.Env:
    """Return the environment of CEL, which declares the variables that expressions may use."""
    library = _library()
    type_ = library.Type
    claims = type_.Map(type_.STRING, type_.List(type_.STRING))
    read = {f"request.{fact}": type_.STRING for fact in facts}
    return library.NewEnv(variables={"claims": claims, "now": type_.TIMESTAMP, **read})


def _compile(text: str, facts: tuple[str, ...]) -> cel.Expression:
    """
    Compile an expression that may read some facts of the request.

    @raise ValueError: the expression cannot be compiled.
    """
    try:
        return _environment(facts).compile(text)
    except TypeError:
        raise ValueError("has half of a surrogate pair, which is no character") from None
    except RuntimeError as error:
        raise ValueError(_mistake(str(error))) from None


def _does_without(text: str, fact: str) -> bool:
    """Return whether an expression can be compiled if a fact of the request does not exist."""
    try:
        _compile(text, tuple(each for each in _FACTS if each != fact))
    except ValueError:
        return False
    return True


def _mistake(message: str) -> str:
    """Return what is wrong with an expression, in one line, with the place of the mistake."""
    if found := _PLACE.search(message):
        line, column, text = found.groups()
        text = text.replace(" (in container '')", "").removesuffix(" [INVALID_ARGUMENT]")
        return f"line {line}, column {column}: {text}"
    return _first_line(message)


def _first_line(message: str) -> str:
    return message.partition("\n")[0][:200]

"""Exceptions and problems that several packages raise or report."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

from attrs import evolve, field, frozen

Location: TypeAlias = tuple[int | str, ...]
"""
The path to a value in a configuration: the names of keys, and positions in lists,
counted from 0.
"""


EX_CONFIG = 78
"""
Exit status for an invalid configuration (sysexits.h), after which systemd does not restart the
service.
"""


class BadCredentials(Exception):
    """
    The C{Authorization} header, or another part of a request that carries a credential, cannot be
    parsed, so the client gets a 401.
    """


class BadCarrier(BadCredentials):
    """Raised if a part of a request other than C{Authorization} cannot be one credential."""


class TooManyCredentials(BadCredentials):
    """Raised if an C{Authorization} header contains more credentials than allowed."""


class Rejected(Exception):
    """
    A provider does not accept a credential, and would not accept it after a retry either.

    The message of the exception is written to the log, never sent to the client, and contains no
    secret.
    """


class InsufficientScope(Rejected):
    """A token is valid, but lacks a scope that the configuration requires."""


class BadIdentity(Exception):
    """
    A credential is valid, but the gateway must not pass on its identity, so the client gets a 403.

    The message of the exception is written to the log, never sent to the client.
    """


class Unavailable(Exception):
    """
    A credential could not be verified, because a remote service or a database is unavailable; a
    retry may help.
    """


class PoliciesUnknown(Unavailable):
    """The policies in the token store have not been read yet, so no request can be allowed."""


class KeysUnknown(Unavailable):
    """The signing keys in the token store are not known, so no JWT can be signed or verified."""


class NotConfigured(Exception):
    """A provider lacks configuration, and accepts no credential until the operator adds it."""


class TimedOut(Unavailable):
    """A provider, augmenter or store did not answer within its timeout."""


class TokenExists(Exception):
    """The store already has an API token with this id."""


class TooMany(Exception):
    """The owner has as many API tokens as C{tokens.max_per_owner} allows."""


class NoSuchToken(Exception):
    """The store has no API token with this id, or the requester may not manage it."""


class ExceedsGrant(Exception):
    """
    A requested API token would grant more than the credential that requests it, or live too long.

    @ivar problems: the fields of the request that ask for too much; these problems are sent to the
        client.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Flaw(Enum):
    """The reasons why a fact of a client's request, such as its host, cannot be used."""

    MISSING = "missing"
    DUPLICATE = "duplicate"
    MALFORMED = "malformed"
    UNTRUSTED = "untrusted"


class UnusableFact(Exception):
    """
    A condition depends on a fact of the request that no trusted proxy states clearly.

    @ivar fact: the name of the fact, such as C{host}; an attribute of L{Facts}.
    @ivar detail: what is wrong, for logs; the detail contains nothing that the client sent.
    """

    def __init__(self, fact: str, flaw: Flaw, detail: str = "") -> None:
        super().__init__(f"{fact} is {flaw.value}{detail and f': {detail}'}")
        self.fact = fact
        self.flaw = flaw
        self.detail = detail


class MayNotAsk(Exception):
    """
    A client asks a question about the policies that it may not ask, so the client gets a 403.

    The message of the exception is sent to the client, and contains nothing secret.
    """


class AmbiguousRequest(Exception):
    """
    A client asks whether the policies allow a request, but describes the request ambiguously.

    The message of the exception is sent to the client.

    @ivar part: the name of the part of the request that is not clear, such as C{resource}.
    @ivar why: what is wrong with this part of the request.
    """

    def __init__(self, part: str, why: str) -> None:
        super().__init__(f"{part}: {why}")
        self.part = part
        self.why = why


@frozen
class Problem:
    """
    One mistake in a configuration or a request body, with the path of the wrong value.

    @ivar kind: pydantic's name of the validation rule that was broken; empty for rules that
        pydantic does not have.
    @ivar origin: the file and line, or the environment variable, that contains the wrong value.
    @ivar location: the path to the wrong value, as a tuple; the path may contain a secret, and is
        not shown.
    """

    path: str
    message: str
    kind: str = field(default="", eq=False)
    origin: str = field(default="", eq=False)
    location: Location = field(default=(), eq=False, repr=False)

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.origin})" if self.origin else text


class ConfigError(Exception):
    """The configuration cannot be used; the exception lists all problems found in it."""

    def __init__(self, problems: Iterable[Problem | str] | Problem | str) -> None:
        """@param problems: the problems; a string is the message of a problem without a path."""
        if isinstance(problems, (str, Problem)):
            problems = (problems,)
        self.problems = tuple(
            each if isinstance(each, Problem) else Problem("", str(each)) for each in problems
        )
        super().__init__("\n".join(map(str, self.problems)))

    def under(self, at: str) -> ConfigError:
        """
        Return the error with the path of the section put before the path of each of its problems.

        A plugin does not know the path of its section, so it names keys relative to the section.

        @param at: the path of the section; the path of a problem that begins with this path already
            is not changed.
        """
        if not self.problems:
            return ConfigError([Problem(at, "the plugin reports a problem, but does not name it")])
        return ConfigError(_under(at, each) for each in self.problems)


def _under(at: str, problem: Problem) -> Problem:
    if problem.path == at or problem.path.startswith((f"{at}.", f"{at}[")):
        return problem
    joint = "" if problem.path.startswith("[") or not problem.path else "."
    return evolve(problem, path=f"{at}{joint}{problem.path}", location=())

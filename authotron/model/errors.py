"""What can go wrong, in the words of whoever meets it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen


class BadCredentials(Exception):
    """The C{Authorization} header cannot be read. The client gets a 401."""


class Rejected(Exception):
    """
    The credential is not good. Asking again will not help.

    The reason is for the log of the operator, never for the client, and holds nothing secret.
    """


class BadIdentity(Exception):
    """
    The credential is good, and the identity behind it must not be passed on. The client gets a 403.

    The reason is for the log of the operator, never for the client.
    """


class Unavailable(Exception):
    """No verdict could be reached. It says nothing about the credential; asking again may help."""


class NotConfigured(Exception):
    """Nobody can get in before the operator has done something; asking again will not help."""


class TimedOut(Unavailable):
    """The time allowed has passed."""


class TokenExists(Exception):
    """A token of this id is in the store already."""


class TooMany(Exception):
    """The owner of a token to be made has as many as one owner may have."""


class NoSuchToken(Exception):
    """There is none of this id, or none that the one who asks may know of."""


class ExceedsGrant(Exception):
    """
    Somebody wants a token that may do more than its maker, or that lives too long.

    @ivar problems: what is too much, for the client to read.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class MissingContext(Exception):
    """A condition asks for what the request does not say, such as its host."""


@frozen
class Problem:
    """
    One mistake in a configuration, and where it is.

    @ivar kind: which rule was broken, as pydantic names it; empty for the rules that it lacks.
    """

    path: str
    message: str
    kind: str = field(default="", eq=False)

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(Exception):
    """A configuration that cannot be run, with everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

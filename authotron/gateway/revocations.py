"""
The revocations that this process knows, and whether one of them concerns an authenticated client.

This module is imported only if the configuration has the section C{revocation}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from hashlib import blake2b
from typing import TypeVar

from attrs import define, field
from twisted.logger import Logger

from authotron.concurrency.waiters import Waiters
from authotron.gateway.client_claims import ClientClaims
from authotron.gateway.records import KindChanges
from authotron.model import revocation
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.errors import Rejected, Unavailable
from authotron.model.records import Record
from authotron.model.revocation import Concern, Revocation
from authotron.policy import claims, expressions
from authotron.policy.rules import Claims, Request

_K = TypeVar("_K")

_NO_REQUEST = Request("/", "GET")
"""A request without content, since the expressions of revocations read only claims."""

_NONE: Mapping[str, Revocation] = {}

_MOST_REMEMBERED = 10_000
"""
Maximum number of identities for which it is remembered which expressions concern them, each of
which takes about 150 bytes.
"""

_MISSING_CLAIM = "NOT_FOUND"
"""The beginning of the message of CEL if an expression reads a claim that an identity lacks."""


class _ClaimsCondition:
    """The expression of a revocation."""

    def __init__(self, text: str) -> None:
        """@raise ValueError: the expression cannot be compiled."""
        self._reason = ""
        self._expression = expressions.compiled_for_claims(text, self._note)

    def _note(self, reason: str) -> None:
        self._reason = reason

    def concerns(self, known: Claims) -> bool:
        """
        Return whether the expression is true for an identity.

        If an identity lacks a claim that the expression reads, the revocation does not concern the
        identity. If the expression has no value for any other reason, such as too many iterations,
        the revocation concerns the identity, so that no revoked credential is accepted.
        """
        holds = self._expression.holds(known, _NO_REQUEST, 0.0)
        if holds is None:
            return not self._reason.startswith(_MISSING_CLAIM)
        return holds


class RevocationTable:
    """Revocations, by the token, the owner or the expression that they name."""

    def __init__(self) -> None:
        self._by_token: dict[str, dict[str, Revocation]] = {}
        self._by_owner: dict[tuple[str, str], dict[str, Revocation]] = {}
        self._by_claims: dict[str, tuple[Revocation, _ClaimsCondition]] = {}
        self._remembered: dict[bytes, Sequence[str]] = {}

    @property
    def expressions(self) -> Sequence[str]:
        """The expressions of all revocations that have an expression."""
        return [each.claims or "" for each, _ in self._by_claims.values()]

    def add(self, new: Revocation) -> None:
        """
        Add a revocation.

        @raise ValueError: the expression of the revocation cannot be compiled.
        """
        if new.token is not None:
            self._by_token.setdefault(new.token, {})[new.id] = new
        elif new.claims is not None:
            self._by_claims[new.id] = (new, _ClaimsCondition(new.claims))
            self._remembered.clear()
        elif new.owner is not None:
            self._by_owner.setdefault(new.owner, {})[new.id] = new

    def remove(self, old: Revocation) -> None:
        """Remove a revocation from the table, if the table contains the revocation."""
        if self._by_claims.pop(old.id, None) is not None:
            self._remembered.clear()
        if old.token is not None:
            _remove(self._by_token, old.token, old.id)
        if old.owner is not None:
            _remove(self._by_owner, old.owner, old.id)

    def of(
        self, found: Authentication, known: Callable[[], AbstractSet[str]]
    ) -> Iterator[Revocation]:
        """
        Yield the revocations that name an authenticated client, whenever they count, and whenever
        the token of the client was issued.

        @param known: a function that returns the claims of the client.
        """
        if found.token is not None and self._by_token:
            yield from self._of_token(found, found.token)
        if self._by_owner:
            for owner in _owners(found):
                yield from self._by_owner.get(owner, _NONE).values()
        if self._by_claims:
            for id_ in self._concerned(known()):
                yield self._by_claims[id_][0]

    def _concerned(self, known: AbstractSet[str]) -> Sequence[str]:
        """
        Return the ids of the revocations whose expressions are true for an identity.

        The result is remembered until expressions are added or removed, because to evaluate 100
        expressions takes 0.5 ms.
        """
        key = blake2b("\0".join(sorted(known)).encode(), digest_size=16).digest()
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            listed = claims.by_key(known)
            found = tuple(
                id_ for id_, (_, each) in self._by_claims.items() if each.concerns(listed)
            )
            self._remembered[key] = found
        return found

    def _of_token(self, found: Authentication, token: PresentedToken) -> Iterator[Revocation]:
        for id_ in (token.id, *token.ancestors):
            for each in self._by_token.get(id_ or "", _NONE).values():
                if each.concerns_owner(found):
                    yield each


def _remove(table: dict[_K, dict[str, Revocation]], key: _K, id_: str) -> None:
    listed = table.get(key)
    if listed is not None and listed.pop(id_, None) is not None and not listed:
        del table[key]


def _owners(found: Authentication) -> Iterator[tuple[str, str]]:
    """Yield the identity of a client, and the identities that act in its name."""
    yield found.identity[:2]
    for each in () if found.token is None else found.token.actors:
        yield each.identity[:2]


Sweep = Callable[[Concern | None], object]
"""
A function that has those cached decisions checked again that a changed revocation may concern, or
all cached decisions if the argument is C{None}.
"""


@define(eq=False)
class RevocationIndex:
    """
    All revocations that this process knows.

    @ivar max_age: seconds for which the known revocations are relied on after the token store was
        reached last.
    @ivar first_read: the requests that wait until the revocations in the token store have been read
        for the first time, or C{None} if no request has to wait.
    @ivar is_outdated: whether revocations are unknown, because the token store was not reached for
        more than C{max_age} seconds, or not at all.
    @ivar unusable: why a revocation cannot be applied, by the id of the revocation.
    @ivar owned: the number of known revocations that name an owner.
    """

    _now: Callable[[], float]
    _sweep: Sweep
    max_age: float = 300.0
    first_read: Waiters[None] | None = field(default=None, init=False)
    is_outdated: bool = field(default=True, init=False)
    unusable: dict[str, str] = field(factory=dict, init=False)
    _known: dict[str, Revocation] = field(factory=dict, init=False, repr=False)
    _later: dict[str, Revocation] = field(factory=dict, init=False, repr=False)
    _owned: dict[tuple[str, str], dict[str, Revocation]] = field(
        factory=dict, init=False, repr=False
    )
    owned: int = field(default=0, init=False)
    _table: RevocationTable = field(factory=RevocationTable, init=False, repr=False)
    _log = Logger()

    @property
    def known(self) -> Mapping[str, Revocation]:
        """All known revocations by their ids, also those that count only later or have ended."""
        return self._known

    @property
    def expressions(self) -> Sequence[str]:
        """The expressions of all known revocations."""
        return self._table.expressions

    def of_owner(self, owner: tuple[str, str]) -> Mapping[str, Revocation]:
        """Return the known revocations that name an owner, by their ids."""
        return self._owned.get(owner, _NONE)

    @property
    def is_usable(self) -> bool:
        """Whether it is known which credentials are revoked."""
        return not (self.is_outdated or self.unusable)

    def apply(self, changes: KindChanges) -> None:
        """Apply changes of the records of revocations."""
        before, now = self.is_usable, self._now()
        removed = [self._remove(id_) for id_ in changes.removed]
        begun = [each for record in changes.records if (each := self._add(record)) is not None]
        # A revocation that has ended concerned no client any more when it was removed.
        is_withdrawn = any(each is not None and each.counts(now) for each in removed)
        if is_withdrawn or self.is_usable != before:
            self._sweep(None)
        elif begun:
            self._begin(begun)

    def _add(self, record: Record) -> Revocation | None:
        """Add the revocation in a record, and return it if it counts at once."""
        self._remove(record.id)
        try:
            new = revocation.of_record(record)
            self._table.add(new)
        except ValueError as error:
            self.unusable[record.id] = str(error)
            self._log.error(
                "revocation {id} cannot be applied, so requests are answered with 503: {reason}; "
                "mend the reason, or remove the revocation by `authotron revocations remove`",
                id=record.id,
                reason=str(error),
                event="revocations.unusable",
            )
            return None
        self._known[new.id] = new
        if new.owner is not None:
            self._owned.setdefault(new.owner, {})[new.id] = new
            self.owned += 1
        if new.active_from is not None and self._now() < new.active_from:
            self._later[new.id] = new
            return None
        return new

    def _remove(self, id_: str) -> Revocation | None:
        """Remove a revocation that was withdrawn or has ended, and return it if it was known."""
        self.unusable.pop(id_, None)
        self._later.pop(id_, None)
        old = self._known.pop(id_, None)
        if old is not None:
            self._table.remove(old)
        if old is not None and old.owner is not None:
            _remove(self._owned, old.owner, old.id)
            self.owned -= 1
        return old

    def _begin(self, begun: Iterable[Revocation]) -> None:
        """Have the cached decisions checked again that revocations concern which count now."""
        # Checking an expression for each cached decision at once would block the reactor.
        self._sweep(revocation.concern_of(begun))

    def begin_due(self) -> None:
        """Let revocations count whose time C{active_from} has come."""
        now = self._now()
        due = [each for each in self._later.values() if each.counts(now)]
        for each in due:
            del self._later[each.id]
        if due:
            self._begin(due)

    def note_age(self, age: float | None, problem: str | None) -> None:
        """
        Note how long ago the records in the token store were read last.

        @param age: seconds since then, or C{None} if the records were never read.
        @param problem: why the records could not be read, or C{None} if they could.
        """
        is_outdated = age is None or (problem is not None and age >= self.max_age)
        if is_outdated != self.is_outdated:
            self.is_outdated = is_outdated
            self._log_age(problem)
            self._sweep(None)
        self.begin_due()

    def _log_age(self, problem: str | None) -> None:
        if not self.is_outdated:
            self._log.info(
                "{count} revocations are known from the token store",
                count=len(self._known),
                event="revocations.known",
            )
        else:
            self._log.error(
                "revocations are unknown, so requests are answered with 503: the token store was "
                "not reached for {seconds:g} s (revocation.max_age): {reason}",
                seconds=self.max_age,
                reason=problem,
                event="revocations.unknown",
            )

    def of(self, found: Authentication, known: Callable[[], AbstractSet[str]]) -> Revocation | None:
        """
        Return a revocation that counts now and concerns an authenticated client, or C{None}.

        A revocation that has once counted also counts if the clock of the machine is set back.

        @param known: a function that returns the claims of the client.
        """
        now, later = self._now(), self._later
        for each in self._table.of(found, known):
            if not each.concerns_issue(found.token):
                continue
            if each.id not in later and not each.has_ended(now):
                return each
            if each.counts(now):
                return each
        return None

    def end_first_read(self) -> None:
        """Let requests go on that wait until the revocations were read for the first time."""
        waiting, self.first_read = self.first_read, None
        if waiting is not None:
            waiting.succeed(None)

    def as_json(self, age: float | None, problem: str | None) -> dict[str, object]:
        """Return the part of the JSON reply to C{GET /ready} that describes the revocations."""
        found: dict[str, object] = {
            "known": len(self._known),
            "age": None if age is None else round(age, 1),
        }
        unusable = [f"revocation {id_}: {why}" for id_, why in [*self.unusable.items()][:1]]
        problems = [*([problem] if problem else []), *unusable]
        return {**found, "problem": problems[0]} if problems else found


@define(eq=False)
class Revocations:
    """
    Finds out whether a client of one gateway is revoked.

    @ivar index: all known revocations, which a reload of the configuration keeps.
    """

    _claims: ClientClaims
    index: RevocationIndex

    async def until_read(self) -> None:
        """
        Wait until the first attempt to read the revocations in the token store has ended, if it has
        not ended yet.
        """
        if self.index.first_read is not None:
            await self.index.first_read.join()

    def of(self, found: Authentication) -> Revocation | None:
        """
        Return a revocation that counts now and concerns an authenticated client, or an identity
        that acts in the name of the client, or C{None}.
        """
        own = self.index.of(found, lambda: self.claims(found))
        if own is not None or found.token is None:
            return own
        for each in found.token.actors:
            acting = Authentication(each.identity, each.provider, token=found.token)
            other = self.index.of(acting, partial(self.claims, acting))
            if other is not None:
                return other
        return None

    def claims(self, found: Authentication) -> AbstractSet[str]:
        """Return the claims of a client, also those that its credential hides."""
        whole = found.unrestricted or found.identity
        return claims.claims_of(whole, self._claims.source(found))

    def check(self, found: Authentication) -> None:
        """
        Check that the credential of an authenticated client is not revoked.

        @raise Rejected: the credential is revoked.
        @raise Unavailable: it is not known which credentials are revoked.
        """
        if not self.index.is_usable:
            raise Unavailable("it is not known which credentials are revoked")
        each = self.of(found)
        if each is not None:
            raise Rejected(f"the credential is revoked (revocation {each.id})")


def unread(known: ClientClaims, now: Callable[[], float]) -> Revocations:
    """Build the object of a gateway that has not read the revocations in the token store yet."""
    return Revocations(known, RevocationIndex(now, lambda _concern: None))

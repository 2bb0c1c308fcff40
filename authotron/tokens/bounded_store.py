"""
A wrapper of token stores: a call that comes while the store is being opened waits until it is open,
and every call has a timeout.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.concurrency.racing import with_timeout
from authotron.concurrency.waiters import Waiters
from authotron.config.plugins import StoreConfig
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.naming import spellings
from authotron.model.policy_document import PolicyDocument
from authotron.model.records import Changes, Record
from authotron.model.token import Revoked, Token
from authotron.plugin.interfaces import (
    IChecksPepper,
    IKeepsPepper,
    IKeepsPolicies,
    IKeepsRecords,
    ITokenStore,
    TokenQuery,
)
from authotron.tokens import pepper_check
from authotron.tokens.peppers import Peppers

T = TypeVar("T")
P = ParamSpec("P")


@implementer(ITokenStore)
@define(eq=False)
class StoreClient:
    """
    A token store with the settings of one configuration: every call has the configured timeout.

    @ivar backend: the token store that is called, from a module in C{authotron.stores}.
    @ivar was_reached: whether the store has been opened since the start, or C{None} before the
        first attempt to open it.
    """

    backend: ITokenStore
    _rules: StoreConfig
    _clock: IReactorTime
    _spare_pepper: bytes | None = field(default=None, repr=False)
    was_reached: bool | None = field(default=None, init=False)
    _opening: Waiters[None] | None = field(default=None, init=False)
    _is_refused: bool = field(default=False, init=False)
    _peppers: dict[bytes | None, Peppers] = field(factory=dict, init=False, repr=False)
    """
    The object for the peppers, by the spare pepper, which the store generated, or which is derived
    from C{jwt.secret}.
    """

    @property
    def type(self) -> str:
        return self.backend.type

    @property
    def pepper(self) -> bytes | None:
        return self.backend.pepper

    async def open(self) -> None:
        opening = self._opening = Waiters()
        self.was_reached = bool(self.was_reached)
        try:
            await with_timeout(self._clock, self._rules.timeout, self._open())
            self.was_reached = True
        finally:
            self._opening = None
            opening.succeed(None)

    async def _open(self) -> None:
        await self.backend.open()
        await self._check_pepper()

    async def _check_pepper(self) -> None:
        if not IChecksPepper.providedBy(self.backend):
            return
        try:
            await pepper_check.verify_store(
                self.backend, self.peppers(), configured=self._is_configured
            )
        except ConfigError:
            self._is_refused = True
            raise
        self._is_refused = False

    async def check_pepper(self) -> None:
        """
        Verify the pepper of a store that is open already, after a change of the configuration.

        @raise ConfigError: the API tokens in the store were hashed with another pepper.
        @raise Unavailable: the store cannot be read.
        """
        await with_timeout(self._clock, self._rules.timeout, self._check_pepper())

    def verify_backup(self, stored: str | None) -> None:
        """
        Verify the check value of the pepper in a backup of a token store.

        @raise ConfigError: the API tokens in the backup were hashed with another pepper.
        """
        if IChecksPepper.providedBy(self.backend):
            configured = self._is_configured
            pepper_check.verify(self.backend, stored, self.peppers(), configured=configured)

    async def accept_pepper(self) -> None:
        """
        Open the token store with the present pepper, even if API tokens in the store were hashed
        with another pepper and will be rejected.

        If a token store that keeps a pepper of its own has none, this method creates the pepper.
        """
        await with_timeout(self._clock, self._rules.timeout, self._accept_pepper())

    async def _accept_pepper(self) -> None:
        await self.backend.open()
        if IKeepsPepper.providedBy(self.backend):
            await self.backend.create_pepper()
        if IChecksPepper.providedBy(self.backend):
            value = pepper_check.check_value(self.peppers())
            await self.backend.set_pepper_check(value, await self.backend.pepper_check())
        self._is_refused = False

    @property
    def _is_configured(self) -> bool:
        """Whether C{store.pepper} is set."""
        return bool(self._rules.peppers())

    async def close(self) -> None:
        await self.backend.close()

    async def check_reachable(self) -> None:
        await self._call(self.backend.check_reachable)

    async def check_writable(self) -> None:
        """
        Check that the store accepts changes, by writing a value that the store contains already.

        @raise Unavailable: the store cannot be reached, or accepts no changes.
        """
        await self.check_reachable()
        if not IChecksPepper.providedBy(self.backend):
            return
        value = await self._call(self.backend.pepper_check)
        if value is not None:
            await self._call(self.backend.set_pepper_check, value, value)

    async def add(self, token: Token, most: int | None = None) -> None:
        await self._call(self.backend.add, token, most)

    async def get(self, id_: str) -> Token | None:
        return await self._call(self.backend.get, id_)

    async def list_tokens(self, query: TokenQuery) -> Sequence[Token]:
        """
        Return the API tokens that match a query, sorted by id.

        Earlier versions stored the user names of owners without Unicode normalization, so all
        spellings of the name in the query are looked up.
        """
        queries = [
            evolve(query, realm=realm, username=username)
            for realm in _spellings(query.realm)
            for username in _spellings(query.username)
        ]
        if len(queries) == 1:
            return await self._call(self.backend.list_tokens, query)
        found = [
            token for each in queries for token in await self._call(self.backend.list_tokens, each)
        ]
        return sorted(found, key=lambda token: token.id)[: query.most]

    async def change(self, id_: str, changes: Mapping[str, str | float | None]) -> bool:
        return await self._call(self.backend.change, id_, changes)

    async def remove(self, id_: str, now: float) -> Sequence[str]:
        return await self._call(self.backend.remove, id_, now)

    async def find_revoked(self, id_: str) -> Revoked | None:
        return await self._call(self.backend.find_revoked, id_)

    async def delete_expired(self, now: float) -> int:
        return await self._call(self.backend.delete_expired, now)

    async def policy_state(self) -> str | None:
        """
        Return the state of the policies in the store, or C{None} if no policies were ever stored.

        @raise Unavailable: the store cannot be reached, or keeps no policies.
        """
        return await self._call(self._policies().policy_state)

    async def policies(self) -> PolicyDocument | None:
        """
        Return the policies in the store, or C{None} if no policies were ever stored.

        @raise Unavailable: the store cannot be reached, or keeps no policies.
        """
        return await self._call(self._policies().policies)

    async def replace_policies(self, new: PolicyDocument, earlier: str | None) -> bool:
        """
        Replace the policies in the store if their state is still C{earlier}.

        @return: whether the stored policies were replaced.

        @raise Unavailable: the store cannot be reached, or keeps no policies.
        """
        return await self._call(self._policies().replace_policies, new, earlier)

    def _policies(self) -> Any:
        if not IKeepsPolicies.providedBy(self.backend):
            raise Unavailable(f"a token store of type {self.type} does not keep policies")
        return self.backend

    @property
    def keeps_records(self) -> bool:
        """Whether the token store keeps records, such as revocations."""
        return bool(IKeepsRecords.providedBy(self.backend))

    async def add_record(self, record: Record, now: float) -> bool:
        """
        Add a record, unless a record of this kind and id is stored; return whether it was added.

        @raise Unavailable: the store cannot be reached, or keeps no records.
        """
        return await self._call(self._records().add_record, record, now)

    async def record(self, kind: str, id_: str, now: float) -> Record | None:
        """
        Return a record, or C{None} if it is missing.

        @raise Unavailable: the store cannot be reached, or keeps no records.
        """
        return await self._call(self._records().record, kind, id_, now)

    async def records(self, kind: str, now: float) -> Sequence[Record]:
        """
        Return all records of a kind, sorted by id.

        @raise Unavailable: the store cannot be reached, or keeps no records.
        """
        return await self._call(self._records().records, kind, now)

    async def replace_record(self, record: Record, earlier: Record) -> bool:
        """
        Replace a record if its content is still that of C{earlier}; return whether it was replaced.

        @raise Unavailable: the store cannot be reached, or keeps no records.
        """
        return await self._call(self._records().replace_record, record, earlier)

    async def remove_record(self, kind: str, id_: str) -> bool:
        """
        Remove a record; return whether this call has removed it.

        @raise Unavailable: the store cannot be reached, or keeps no records.
        """
        return await self._call(self._records().remove_record, kind, id_)

    async def changes(self, after: str | None) -> Changes:
        """
        Return what has changed in the records that gateways follow.

        @param after: the cursor of the last call, or C{None} for all records.

        @raise Unavailable: the store cannot be reached, or keeps no records.
        """
        return await self._call(self._records().changes, after)

    def on_change(self, notify: Callable[[], object]) -> Callable[[], None]:
        """
        Call a function soon after records have changed; return a function that ends the calls.

        @raise Unavailable: the store keeps no records.
        """
        end: Callable[[], None] = self._records().on_change(notify)
        return end

    def _records(self) -> Any:
        if not self.keeps_records:
            raise Unavailable(f"a token store of type {self.type} does not keep records")
        return self.backend

    async def wait_until_open(self) -> None:
        """
        If the token store is being opened, wait until the attempt has succeeded or failed.

        @raise Unavailable: the attempt to open takes longer than the timeout of the store.
        """
        await with_timeout(self._clock, self._rules.timeout, self._wait_until_open())

    async def _call(
        self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **keywords: P.kwargs
    ) -> T:
        async def call_once_open() -> T:
            await self._wait_until_open()
            if self._is_refused:
                raise Unavailable("the API tokens in the store were hashed with another pepper")
            return await call(*args, **keywords)

        return await with_timeout(self._clock, self._rules.timeout, call_once_open())

    async def _wait_until_open(self) -> None:
        if self._opening is not None:
            await self._opening.join()

    def peppers(self) -> Peppers:
        """
        Return the peppers, the secret keys for hashing API tokens: the configured ones first, then
        the one that the store generated.

        @raise Unavailable: no pepper is configured, and the store is not open yet.
        """
        spare = self.backend.pepper or self._spare_pepper
        known = self._peppers.get(spare)
        return known if known is not None else self._first_peppers(spare)

    def _first_peppers(self, spare: bytes | None) -> Peppers:
        """
        Build the object for the configured peppers and the spare pepper, and remember it.

        @raise Unavailable: there is no pepper yet.
        """
        keys = [*self._rules.peppers(), *([spare] if spare else [])]
        if not keys:
            raise Unavailable("the token store is not open yet")
        made = self._peppers[spare] = Peppers(keys)
        return made


def _spellings(name: str | None) -> Sequence[str | None]:
    return [None] if name is None else spellings(name)


def derive_pepper(secret: str) -> bytes:
    """
    Derive a pepper, a key for hashing API tokens, from a secret, so that the pepper does not reveal
    the secret.
    """
    return hmac.digest(secret.encode(), b"authotron: pepper of the token store", "sha256")

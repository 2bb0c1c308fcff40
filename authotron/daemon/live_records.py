"""Keep the records that gateways share up to date for the gateway in use, across reloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from authotron.concurrency.waiters import Waiters
from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.net.world import World
from authotron.web.replies import Reply

if TYPE_CHECKING:  # imported at run time only if the configuration needs shared records
    from authotron.daemon.record_follower import RecordFollower
    from authotron.gateway.records import SharedRecords
    from authotron.gateway.revocations import RevocationIndex
    from authotron.model.revocation import Concern


@define(eq=False)
class _Following:
    """
    The records of one token store, and the object that follows their changes.

    @ivar index: all known revocations; it stays empty if the configuration has no revocation.
    """

    records: SharedRecords
    follower: RecordFollower
    index: RevocationIndex


@define(eq=False)
class LiveRecords:
    """
    Follows the records in the token store, such as revocations, for the gateway in use.

    A reload that leaves the token store as it was keeps the known records. If the configuration
    needs no shared records, a L{LiveRecords} does nothing.
    """

    _serving: LiveGateway[Reply]
    _world: World
    _current: _Following | None = field(default=None, init=False)
    _next: _Following | None = field(default=None, init=False)
    _is_watched: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._use(self._following_of(self._serving.gateway, None))

    @property
    def is_needed(self) -> bool:
        """Whether the gateway in use shares records through the token store."""
        return self._current is not None

    def _following_of(
        self, gateway: Gateway[Reply], earlier: _Following | None
    ) -> _Following | None:
        """
        Return the object that follows the records of a gateway, or C{None} if the gateway needs no
        records.

        @param earlier: the object that follows the records of the same token store already, if
            there is one.
        """
        tokens = gateway.tokens
        if tokens is None or not gateway.config.shares_records:
            return None
        found = earlier or self._new_following(gateway)
        if gateway.revocations is not None:
            gateway.revocations.index = found.index
        return found

    def _new_following(self, gateway: Gateway[Reply]) -> _Following:
        from authotron.daemon.record_follower import RecordFollower  # noqa: PLC0415 - only needed here
        from authotron.gateway.records import SharedRecords  # noqa: PLC0415 - only needed here
        from authotron.gateway.revocations import RevocationIndex  # noqa: PLC0415 - only needed here
        from authotron.model import revocation  # noqa: PLC0415 - only needed here

        assert gateway.tokens is not None
        clock, store = self._world.clock, gateway.tokens.store
        records = SharedRecords(store, clock.seconds, self._serving.peers.ask_others)
        index = RevocationIndex(clock.seconds, self._recheck)
        records.subscribe(revocation.KIND, index.apply)

        def looked() -> None:
            index.note_age(records.age, records.problem)
            index.end_first_read()

        return _Following(records, RecordFollower(store, records, clock, looked), index)

    def _recheck(self, concern: Concern | None) -> None:
        """Have the decisions checked again that the gateway in use has cached."""
        self._serving.gateway.decisions.recheck(concern)

    def start(self) -> None:
        """Begin to follow the records in the token store."""
        if self._current is not None:
            if self._current.records.confirmed is None:
                self._current.index.first_read = Waiters()
            self._current.follower.start()

    def stop(self) -> None:
        """Stop following the records in the token store; requests no longer wait for them."""
        if self._current is not None:
            self._current.follower.stop()
            self._current.index.end_first_read()

    async def read(self) -> None:
        """
        Open the token store, and read the records, before the gateway answers any request.

        @raise ConfigError: the token store cannot be used.
        @raise Unavailable: the token store cannot be opened, or the records cannot be read.
        """
        tokens = self._serving.gateway.tokens
        if self._current is not None and tokens is not None:
            await tokens.store.open()
            await self._current.follower.read()
            self._current.follower.on_look()

    def received(self, message: Any) -> None:
        """
        Apply changes of records that another worker of this machine has made.

        @raise ValueError: the message is malformed.
        """
        for each in (self._current, self._next):
            if each is not None:
                each.records.received(message)

    def prepare(self, gateway: Gateway[Reply], *, is_same_store: bool) -> None:
        """
        During a reload, give the revocations that are known to the new gateway, which is about to
        replace the gateway in use.

        If the new gateway has another token store, which is not open yet, its records are read when
        the new gateway is in use, and requests wait for them.
        """
        self._next = self._following_of(gateway, self._current if is_same_store else None)

    def replace(self) -> None:
        """
        Follow the records in the token store of the new gateway, which has replaced the earlier
        gateway after a reload.
        """
        found, self._next = self._next, None
        if found is self._current:
            self._use(found)
            return
        self.stop()
        self._use(found)
        self.start()

    def _use(self, found: _Following | None) -> None:
        self._current = found
        self._serving.records = None if found is None else found.records
        if found is None:
            return
        gateway = self._serving.gateway
        assert gateway.tokens is not None
        found.records.store = found.follower.store = gateway.tokens.store
        section = gateway.config.file.revocation
        if section is not None:
            found.index.max_age = section.max_age
        if not self._is_watched:
            self._is_watched = True
            self._serving.metrics.watch_revocations(self._known, self._age)

    def _known(self) -> float:
        return 0 if self._current is None else len(self._current.index.known)

    def _age(self) -> float:
        return 0 if self._current is None else self._current.records.age or 0

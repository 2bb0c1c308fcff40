"""Keep the signing keys of the gateway in use up to date if they are kept in the token store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.model.records import SIGNING_KEY
from authotron.net.world import World
from authotron.web.replies import Reply

if TYPE_CHECKING:  # imported at run time only if signing keys are kept in the token store
    from authotron.daemon.key_follower import KeyFollower


@define(eq=False)
class LiveKeys:
    """
    Follows the signing keys in the token store for the gateway in use, and keeps known keys across
    a reload of the configuration.

    If the configuration does not set C{jwt.sealing_key}, a L{LiveKeys} does nothing.
    """

    _serving: LiveGateway[Reply]
    _world: World
    _follower: KeyFollower | None = field(default=None, init=False)
    _next: KeyFollower | None = field(default=None, init=False)
    _end_calls: Callable[[], None] | None = field(default=None, init=False)
    _is_watched: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._use(self._follower_of(self._serving.gateway))

    @property
    def is_needed(self) -> bool:
        """Whether the gateway in use has its signing keys in the token store."""
        return self._follower is not None

    def _follower_of(self, gateway: Gateway[Reply]) -> KeyFollower | None:
        if gateway.config.file.jwt.sealing_key is None:
            return None
        from authotron.daemon import key_follower  # noqa: PLC0415 - only needed here

        return key_follower.make(gateway, self._world)

    def start(self) -> None:
        """
        Begin to follow the signing keys in the token store.

        If the gateway follows the records in the token store anyway, a changed key is noticed at
        once.
        """
        follower, records = self._follower, self._serving.records
        if follower is None:
            return
        follower.start()
        if records is not None:
            self._end_calls = records.subscribe(SIGNING_KEY, lambda _: follower.wake())

    def stop(self) -> None:
        """Stop following the signing keys in the token store."""
        end, self._end_calls = self._end_calls, None
        if end is not None:
            end()
        if self._follower is not None:
            self._follower.stop()

    async def read(self) -> None:
        """
        Open the token store, and read the signing keys, before the gateway answers any request.

        @raise ConfigError: the keys cannot be read, or the token store cannot be used.
        @raise Unavailable: the token store cannot be opened.
        """
        tokens = self._serving.gateway.tokens
        if self._follower is not None and tokens is not None:
            await tokens.store.open()
            await self._follower.take_over(None)

    async def prepare(self, gateway: Gateway[Reply], *, is_same_store: bool) -> None:
        """
        During a reload, read the signing keys for the new gateway, which is about to replace the
        gateway in use.

        If the new gateway has another token store, which is not open yet, the keys that are known
        stay in use, and are stored in the other token store as soon as it is open.

        @raise ConfigError: the keys in the token store cannot be read, or no keys are known and the
            token store cannot be reached.
        """
        self._next = self._follower_of(gateway)
        if self._next is None:
            return
        if is_same_store:
            await self._next.take_over(self._follower)
        else:
            self._next.remember(self._follower)

    def replace(self) -> None:
        """
        Follow the signing keys in the token store for the new gateway, which has replaced the
        earlier gateway after a reload.
        """
        self.stop()
        found, self._next = self._next, None
        self._use(found)
        self.start()

    def _use(self, found: KeyFollower | None) -> None:
        self._follower = found
        status = self._serving.key_status = None if found is None else found.status
        if status is not None and not self._is_watched:
            self._is_watched = True
            self._serving.metrics.watch_keys(self._age)

    def _age(self) -> float:
        status = self._serving.key_status
        return 0 if status is None else status.age

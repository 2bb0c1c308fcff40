"""Keep the policies of the gateway in use up to date if policies are kept in the token store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from authotron.gateway.gateway import Gateway, LiveGateway
from authotron.net.world import World
from authotron.web.replies import Reply

if TYPE_CHECKING:  # imported at run time only if policies are kept in the token store
    from authotron.daemon.policy_follower import PolicyFollower


@define(eq=False)
class LivePolicies:
    """
    Follows changes of the policies in the token store for the gateway in use, and keeps known
    policies across a reload of the configuration.

    If the configuration does not set C{policy.store}, this object does nothing.
    """

    _serving: LiveGateway[Reply]
    _world: World
    _follower: PolicyFollower | None = field(default=None, init=False)
    _next: PolicyFollower | None = field(default=None, init=False)
    _is_watched: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._use(self._follower_of(self._serving.gateway))

    @property
    def is_needed(self) -> bool:
        """Whether the gateway in use has policies in the token store."""
        return self._follower is not None

    def _follower_of(self, gateway: Gateway[Reply]) -> PolicyFollower | None:
        policy = gateway.config.policy
        if policy is None or not policy.section.store:
            return None
        from authotron.daemon import policy_follower  # noqa: PLC0415 - only needed here

        return policy_follower.make(gateway, self._world, self._serving.metrics)

    def start(self) -> None:
        """Begin to follow the policies in the token store."""
        if self._follower is not None:
            self._follower.start()

    def stop(self) -> None:
        """Stop following the policies in the token store."""
        if self._follower is not None:
            self._follower.stop()

    async def read(self) -> None:
        """
        Open the token store, and read the policies, before the gateway answers any request.

        @raise ConfigError: the policies have problems, or the token store cannot be used.
        @raise Unavailable: the token store cannot be opened.
        """
        tokens = self._serving.gateway.tokens
        if self._follower is not None and tokens is not None:
            await tokens.store.open()
            await self._follower.take_over(None)

    async def prepare(self, gateway: Gateway[Reply], *, is_same_store: bool) -> None:
        """
        During a reload, read the policies for the new gateway, which is about to replace the
        gateway in use.

        If the new gateway has another token store, which is not open yet, or the gateway in use
        does not know the policies either, the policies are read when the new gateway is in use, and
        requests wait for them.

        @raise ConfigError: the policies in the token store have problems, or cannot be read and no
            earlier version of them is known.
        """
        self._next = self._follower_of(gateway)
        is_unknown = self._follower is not None and self._follower.known is None
        if self._next is not None and is_same_store and not is_unknown:
            await self._next.take_over(self._follower)

    def replace(self) -> None:
        """
        Follow the policies in the token store for the new gateway, which has replaced the earlier
        gateway after a reload.
        """
        self.stop()
        found, self._next = self._next, None
        self._use(found)
        self.start()

    def _use(self, found: PolicyFollower | None) -> None:
        self._follower = found
        status = self._serving.policy_status = None if found is None else found.status
        if status is not None and not self._is_watched:
            self._is_watched = True
            self._serving.metrics.watch_policies(self._version, self._age)

    def _version(self) -> float:
        status = self._serving.policy_status
        return 0 if status is None else float(status.version or 0)

    def _age(self) -> float:
        status = self._serving.policy_status
        return 0 if status is None else status.age

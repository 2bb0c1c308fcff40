"""Read the policies in a token store, check them with those of the configuration, compile them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from authotron.config import stored_policies
from authotron.config.policy import Policy
from authotron.model.errors import ConfigError, Problem
from authotron.model.policy_document import PolicyDocument
from authotron.net.world import World
from authotron.policy.policies import Policies
from authotron.tokens.bounded_store import StoreClient

NONE_STORED = (
    "the token store contains no policies; store some with `authotron policy apply`, if only an "
    "empty set with --delete"
)
"""The reason in the log if a token store never contained policies, or has lost them."""

Compile = Callable[[Policy, Policy], Policies]
"""
A function that compiles the rules and groups of a policy, of which the second argument is the part
that the configuration states.
"""


class MissingPolicies(Exception):
    """The token store contains no policies: none were ever stored, or it has lost them."""


class RefusedPolicies(Exception):
    """
    The policies in the token store cannot be used.

    @ivar state: the name of the state of the policies.
    @ivar problems: why the policies cannot be used.
    """

    def __init__(self, state: str, problems: Sequence[Problem]) -> None:
        super().__init__(state)
        self.state = state
        self.problems = problems


@frozen
class Found:
    """
    The policies that a token store contained.

    @ivar policies: the policies of the store and of the configuration, compiled together.
    """

    document: PolicyDocument
    policies: Policies


@frozen(eq=False)
class PolicyReader:
    """
    Reads the policies in a token store for a configuration.

    Checking and compiling many rules takes seconds, so a thread of its own does this.
    """

    _local: Policy
    _store: StoreClient
    _world: World
    _compile: Compile

    async def state(self) -> str:
        """
        Return the state of the policies in the token store.

        @raise Unavailable: the token store cannot be reached.
        @raise MissingPolicies: the token store contains no policies.
        """
        state = await self._store.policy_state()
        if state is None:
            raise MissingPolicies(NONE_STORED)
        return state

    async def read(self) -> Found:
        """
        Read, check and compile the policies in the token store.

        @raise Unavailable: the token store cannot be reached.
        @raise MissingPolicies: the token store contains no policies.
        @raise RefusedPolicies: the policies have problems.
        """
        document = await self._store.policies()
        if document is None:
            raise MissingPolicies(NONE_STORED)

        try:
            return await self.compiled(document)
        except ConfigError as error:
            raise RefusedPolicies(document.state, error.problems) from None

    async def compiled(self, document: PolicyDocument) -> Found:
        """
        Check and compile policies that were read, together with those of the configuration.

        @raise ConfigError: the policies have problems.
        """

        def work() -> Found:
            stored = stored_policies.decode(document)
            whole = stored_policies.together(self._local, stored)
            return Found(document, self._compile(whole, self._local))

        thread = self._world.own_thread()
        try:
            return await thread(work)
        finally:
            thread.stop()

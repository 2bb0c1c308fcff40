"""
Read the policies in a token store, and check and compile them together with the policies of the
configuration.
"""

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
A function that compiles all rules and groups of a policy; its second argument is the policy that
the configuration file alone states.
"""


class MissingPolicies(Exception):
    """
    The token store contains no policies: no policies were ever stored, or the token store has lost
    them.
    """


class RefusedPolicies(Exception):
    """
    The policies in the token store have problems, so they cannot be used.

    @ivar state: the name of the state of the stored policies: a version number and a hash.
    @ivar problems: the reasons why the policies in the token store cannot be used.
    """

    def __init__(self, state: str, problems: Sequence[Problem]) -> None:
        super().__init__(state)
        self.state = state
        self.problems = problems


@frozen
class Found:
    """
    The policies that were read from a token store.

    @ivar policies: the policies of the token store and of the configuration, compiled together.
    """

    document: PolicyDocument
    policies: Policies


@frozen(eq=False)
class PolicyReader:
    """
    Reads the policies in a token store, and combines them with the policies of a configuration.

    Checking and compiling many rules takes seconds, so this work is done in a separate thread.
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
        @raise RefusedPolicies: the policies in the token store have problems.
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
        Check and compile policies from a token store together with the policies of the
        configuration.

        @raise ConfigError: the combined policies have problems.
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

"""
Follow the policies in the token store: read the policies again when they have changed, and apply
the new version.

This module is imported only if policies are kept in the token store.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import was_cancelled
from authotron.concurrency.waiters import Waiters
from authotron.config import stored_policies
from authotron.config.policy import Policy
from authotron.daemon.compose_policy import compile_policies
from authotron.daemon.policy_reading import (
    Found,
    MissingPolicies,
    PolicyReader,
    RefusedPolicies,
)
from authotron.gateway.condition_log import ConditionLog
from authotron.gateway.decisions import DecisionCache
from authotron.gateway.gateway import Gateway
from authotron.gateway.policy import Enforcement
from authotron.gateway.policy_status import PolicyStatus
from authotron.model.errors import ConfigError, Problem, Unavailable
from authotron.model.policy_document import PolicyDocument
from authotron.net.world import World
from authotron.policy.policies import Policies
from authotron.telemetry.metrics import Metrics
from authotron.web.replies import Reply

_RETRY = 1.0
"""
Maximum number of seconds between two attempts to read the policies in the token store while no
version of them is known.
"""

_MOST_PROBLEMS = 10
"""Maximum number of problems that are logged for one version of the policies."""

_UNREACHABLE, _MISSING = "policy.store.unreachable", "policy.store.missing"
"""The names of the log events that state why the policies in the token store cannot be read."""


@define(eq=False)
class PolicyFollower:
    """
    Keeps the policies of one gateway equal to those in its token store.

    Policies stay in use as a whole until a new version has been read, checked and compiled. If the
    token store is unreachable, has lost its policies, or contains policies with a problem, nothing
    changes but the age that the status shows.

    @ivar status: the version and age of the policies, for operators.
    @ivar known: the policies from the token store that are in use, or C{None} before any were read.
    """

    _reader: PolicyReader
    _enforcement: Enforcement
    _decisions: DecisionCache[Reply]
    _recheck: float
    _clock: IReactorTime
    status: PolicyStatus
    known: PolicyDocument | None = field(default=None, init=False)
    _trouble: str | None = field(default=None, init=False)
    _refused: str | None = field(default=None, init=False)
    _refusal: str = field(default="", init=False)
    _following: Deferred[None] | None = field(default=None, init=False)
    _log = Logger()

    def start(self) -> None:
        """
        Read the policies in the token store now, unless they are known already, and then check for
        changes regularly.
        """
        if self.known is None:
            self._enforcement.first_read = Waiters()
        self._begin(0.0 if self.known is None else self._recheck)

    def stop(self) -> None:
        """
        Stop checking the token store for changed policies; requests no longer wait for the
        policies.
        """
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
        self._end_first_read()

    def _begin(self, delay: float) -> None:
        self._following = Deferred.fromCoroutine(self._follow(delay))
        self._following.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        """
        Log an unexpected exception, and continue to check the token store for changed
        policies.
        """
        if was_cancelled(failure):
            return
        self._end_first_read()
        self._log.failure(
            "looking for changed policies failed because of an internal error, trying again",
            failure,
            event="policy.store.broken",
        )
        self._begin(self._recheck)

    async def _follow(self, delay: float) -> None:
        while True:
            if delay:
                await deferLater(self._clock, delay, lambda: None)
            await self.look()
            self._end_first_read()
            delay = min(self._recheck, _RETRY) if self.known is None else self._recheck

    def _end_first_read(self) -> None:
        waiting, self._enforcement.first_read = self._enforcement.first_read, None
        if waiting is not None:
            waiting.succeed(None)

    # Reading the policies from the token store once

    async def look(self) -> None:
        """
        Apply the policies in the token store if they differ from the policies in use. If the
        policies cannot be used, log the reason, and show the reason in the status.
        """
        try:
            state = await self._reader.state()
            if self.known is not None and state == self.known.state:
                self._confirm()
            elif state != self._refused:
                self._apply(await self._reader.read())
            else:
                self._end_trouble()
                self.status.problem = self._refusal
        except Unavailable as error:
            self._note(_UNREACHABLE, str(error) or "no answer in time")
        except MissingPolicies as missing:
            self._note(_MISSING, str(missing))
        except RefusedPolicies as refused:
            self._refuse(refused)

    def _apply(self, found: Found) -> None:
        self.use(found)
        self._decisions.apply_policies()
        self._log.info(
            "policies of version {version} from the token store are in use: {rules} rules and "
            "{groups} groups, with those of the configuration",
            version=self.status.version,
            rules=len(found.policies.rules),
            groups=len(found.policies.groups),
            event="policy.store.applied",
        )
        self._confirm()

    def use(self, found: Found) -> None:
        """Set the policies of a gateway that has not answered any request yet."""
        self._enforcement.adopt(found.policies)
        self.known = found.document
        self.status.version = stored_policies.version_of(found.document.state)
        self.status.confirm()

    async def take_over(self, earlier: PolicyFollower | None) -> None:
        """
        Read the policies for a gateway that is not in use yet. If the policies cannot be read, use
        the version that the gateway in use has.

        @param earlier: the policy follower of the gateway in use, if that gateway has the same
            token store.

        @raise ConfigError: the policies in the token store cannot be read and no earlier version is
            known, or they have problems when combined with the policies of the configuration.
        """
        try:
            self.use(await self._reader.read())
        except (Unavailable, MissingPolicies, RefusedPolicies) as error:
            if earlier is None or earlier.known is None:
                problems = error.problems if isinstance(error, RefusedPolicies) else None
                raise ConfigError(problems or [Problem("policy.store", str(error))]) from None
            self.use(await self._reader.compiled(earlier.known))
            self.status.confirmed = earlier.status.confirmed

    def _confirm(self) -> None:
        """Note in the status that the policies in use are still the version in the token store."""
        self.status.confirm()
        self.status.problem = self._refused = None
        self._end_trouble()

    def _end_trouble(self) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            self._log.info(
                "the policies in the token store can be read again", event="policy.store.reached"
            )

    def _note(self, trouble: str, reason: str) -> None:
        """
        Show in the status why the policies in the token store cannot be read, and log the reason
        once.
        """
        self.status.problem = reason
        if self._trouble == trouble:
            return
        self._trouble = trouble
        if self.known is None:
            self._log.warn(
                "the policies in the token store are not known, so no request is allowed: {reason}",
                reason=reason,
                event=trouble,
            )
        else:
            self._log.warn(
                "policies of version {version}, which the token store had {age:.0f} s ago, stay in "
                "use: {reason}",
                version=self.status.version,
                age=self.status.age,
                reason=reason,
                event=trouble,
            )

    def _refuse(self, refused: RefusedPolicies) -> None:
        """Show in the status why policies are refused, and log the reason once for each version."""
        self._end_trouble()
        self._refused = refused.state
        version = stored_policies.version_of(refused.state)
        self._refusal = f"version {version} is refused: {refused.problems[0]}"
        self.status.problem = self._refusal
        problems = [str(problem) for problem in refused.problems]
        for problem in problems[:_MOST_PROBLEMS]:
            self._log.error(
                "policies of version {version} in the token store are refused; in use stays "
                "version {used}: {problem}",
                version=version,
                used="none" if self.known is None else self.status.version,
                problem=problem,
                event="policy.store.refused",
            )


_STORED = "stored"
"""
The label C{rule} of all rules in a token store: the labels of metrics come from the configuration
alone, so that their number is limited.
"""


def make(gateway: Gateway[Reply], world: World, metrics: Metrics) -> PolicyFollower:
    """Build the follower of a gateway whose configuration has C{policy.store: true}."""
    policy, enforcement, tokens = gateway.config.policy, gateway.enforcement, gateway.tokens
    assert policy is not None
    assert enforcement is not None
    assert tokens is not None

    def compile_together(whole: Policy, local: Policy) -> Policies:
        names = {each.name for each in local.rules}

        def count(rule: str) -> None:
            metrics.condition_failed(rule if rule in names else _STORED)

        return compile_policies(whole, ConditionLog(world.clock, count).failed)

    return PolicyFollower(
        PolicyReader(policy, tokens.store, world, compile_together),
        enforcement,
        gateway.decisions,
        policy.section.recheck,
        world.clock,
        PolicyStatus(world.clock.seconds),
    )

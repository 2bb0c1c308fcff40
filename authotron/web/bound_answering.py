"""
Answers requests with tokens that are bound to a key: the proof of each request is verified, and
counts once (RFC 9449).

The decision about the token is cached as for any other token. The id of a proof is stored only if
the request is allowed in all other respects, so refused requests write nothing to the token store.
The module is imported when a client first presents a token that is bound to a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import start
from authotron.gateway import bound_tokens, outcomes
from authotron.gateway.authorization import Deny, authorize
from authotron.gateway.bound_tokens import KeyCondition
from authotron.gateway.gateway import Gateway
from authotron.gateway.outcomes import Decision, Outcome
from authotron.gateway.proofs import (
    INVALID_PROOF,
    INVALID_TOKEN,
    USE_NONCE,
    OtherKey,
    Proofs,
    Values,
)
from authotron.jose.dpop import BadProof, NonceNeeded, Proof
from authotron.model.errors import PoliciesUnknown, Unavailable, UnusableFact
from authotron.model.identity import Client
from authotron.model.request import Facts
from authotron.plugin.contract import Contract
from authotron.web import replies
from authotron.web.replies import Reply

USED_BEFORE = "the proof was used before"
"""The reason in the log for the refusal if a client, or a thief, sends the same proof twice."""


class Consulted(Protocol):
    """A function that asks the authorizer about a request, if an authorizer is configured."""

    def __call__(
        self,
        contract: Contract | None,
        decision: Decision[Reply],
        facts: Callable[[], Facts],
        client: Client,
        /,
    ) -> Decision[Reply] | Deferred[Decision[Reply]]:
        """Return the decision about one request, together with the verdict of the authorizer."""


@define(eq=False)
class BoundAnswerer:
    """
    Verifies the proofs of requests with tokens that are bound to a key.

    @ivar _note: a function that counts and logs a fact of a request that cannot be used, with the
        name of the contract.
    """

    _note: Callable[[str | None, UnusableFact], None]
    _consulted: Consulted
    _log = Logger()

    def proven(
        self,
        gateway: Gateway[Reply],
        contract: Contract | None,
        decision: Decision[Reply],
        facts: Facts,
        values: Values,
        client: Client,
    ) -> Decision[Reply] | Deferred[Decision[Reply]]:
        """
        Return the decision about one request: with the proof of the request, and with the verdict
        of the authorizer, if an authorizer is configured.

        A decision that this method returns still has conditions and policies, which the caller
        applies; it allows no request that L{_may_pass} does not allow.

        @param decision: the cached decision about a token that is bound to a key.
        @param values: a function that returns all values of a header of the client's request.
        """
        found, proofs = decision.outcome.authentication, gateway.proofs
        key = bound_tokens.key_of(found)
        assert found is not None
        assert key is not None
        if proofs is None:  # a reload has removed tokens.bound since the decision was made
            return Decision(Outcome(outcomes.UNAVAILABLE), replies.UNAVAILABLE)
        proof = self._verified(proofs, contract, key, facts, values)
        if isinstance(proof, Decision):
            return proof
        outcome = Outcome(outcomes.SUCCESS, bound_tokens.proven(found))
        one = Decision(outcome, decision.reply, decision.access)
        started = start(self._used(proofs, proof, contract, one, facts, client))
        if isinstance(started, Failure):
            return self._broken(started)
        if isinstance(started, Decision):
            return started
        return started.addErrback(self._recovered)

    def _verified(
        self,
        proofs: Proofs,
        contract: Contract | None,
        key: KeyCondition,
        facts: Facts,
        values: Values,
    ) -> Proof | Decision[Reply]:
        """Return the verified proof of a request, or the decision to refuse the request."""
        try:
            return proofs.verify_bound(key, facts, values, is_own=contract is None)
        except UnusableFact as unusable:
            self._note(None if contract is None else contract.name, unusable)
            return Decision(Outcome(outcomes.BAD_HEADER), replies.UNUSABLE_FACT)
        except BadProof as bad:
            return self._refused(proofs, bad)
        except Unavailable as outage:
            return self._unavailable(outage)

    async def _used(
        self,
        proofs: Proofs,
        proof: Proof,
        contract: Contract | None,
        decision: Decision[Reply],
        facts: Facts,
        client: Client,
    ) -> Decision[Reply]:
        """
        Return the decision about a request whose proof is valid, after its id was stored; a request
        that is refused anyway stores nothing.
        """
        consulted = self._consulted(contract, decision, lambda: facts, client)
        decision = consulted if isinstance(consulted, Decision) else await consulted
        if not _may_pass(contract, decision, facts):
            # The caller of this method finds out why, and builds the reply. This reply makes sure
            # that no request passes without a stored proof, whatever the caller finds.
            return evolve(decision, reply=replies.FORBIDDEN)
        try:
            is_new = await proofs.use(proof)
        except Unavailable as outage:
            return self._unavailable(outage)
        return decision if is_new else self._refused(proofs, BadProof(USED_BEFORE))

    def _refused(self, proofs: Proofs, bad: BadProof) -> Decision[Reply]:
        """Return the decision to refuse a request because of its proof."""
        self._log.debug(
            "refused a request with a token that is bound to a key: {reason}",
            reason=str(bad),
            event="auth.proof.refused",
        )
        try:
            reply = refusal(proofs, bad)
        except Unavailable as outage:
            return self._unavailable(outage)
        return Decision(Outcome(outcomes.REFUSED), reply)

    def _unavailable(self, outage: Unavailable) -> Decision[Reply]:
        self._log.warn(
            "token store unavailable, request with a DPoP proof answered with 503: {reason}",
            reason=str(outage),
            event="store.unavailable",
        )
        return Decision(Outcome(outcomes.UNAVAILABLE), replies.UNAVAILABLE)

    def _recovered(self, failure: Failure) -> Decision[Reply]:
        """
        Return the decision to answer 500 after an unexpected failure.

        @raise CancelledError: the work was cancelled, because the client no longer waits.
        """
        if failure.check(CancelledError):
            failure.raiseException()
        return self._broken(failure)

    def _broken(self, failure: Failure) -> Decision[Reply]:
        """Log an unexpected failure, and return the decision to answer 500."""
        self._log.failure("checking a proof failed", failure, event="routes.request.broken")
        return Decision(Outcome(outcomes.BROKEN), replies.BROKEN)


def _may_pass(contract: Contract | None, decision: Decision[Reply], facts: Facts) -> bool:
    """
    Return whether conditions, policies and authorizer allow a request, without counting the
    request.
    """
    found, access = decision.outcome.authentication, decision.access
    if found is None:
        return False
    try:
        if isinstance(authorize(found, facts, is_to_gateway=contract is None), Deny):
            return False
        if access is None or contract is None or access.enforcement.observes:
            return True
        return access.rule(access.asked(facts)).allows
    except (UnusableFact, PoliciesUnknown):
        return False


def refusal(proofs: Proofs, bad: BadProof) -> Reply:
    """
    Return the 401 to a client whose proof is not accepted.

    @raise Unavailable: the proof lacks a nonce, and the nonces are not known.
    """
    if isinstance(bad, NonceNeeded):
        reply = replies.challenged(proofs.challenge(USE_NONCE))
        return replies.with_header(reply, (b"DPoP-Nonce", proofs.nonce().encode("ascii")))
    error = INVALID_TOKEN if isinstance(bad, OtherKey) else INVALID_PROOF
    return replies.challenged(proofs.challenge(error))

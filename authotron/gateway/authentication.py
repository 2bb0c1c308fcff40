"""Credentials in, identity out: a race of providers, then the augmenters of the realm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import (
    AllFailed,
    Started,
    first_success,
    none_pending,
    run,
    wait_all,
    was_cancelled,
)
from authotron.gateway.gate import Gate
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    NotConfigured,
    Rejected,
    TimedOut,
    Unavailable,
)
from authotron.model.identity import Addition, Credential, Identity
from authotron.model.naming import fold_ascii_case
from authotron.plugin import token_routing
from authotron.plugin.interfaces import (
    Affinity,
    IAugmenter,
    IJudge,
    IMayAskRemotes,
    IProvider,
)
from authotron.telemetry import logs
from authotron.telemetry.metrics import Metrics

_OWN, _LIKELY, _POSSIBLE, _FOREIGN = Affinity
"""Names of our own: to look one up in an C{Enum} takes 0.07 us, and each request needs ten."""


@define(eq=False)
class Authenticator:
    """
    Providers and augmenters put together.

    Each authentication names its provider, and keeps the identity as it was before augmenters.

    @ivar own: judges tokens of our own, in the realms of their owners; it is in no list. Of others
        it judges, beside the rest, those that it may know.
    """

    providers: Sequence[IProvider]
    augmenters: Sequence[IAugmenter]
    _clock: IReactorTime
    _metrics: Metrics
    _timeout: float
    _in_order: bool = False
    own: IJudge | None = None
    gate: Gate = field(factory=Gate)
    _rounds: Mapping[str, Sequence[Sequence[IAugmenter]]] = field(init=False, repr=False)
    _sometimes_local: AbstractSet[type] = field(init=False, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._rounds = _rounds(self.augmenters)
        able = filter(IMayAskRemotes.providedBy, self.providers)
        self._sometimes_local = frozenset(map(type, able))

    async def identify(
        self, credentials: Sequence[Credential], realm: str | None
    ) -> Authentication:
        """
        Say who sent these credentials; the first of them that is good decides.

        @param realm: ask only the providers of this realm, whatever its case.

        @raise Rejected: every provider that could know one of them has answered, and refused.
        @raise Unavailable: a provider that could know one of them did not answer and no other
            accepted it, or a required augmenter did not answer.
        @raise BadIdentity: one of them is good, and its identity must not be passed on.
        @raise NotConfigured: nobody is able to before something is configured.
        """
        reasons: list[BaseException | None] = []
        for credential in credentials:
            for judges in self._judges(credential, realm, reasons):
                ask = partial(self._authenticate, credential)
                try:
                    found = await first_success(self._clock, judges, ask, in_order=self._in_order)
                except AllFailed as failed:
                    reasons += failed.reasons
                    continue
                if realm is not None and not _is_of(found.identity, realm):
                    reasons.append(Rejected("an identity of another realm"))
                    continue
                return await self._enriched(found)
        raise _summary(reasons)

    def _judges(
        self, credential: Credential, realm: str | None, reasons: list[BaseException | None]
    ) -> tuple[Sequence[IJudge], ...]:
        """
        Group the judges to ask together: first those that need no remote, then the others.

        @param reasons: gets why providers are not asked.
        """
        own = self.own
        likeness = _FOREIGN if own is None else own.affinity(credential)
        if likeness is _OWN and own is not None:
            return ([own],)
        fitting = self._fitting(credential, realm, reasons)
        if len(fitting) == 1 and likeness is not _POSSIBLE:
            return (fitting,)
        local: list[IJudge] = []
        remote: list[IJudge] = []
        for provider in fitting:
            (local if self._is_local(provider, credential) else remote).append(provider)
        if likeness is _POSSIBLE and own is not None:
            remote.append(own)
        return local, remote

    def _is_local(self, provider: IProvider, credential: Credential) -> bool:
        try:
            if type(provider) not in self._sometimes_local:
                return provider.local
            return IMayAskRemotes(provider).is_local(credential)
        except Exception:  # noqa: BLE001 - the defect of one provider is not that of the others
            self._note_failure(provider, Failure(), 0.0)
            return False

    def _fitting(
        self, credential: Credential, realm: str | None, reasons: list[BaseException | None]
    ) -> list[IProvider]:
        """
        Select the providers of the scheme and realm that could know the credential by its shape.

        A credential that one provider owns is judged by no other, even if the owner is of another
        realm. A credential that names some providers goes to these. If no provider could know it,
        all judge it, unless it is a JWT that names its issuer: that is not shown to strangers.

        @param reasons: gets why providers are not asked.
        """
        is_owned = False
        owners, named, possible, strangers = [], [], [], []
        for provider in self.providers:
            if provider.scheme != credential.scheme:
                continue
            may_judge = realm is None or _is_of(provider, realm)
            affinity: Affinity | Failure
            try:
                affinity = provider.affinity(credential)
            except Exception:  # noqa: BLE001 - the defect of one provider is not that of the others
                affinity = Failure()
            if not isinstance(affinity, Affinity):
                failure = _failure(affinity)
                self._note_failure(provider, failure, 0.0)
                reasons += [failure.value] * may_judge
                continue
            is_owned = is_owned or affinity is _OWN
            if not may_judge:
                continue
            if affinity is _POSSIBLE:
                possible.append(provider)
            elif affinity is _LIKELY:
                named.append(provider)
            elif affinity is _OWN:
                owners.append(provider)
            else:
                strangers.append(provider)
        if is_owned:
            return owners
        return named or possible or self._strangers(credential, strangers, reasons)

    def _strangers(
        self,
        credential: Credential,
        eligible: list[IProvider],
        reasons: list[BaseException | None],
    ) -> list[IProvider]:
        """Select the providers to ask about a credential that by its shape none could know."""
        if not (eligible and token_routing.names_issuer(credential)):
            return eligible
        reason = "no provider is configured for the issuer, or the purpose, of the JWT"
        if logs.log.writes_debug:
            self._log.debug(
                "JWT shown to no provider: {reason}; `accepts: any` shows it to a provider all the "
                "same, `typ` accepts other purposes than access",
                reason=reason,
                event="auth.issuer.unknown",
            )
        reasons.append(Rejected(reason))
        return []

    def _authenticate(self, credential: Credential, provider: IJudge) -> Started[Authentication]:
        return run(
            self._clock,
            self._timeout,
            provider.authenticate,
            credential,
            self._authenticated,
            provider,
        )

    def _authenticated(
        self, outcome: Authentication | Failure, took: float, provider: IJudge
    ) -> Authentication | Failure:
        if not isinstance(outcome, Authentication):
            failure = _failure(outcome)
            self._note_failure(provider, failure, took)
            return failure
        self._metrics.provider_answered(provider, "success", took)
        if logs.log.writes_debug:
            self._note_answer(provider, "success", "", took)
        return outcome if outcome.provider else outcome._replace(provider=provider.name)

    def _note_failure(self, provider: IJudge, failure: Failure, took: float) -> None:
        result, label = _result(failure)
        self._metrics.provider_answered(provider, label, took)
        if result == "broken":
            self._log.failure(
                "{provider} is broken",
                failure,
                provider=provider.name,
                event="auth.provider.broken",
            )
        elif result in _OUTAGES or logs.log.writes_debug:
            self._note_answer(provider, result, str(failure.value), took)

    def _note_answer(self, provider: IJudge, result: str, reason: str, took: float) -> None:
        tell = self._log.warn if result in _OUTAGES else self._log.debug
        tell(
            "provider {provider}: {result}{because} ({milliseconds} ms)",
            provider=provider.name,
            result=result,
            because=reason and f", {reason}",
            milliseconds=round(took * 1000, 1),
            event=f"auth.provider.{result}",
        )

    async def _enriched(self, found: Authentication) -> Authentication:
        """
        Admit an identity, and add what the augmenters of its realm know.

        @raise Unavailable: a required augmenter failed.
        @raise BadIdentity: it must not be passed on, or with what they know it is too large.
        """
        gate = self.gate
        identity = gate.admit(found.identity, found.provider)
        is_plain = identity is found.identity
        if not is_plain:
            found = found._replace(identity=identity)
        additions: list[Addition] = []  # C{list[Addition]()} takes 0.4 us
        for augmenters in self._rounds.get(identity.realm, ()):
            identity = found.identity
            asked = [self._augment(augmenter, identity) for augmenter in augmenters]
            if not none_pending(asked):
                answers = await wait_all(asked)
            else:
                answers = asked
            for augmenter, answer in zip(augmenters, answers, strict=True):
                if isinstance(answer, Failure):
                    addition = self._left_out(augmenter, answer)
                else:
                    addition = answer
                additions.append(addition)
                found = found.enriched(addition)
            if found.identity is not identity and not (is_plain and gate.are_plain(additions)):
                found = found._replace(identity=gate.admit(found.identity, found.provider))
                is_plain = False
        return found if found.restriction is None else found.restricted()

    def _augment(self, augmenter: IAugmenter, identity: Identity) -> Started[Addition]:
        return run(
            self._clock,
            augmenter.timeout or self._timeout,
            augmenter.augment,
            identity,
            self._augmented,
            augmenter,
        )

    def _augmented(
        self, outcome: Addition | Failure, took: float, augmenter: IAugmenter
    ) -> Addition | Failure:
        if not isinstance(outcome, Addition):
            failure = _failure(outcome)
            if not was_cancelled(failure):
                self._metrics.augmenter_answered(augmenter, "error", took)
            return failure
        self._metrics.augmenter_answered(augmenter, "success", took)
        if logs.log.writes_debug:
            self._note_addition(augmenter, outcome, took)
        return outcome

    def _left_out(self, augmenter: IAugmenter, failure: Failure) -> Addition:
        """
        Nothing, and not to be remembered.

        @raise Unavailable: nobody may go on without this augmenter.
        """
        if failure.check(Unavailable):
            self._log.warn(
                "augmenter {augmenter} failed: {reason}",
                augmenter=augmenter.name,
                reason=str(failure.value),
                event="augmenters.augmenter.failed",
            )
        else:
            self._log.failure(
                "augmenter {augmenter} is broken",
                failure,
                augmenter=augmenter.name,
                event="augmenters.augmenter.broken",
            )
        if augmenter.required:
            raise Unavailable(f"the required augmenter {augmenter.name} failed")
        return Addition(fresh_until=0)

    def _note_addition(self, augmenter: IAugmenter, addition: Addition, took: float) -> None:
        self._log.debug(
            "augmenter {augmenter}: roles {roles}, attributes {attributes} ({milliseconds} ms)",
            augmenter=augmenter.name,
            roles=list(addition.roles),
            attributes=dict(addition.attributes),
            milliseconds=round(took * 1000, 1),
            event="augmenters.augmenter.added",
        )


def _rounds(augmenters: Sequence[IAugmenter]) -> dict[str, list[list[IAugmenter]]]:
    """For each realm who is asked together: first all that need not see what others add."""
    rounds: dict[str, list[list[IAugmenter]]] = {}
    for augmenter in augmenters:
        mine = rounds.setdefault(augmenter.realm, [[]])
        if augmenter.runs_last:
            mine.append([augmenter])
        else:
            mine[0].append(augmenter)
    return {realm: [*filter(None, mine)] for realm, mine in rounds.items()}


_RESULTS: tuple[tuple[type[BaseException], str, str], ...] = (
    (CancelledError, "abandoned", "abandoned"),
    (TimedOut, "timeout", "timeout"),  # before Unavailable, which it is, too
    (Rejected, "refused", "error"),
    (Unavailable, "unavailable", "error"),
    (NotConfigured, "unavailable", "error"),
)
"""What may come of a question, its name in the log, and its label C{result} in the metrics."""

_OUTAGES = frozenset({"unavailable", "timeout"})


def _failure(outcome: object) -> Failure:
    """Why a part gave no answer; one of another kind is a defect."""
    if isinstance(outcome, Failure):
        return outcome
    return Failure(TypeError(f"answered by {type(outcome).__name__}"))


def _result(failure: Failure) -> tuple[str, str]:
    """What came of a question that no identity was the answer to, in the log and the metrics."""
    for kind, name, label in _RESULTS:
        if failure.check(kind):
            return name, label
    return "broken", "error"


def _is_of(part: IProvider | Identity, realm: str) -> bool:
    """Whether it fits the realm that is asked for, in upper or lower case of ASCII letters."""
    return fold_ascii_case(part.realm) == fold_ascii_case(realm)


def _summary(reasons: Sequence[BaseException | None]) -> Exception:
    """
    A refusal if every provider that could know has answered, else an outage.

    The provider that did not answer might have accepted the credential.
    """
    for reason in reasons:
        if isinstance(reason, NotConfigured):
            return reason
    if all(isinstance(reason, Rejected) for reason in reasons):
        told = "; ".join(dict.fromkeys(map(str, reasons)))
        return Rejected(told or "no provider judges such credentials")
    return Unavailable("a provider that could know the credentials did not answer")

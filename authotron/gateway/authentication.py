"""Authenticates credentials: races the providers, then asks the augmenters of the realm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache, partial
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron.concurrency.racing import (
    AllFailed,
    Started,
    first_success,
    run,
    wait_all,
    was_cancelled,
)
from authotron.gateway.basic_halves import with_tokens
from authotron.gateway.identity_check import IdentityCheck
from authotron.model.authentication import Authentication
from authotron.model.carriers import Carrier
from authotron.model.errors import (
    InsufficientScope,
    NotConfigured,
    Rejected,
    TimedOut,
    Unavailable,
)
from authotron.model.identity import NOTHING_NEW, Addition, Credential, Identity
from authotron.model.naming import fold_ascii_case
from authotron.plugin import results, token_routing
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
"""
The members of C{Affinity} are constants of the module: to look up a member in the class takes 0.07
us, and a request needs ten members.
"""


_DPOP = "dpop"
"""The scheme under which clients present tokens that are bound to a key (RFC 9449)."""

_AUTHORIZATION: Sequence[Carrier | None] = (None,)
"""Where most providers look for credentials: only in the header C{Authorization}."""


def _named(carrier: Carrier | None) -> str:
    return "Authorization" if carrier is None else str(carrier)


def _is_known(_credential: Credential) -> bool:
    """Return false: without a token store no credential is taken for an API token."""
    return False


@define(eq=False)
class Authenticator:
    """
    Authenticates clients with the configured providers, and augments their identities.

    The result of each authentication contains the name of the provider that accepted the
    credential, and the identity as it was before augmenters added to it.

    @ivar own: the gateway's own provider, which authenticates API tokens in the realms of their
        owners, and is not contained in C{providers}. The provider C{own} is also asked about a
        bearer token that does not look like an API token, if the token store may contain this
        token.
    @ivar exchanged: the gateway's own provider of exchanged tokens, if clients may exchange their
        credentials; like C{own} it is not contained in C{providers}.
    @ivar _is_unknown: whether the gateway has not reached the token store since its start; a
        credential that no provider accepts or rejects may then still be a valid API token.
    @ivar carriers: for each provider that does not look for credentials in the header
        C{Authorization} alone, by the C{id} of the provider, the parts of a request in which it
        looks; see L{Credential.carrier}.
    @ivar name_token: a function that gives the token of a client an id by which the token can be
        revoked, if the token has no id of its own, or C{None} if tokens cannot be revoked by id.
    @ivar identity_check: checks each identity that a provider or augmenter returns.
    @ivar accepts_proofs: whether the configuration allows tokens that are bound to a key, so that
        credentials of the scheme C{DPoP} are accepted.
    @ivar outages: why the last call of a provider or augmenter got no answer, by the C{id} of the
        plugin; a call with an answer removes the entry.
    """

    providers: Sequence[IProvider]
    augmenters: Sequence[IAugmenter]
    _clock: IReactorTime
    _metrics: Metrics
    _timeout: float
    _in_order: bool = False
    own: IJudge | None = None
    _is_unknown: Callable[[Credential], bool] = _is_known
    identity_check: IdentityCheck = field(factory=IdentityCheck)
    carriers: Mapping[int, Sequence[Carrier | None]] = field(factory=dict, repr=False)
    exchanged: IJudge | None = None
    name_token: Callable[[Authentication, Credential], Authentication] | None = None
    accepts_proofs: bool = False
    outages: dict[int, str] = field(factory=dict, init=False, repr=False)
    _rounds: Mapping[str, Sequence[Sequence[IAugmenter]]] = field(init=False, repr=False)
    _sometimes_local: AbstractSet[type] = field(init=False, repr=False)
    _halves: Sequence[Carrier] = field(init=False, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._rounds = _rounds(self.augmenters)
        able = filter(IMayAskRemotes.providedBy, self.providers)
        self._sometimes_local = frozenset(map(type, able))
        every = dict.fromkeys(chain.from_iterable(self.carriers.values()))
        self._halves = [each for each in every if each is not None and each.kind == "basic"]

    async def identify(
        self, credentials: Sequence[Credential], realm: str | None, *, is_stated: bool = False
    ) -> Authentication:
        """
        Authenticate the client that sent some credentials; the result is that of the first
        credential that a provider accepts.

        @param realm: the realm whose providers alone are asked, in any case of letters.
        @param is_stated: whether the client only names the credentials in a request, for example to
            revoke a token, and does not authenticate by them; if so, no proof of a bound token is
            needed.

        @raise Rejected: every provider that could know a credential has refused it.
        @raise Unavailable: a provider that could know a credential did not answer and no other
            provider accepted it, or a required augmenter did not answer.
        @raise BadIdentity: a credential was accepted, but its identity must not be passed on.
        @raise NotConfigured: a provider lacks configuration that it needs.
        """
        reasons: list[BaseException | None] = []
        for presented in self.with_tokens(credentials) if self._halves else credentials:
            is_dpop = presented.scheme == _DPOP
            credential = self._as_bearer(presented) if is_dpop else presented
            for group in self._groups(credential, realm, reasons):
                ask = partial(self._authenticate, credential)
                try:
                    found = await first_success(self._clock, group, ask, in_order=self._in_order)
                except AllFailed as failed:
                    reasons += failed.reasons
                    continue
                if realm is not None and not _is_in_realm(found.identity, realm):
                    reasons.append(Rejected("the identity is not of the requested realm"))
                    continue
                if self.name_token is not None:
                    found = self.name_token(found, credential)
                token = found.token
                is_bound = is_dpop or (token is not None and token.binding is not None)
                if is_bound and not is_stated:
                    try:
                        found = _bound_tokens().bound(found, presented)
                    except Rejected as rejected:
                        reasons.append(rejected)
                        continue
                return await self._augment_all(found)
        raise _combine(reasons)

    def with_tokens(self, credentials: Sequence[Credential]) -> Sequence[Credential]:
        """
        Return the given credentials, and in addition the tokens in halves of Basic credentials.

        @raise Rejected: user name and password are two different tokens.
        """
        if not self._halves:
            return credentials
        return with_tokens(credentials, self._halves, self._judges_at)

    def would_ask(self, credential: Credential, realm: str | None) -> list[IJudge]:
        """
        Return the providers that may know a credential, in the order in which groups of them are
        asked.
        """
        if credential.scheme == _DPOP:
            credential = self._as_bearer(credential)
        return [each for group in self._groups(credential, realm, []) for each in group]

    def _as_bearer(self, credential: Credential) -> Credential:
        """
        Return a token under the scheme C{DPoP} as the bearer token that providers verify, if the
        configuration allows such tokens.
        """
        if not self.accepts_proofs:
            return credential
        as_presented: Callable[[Credential], Credential] = _bound_tokens().as_presented
        return as_presented(credential)

    def _groups(
        self, credential: Credential, realm: str | None, reasons: list[BaseException | None]
    ) -> tuple[Sequence[IJudge], ...]:
        """
        Group the providers that are asked at the same time: first those that call no remote
        service.

        @param reasons: receives the reasons for which providers are not asked.
        """
        own = self.own
        affinity = _FOREIGN if own is None else own.affinity(credential)
        exchanged = self.exchanged
        if exchanged is not None and exchanged.affinity(credential) is _OWN:
            own, affinity = exchanged, _OWN
        looks = not self.carriers or self._looks_at(own, credential.carrier)
        if affinity is _OWN and own is not None:
            if looks:
                return ([own],)
            carrier = _named(credential.carrier)
            if own is exchanged:
                reasons.append(Rejected(f"exchanged tokens do not count in {carrier}"))
            else:
                reasons.append(Rejected(f"API tokens do not count in {carrier}"))
            return ()
        fitting = self._candidates(credential, realm, reasons)
        if len(fitting) == 1 and not (affinity is _POSSIBLE and looks):
            return (fitting,)
        local: list[IJudge] = []
        remote: list[IJudge] = []
        for provider in fitting:
            (local if self._is_local(provider, credential) else remote).append(provider)
        if affinity is _POSSIBLE and own is not None and looks:
            remote.append(own)
        elif not (fitting or reasons) and looks and self._is_unknown(credential):
            reasons.append(Unavailable("the token store was not reached since the start"))
        return local, remote

    def _is_local(self, provider: IProvider, credential: Credential) -> bool:
        try:
            if type(provider) not in self._sometimes_local:
                return provider.local
            return IMayAskRemotes(provider).is_local(credential)
        except Exception:  # noqa: BLE001 - an exception in one provider must not affect the others
            self._log_failure(provider, Failure(), 0.0)
            return False

    def _candidates(
        self, credential: Credential, realm: str | None, reasons: list[BaseException | None]
    ) -> list[IProvider]:
        """
        Select the providers of a scheme and realm that may accept a credential of the given shape.

        A credential that one provider claims as its own is passed to no other provider, even if
        that one is of another realm. A credential that names providers, such as a JWT with their
        issuer, is passed to these providers only. If the shape of a credential fits no provider,
        all providers are asked, unless the credential is a JWT that names its issuer.

        @param reasons: receives the reasons for which providers are not asked.
        """
        is_owned = False
        owners, named, possible, foreign = [], [], [], []
        for provider in self._looking_at(credential.carrier):
            if provider.scheme != credential.scheme:
                continue
            may_judge = realm is None or _is_in_realm(provider, realm)
            affinity: Affinity | Failure
            try:
                affinity = provider.affinity(credential)
            except Exception:  # noqa: BLE001 - an exception in one provider must not affect the others
                affinity = Failure()
            if not isinstance(affinity, Affinity):
                failure = _as_failure(affinity)
                self._log_failure(provider, failure, 0.0)
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
                foreign.append(provider)
        if is_owned:
            return owners
        return named or possible or self._candidates_by_scheme(credential, foreign, reasons)

    def _candidates_by_scheme(
        self,
        credential: Credential,
        eligible: list[IProvider],
        reasons: list[BaseException | None],
    ) -> list[IProvider]:
        """Select the providers to ask about a credential whose shape no provider recognises."""
        if credential.carrier in self._halves:
            return []  # The text is more likely one half of a user name and password.
        if not (eligible and token_routing.names_issuer(credential)):
            return eligible
        reason = token_routing.why_strange(credential, eligible)
        if logs.log.writes_debug:
            self._log.debug(
                "no provider was asked about the JWT: {reason}",
                reason=reason,
                event="auth.issuer.unknown",
            )
        reasons.append(Rejected(reason))
        return []

    def looks_at(self, judge: IJudge | None) -> Sequence[Carrier | None]:
        """
        Return the parts of a request in which a provider looks for credentials; C{None} is
        C{Authorization}.
        """
        return self.carriers.get(id(judge), _AUTHORIZATION)

    def _looks_at(self, judge: IJudge | None, carrier: Carrier | None) -> bool:
        return carrier in self.looks_at(judge)

    def _looking_at(self, carrier: Carrier | None) -> Sequence[IProvider]:
        """Return the providers that look for credentials in a given part of a request."""
        if not self.carriers:
            return self.providers
        return [each for each in self.providers if self._looks_at(each, carrier)]

    def _judges_at(self, carrier: Carrier) -> Sequence[IJudge]:
        """
        Return the providers, C{own} included, that look for tokens in one half of a Basic
        credential.
        """
        own = self.own
        mine = [own] if own is not None and self._looks_at(own, carrier) else []
        return [*mine, *self._looking_at(carrier)]

    def _authenticate(self, credential: Credential, provider: IJudge) -> Started[Authentication]:
        return run(
            self._clock,
            self._timeout,
            provider.authenticate,
            credential,
            self._provider_done,
            provider,
        )

    def _provider_done(
        self, outcome: Authentication | Failure, took: float, provider: IJudge
    ) -> Authentication | Failure:
        # The gateway's own providers are no plugins, and return identities of many realms.
        if not (isinstance(outcome, Failure) or provider is self.own or provider is self.exchanged):
            wrong = results.check_authentication(outcome, provider)
            if wrong is not None:
                outcome = Failure(wrong)
        if isinstance(outcome, Failure):
            self._log_failure(provider, outcome, took)
            return outcome
        if self.outages:
            self.outages.pop(id(provider), None)
        self._metrics.provider_answered(provider, "success", took)
        if logs.log.writes_debug:
            self._log_answer(provider, "success", "", took)
        return outcome if outcome.provider else outcome._replace(provider=provider.name)

    def _log_failure(self, provider: IJudge, failure: Failure, took: float) -> None:
        result, label = _classify(failure)
        self._metrics.provider_answered(provider, label, took)
        if result in _OUTAGES:
            self.outages[id(provider)] = str(failure.value)
        elif failure.check(Rejected):
            self.outages.pop(id(provider), None)
        if result == "broken":
            self._log.failure(
                "provider {provider} is broken{because}",
                failure,
                provider=provider.name,
                because=_because(failure),
                event="auth.provider.broken",
            )
        elif result in _OUTAGES or logs.log.writes_debug:
            self._log_answer(provider, result, str(failure.value), took)

    def _log_answer(self, provider: IJudge, result: str, reason: str, took: float) -> None:
        tell = self._log.warn if result in _OUTAGES else self._log.debug
        tell(
            "provider {provider}: {result}{because} ({milliseconds} ms)",
            provider=provider.name,
            result=result,
            because=reason and f", {reason}",
            milliseconds=round(took * 1000, 1),
            event=f"auth.provider.{result}",
        )

    async def _augment_all(self, found: Authentication) -> Authentication:
        """
        Check an identity, and add the roles and attributes of the augmenters of its realm.

        @raise Unavailable: a required augmenter failed.
        @raise BadIdentity: the identity must not be passed on, or becomes too large.
        """
        identity_check = self.identity_check
        if found.token is not None and found.token.actors:
            found = found._replace(token=identity_check.admit_actors(found.token))
        identity = identity_check.admit(found.identity, found.provider)
        is_plain = identity is found.identity
        if not is_plain:
            found = found._replace(identity=identity)
        grown = 0 if is_plain else None
        for augmenters in self._rounds.get(identity.realm, ()):
            identity = found.identity
            started: list[Started[Addition]] = []
            has_pending = False
            for augmenter in augmenters:
                outcome = self._augment(augmenter, identity)
                # A call of C{is_pending} would take 0.1 us longer.
                has_pending = has_pending or type(outcome) is Deferred
                started.append(outcome)
            answers: Sequence[Any] = await wait_all(started) if has_pending else started
            for place, answer in enumerate(answers):
                if answer is NOTHING_NEW:
                    continue
                addition: Addition = answer
                if isinstance(answer, Failure):
                    addition = self._replace_failed(augmenters[place], answer)
                before, found = found, found.enriched(addition)
                if grown is not None and found.identity is not before.identity:
                    grown = identity_check.grown(grown, addition)
            if grown is None and found.identity is not identity:
                found = found._replace(
                    identity=identity_check.admit(found.identity, found.provider)
                )
        return found if found.restriction is None else found.restricted()

    def _augment(self, augmenter: IAugmenter, identity: Identity) -> Started[Addition]:
        return run(
            self._clock,
            augmenter.timeout or self._timeout,
            augmenter.augment,
            identity,
            self._augmenter_done,
            augmenter,
        )

    def _augmenter_done(
        self, outcome: Addition | Failure, took: float, augmenter: IAugmenter
    ) -> Addition | Failure:
        if not isinstance(outcome, Failure):
            wrong = results.check_addition(outcome)
            if wrong is None:
                if self.outages:
                    self.outages.pop(id(augmenter), None)
                self._metrics.augmenter_answered(augmenter, "success", took)
                if logs.log.writes_debug:
                    self._log_addition(augmenter, outcome, took)
                return outcome
            outcome = Failure(wrong)
        if not was_cancelled(outcome):
            self._metrics.augmenter_answered(augmenter, "error", took)
        if outcome.check(Unavailable):
            self.outages[id(augmenter)] = str(outcome.value)
        return outcome

    def _replace_failed(self, augmenter: IAugmenter, failure: Failure) -> Addition:
        """
        If an augmenter failed, return an addition without roles and attributes; the decision that
        results from it is not cached.

        @raise Unavailable: the augmenter that failed is required.
        """
        if failure.check(Unavailable):
            self._log.warn(
                "augmenter {augmenter_name} failed: {error}",
                augmenter_name=augmenter.name,
                augmenter_type=augmenter.type,
                realm=augmenter.realm,
                error=str(failure.value),
                event="auth.augmenter.failed",
            )
        else:
            self._log.failure(
                "augmenter {augmenter_name} is broken{because}",
                failure,
                because=_because(failure),
                augmenter_name=augmenter.name,
                augmenter_type=augmenter.type,
                realm=augmenter.realm,
                error=type(failure.value).__name__,
                event="auth.augmenter.failed",
            )
        if augmenter.required:
            raise Unavailable(f"the required augmenter {augmenter.name} failed")
        return Addition(fresh_until=0)

    def _log_addition(self, augmenter: IAugmenter, addition: Addition, took: float) -> None:
        self._log.debug(
            "augmenter {augmenter}: roles {roles}, attributes {attributes} ({milliseconds} ms)",
            augmenter=augmenter.name,
            roles=list(addition.roles),
            attributes=dict(addition.attributes),
            milliseconds=round(took * 1000, 1),
            event="augmenters.augmenter.added",
        )


@cache
def _bound_tokens() -> ModuleType:
    """Import the module for bound tokens when a client presents the first bound token."""
    return import_module("authotron.gateway.bound_tokens")


def _rounds(augmenters: Sequence[IAugmenter]) -> dict[str, list[list[IAugmenter]]]:
    """Group the augmenters of each realm: first all augmenters that do not depend on others."""
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
    # TimedOut comes before Unavailable in this list, because TimedOut is a subclass of Unavailable,
    # and the first class that matches the exception is used.
    (TimedOut, "timeout", "timeout"),
    (Rejected, "refused", "error"),
    (Unavailable, "unavailable", "error"),
    (NotConfigured, "unavailable", "error"),
)
"""
The types of exceptions with which providers fail, each with its name in the log, and with the value
of the label C{result} in the metrics.
"""

_OUTAGES = frozenset({"unavailable", "timeout"})


def _as_failure(outcome: object) -> Failure:
    """
    Return the failure of a plugin; if the plugin returned a result of the wrong type, the failure
    is a C{TypeError}.
    """
    return outcome if isinstance(outcome, Failure) else Failure(results.wrong_type(outcome))


def _because(failure: Failure) -> str:
    """
    Return the text of an error if the gateway itself raised it; the text of any other error is not
    returned, because it may contain a secret.
    """
    is_ours = failure.check(results.WrongResult, results.OtherRealm)
    return f": {failure.value}" if is_ours else ""


def _classify(failure: Failure) -> tuple[str, str]:
    """Return the name of a failure for the log, and its label for the metrics."""
    for kind, name, label in _RESULTS:
        if failure.check(kind):
            return name, label
    return "broken", "error"


def _is_in_realm(part: IProvider | Identity, realm: str) -> bool:
    """
    Return whether a provider or an identity belongs to C{realm}; upper and lower case of ASCII
    letters are equal.
    """
    return fold_ascii_case(part.realm) == fold_ascii_case(realm)


def _combine(reasons: Sequence[BaseException | None]) -> Exception:
    """
    Combine the errors of all providers to one error, which is a refusal only if every provider has
    refused the credential.

    If a provider did not answer, the result is an outage and not a refusal, because that provider
    might have accepted the credential.
    """
    for reason in reasons:
        if isinstance(reason, NotConfigured):
            return reason
    if not all(isinstance(reason, (Rejected, results.OtherRealm)) for reason in reasons):
        return Unavailable("a provider that could know the credentials did not answer")
    for reason in reasons:
        if isinstance(reason, results.OtherRealm):
            return reason
    refusals = "; ".join(dict.fromkeys(map(str, reasons)))
    if any(isinstance(reason, InsufficientScope) for reason in reasons):
        return InsufficientScope(refusals)
    return Rejected(refusals or "no provider accepts credentials of this kind")

"""Credentials in, identity out: a race of providers, then the augmenters of the realm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from attrs import define
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from authotron import logs
from authotron.augmenters import IAugmenter
from authotron.errors import NotConfigured, Rejected, TimedOut, Unavailable
from authotron.identity import Addition, Credential, Identity
from authotron.metrics import Metrics
from authotron.providers import Affinity, IProvider
from authotron.racing import AllFailed, everyone, first_success, settled, within


@define(eq=False)
class Authority:
    """
    Providers and augmenters put together.

    Each identity says which provider it is from, and keeps what it was before it was enriched.

    @ivar challenge: what to tell those who did not get in.
    @ivar own: judges tokens of our own, in the realms of their owners; it is in no list. Of others
        it judges, beside the rest, those that it may know.
    """

    providers: Sequence[IProvider]
    augmenters: Sequence[IAugmenter]
    challenge: str
    _clock: IReactorTime
    _metrics: Metrics
    _timeout: float
    _in_order: bool = False
    own: IProvider | None = None
    _log = Logger()

    async def identify(self, credentials: Sequence[Credential], realm: str | None) -> Identity:
        """
        Say who sent these credentials; the first of them that is good decides.

        @param realm: ask only the providers of this realm, whatever its case.

        @raise Rejected: none of them is good.
        @raise Unavailable: nobody who could have judged them was able to, or a required augmenter
            was not.
        @raise NotConfigured: nobody is able to before something is configured.
        """
        reasons: list[BaseException | None] = []
        for credential in credentials:
            for judges in self._judges(credential, realm):
                try:
                    identity = await self._ask(judges, credential)
                except AllFailed as failed:
                    reasons += failed.reasons
                    continue
                if realm is not None and identity.realm.lower() != realm.lower():
                    reasons.append(Rejected("an identity of another realm"))
                    continue
                return await self.augmented(identity)
        raise _summary(reasons)

    def _judges(self, credential: Credential, realm: str | None) -> Iterator[list[IProvider]]:
        """Those to ask together: first the ones that need not ask anybody, then the others."""
        own = self.own.affinity(credential) if self.own is not None else Affinity.FOREIGN
        if self.own is not None and own is Affinity.OWN:
            yield [self.own]
            return
        eligible = [
            provider
            for provider in self.providers
            if provider.scheme == credential.scheme
            and (realm is None or provider.realm.lower() == realm.lower())
        ]
        fitting = _routed(eligible, self.providers, credential)
        yield [provider for provider in fitting if provider.local]
        remote = [provider for provider in fitting if not provider.local]
        if self.own is not None and own is Affinity.POSSIBLE:
            remote.append(self.own)
        yield remote

    async def _ask(self, judges: Sequence[IProvider], credential: Credential) -> Identity:
        attempts = [partial(self._attempt, judge, credential) for judge in judges]
        return await first_success(self._clock, attempts, in_order=self._in_order)

    async def _attempt(self, provider: IProvider, credential: Credential) -> Identity:
        began, result, reason = self._clock.seconds(), "success", ""
        try:
            identity = await within(self._clock, self._timeout, provider.authenticate(credential))
        except CancelledError:
            result = "abandoned"
            raise
        except (Rejected, Unavailable, NotConfigured) as known:
            result, reason = _label(known), str(known)
            raise
        except Exception:  # only to say so: a defect of one part must not stay silent
            result = "broken"
            self._log.failure(
                "{provider} is broken", provider=provider.name, event="auth.provider.broken"
            )
            raise
        finally:
            self._note(provider, result, reason, self._clock.seconds() - began)
        return identity if identity.provider else identity.but(provider=provider.name)

    def _note(self, provider: IProvider, result: str, reason: str, took: float) -> None:
        label = "error" if result in {"refused", "unavailable", "broken"} else result
        self._metrics.provider_answered(provider, label, took)
        outage = result in {"unavailable", "timeout"}
        if result == "broken":
            return  # told already, and louder
        if not outage and not logs.log.tells("debug"):
            return
        tell = self._log.warn if outage else self._log.debug
        tell(
            "provider {provider}: {result}{because} ({milliseconds} ms)",
            provider=provider.name,
            result=result,
            because=reason and f", {reason}",
            milliseconds=round(took * 1000, 1),
            event=f"auth.provider.{result}",
        )

    async def augmented(self, identity: Identity) -> Identity:
        """
        The same identity with what the augmenters of its realm know.

        @raise Unavailable: a required augmenter failed.
        """
        bare = identity
        mine = [augmenter for augmenter in self.augmenters if augmenter.realm == identity.realm]
        at_once = [augmenter for augmenter in mine if not augmenter.runs_last]
        for addition in await self._additions(at_once, identity):
            identity = identity.enriched(addition)
        for augmenter in mine:
            if augmenter.runs_last:
                identity = identity.enriched(await self._augment(augmenter, identity))
        narrowed = identity.narrowed()
        return narrowed if narrowed is bare else narrowed.but(bare=bare)

    async def _additions(
        self, augmenters: Sequence[IAugmenter], identity: Identity
    ) -> list[Addition]:
        additions = await everyone([self._augment(each, identity) for each in augmenters])
        for addition in additions:
            if isinstance(addition, Failure):
                addition.raiseException()
        return [addition for addition in additions if isinstance(addition, Addition)]

    async def _augment(self, augmenter: IAugmenter, identity: Identity) -> Addition:
        began, limit = self._clock.seconds(), augmenter.timeout or self._timeout
        outcome = await settled(self._clock, limit, augmenter.augment(identity))
        return self._addition(augmenter, outcome, self._clock.seconds() - began)

    def _addition(
        self, augmenter: IAugmenter, outcome: Addition | Failure, took: float
    ) -> Addition:
        """What an augmenter said; nothing, not to be remembered, where it failed."""
        failed = isinstance(outcome, Failure)
        self._metrics.augmenter_answered(augmenter, "error" if failed else "success", took)
        if not isinstance(outcome, Failure):
            if logs.log.tells("debug"):
                self._note_addition(augmenter, outcome, took)
            return outcome
        self._note_failure(augmenter, outcome)
        if augmenter.required:
            raise Unavailable(f"the required augmenter {augmenter.name} failed")
        return Addition(fresh_until=0)

    def _note_failure(self, augmenter: IAugmenter, failure: Failure) -> None:
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

    def _note_addition(self, augmenter: IAugmenter, addition: Addition, took: float) -> None:
        self._log.debug(
            "augmenter {augmenter}: roles {roles}, attributes {attributes} ({milliseconds} ms)",
            augmenter=augmenter.name,
            roles=list(addition.roles),
            attributes=dict(addition.attributes),
            milliseconds=round(took * 1000, 1),
            event="augmenters.augmenter.added",
        )


def _label(known: Rejected | Unavailable | NotConfigured) -> str:
    if isinstance(known, TimedOut):
        return "timeout"
    return "refused" if isinstance(known, Rejected) else "unavailable"


def _routed(
    eligible: list[IProvider], everybody: Sequence[IProvider], credential: Credential
) -> list[IProvider]:
    """
    Those of the eligible who could know the credential by its shape.

    A credential that somebody owns is judged by nobody else, even where the owner is not eligible.
    One that names some of them goes to these. One that nobody could know is judged by all.
    """
    known = [(provider, provider.affinity(credential)) for provider in everybody]
    owners = [provider for provider, affinity in known if affinity is Affinity.OWN]
    if owners:
        return [provider for provider in owners if provider in eligible]
    mine = [each for each in known if each[0] in eligible]
    named = [provider for provider, affinity in mine if affinity is Affinity.LIKELY]
    possible = [provider for provider, affinity in mine if affinity is Affinity.POSSIBLE]
    return named or possible or eligible


def _summary(reasons: Sequence[BaseException | None]) -> Exception:
    """One refusal is enough to refuse; only where nobody refused it is an outage."""
    for reason in reasons:
        if isinstance(reason, NotConfigured):
            return reason
    refused = any(isinstance(reason, Rejected) for reason in reasons)
    if refused or not reasons:
        certain = all(isinstance(reason, Rejected) for reason in reasons)
        told = "; ".join(dict.fromkeys(map(str, reasons))) or "nobody judges such credentials here"
        return Rejected(told, certain=certain)
    return Unavailable("nobody could judge the credentials")

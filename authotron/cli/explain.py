"""C{authotron explain}: show step by step how the gateway authenticates a credential."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from attrs import define, field
from twisted.internet.task import react
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from authotron.cli import stored_policies
from authotron.cli.composed import composed
from authotron.cli.credential import ask_basic, header_value
from authotron.cli.not_asked import why_not_asked
from authotron.cli.options import (
    Command,
    clock,
    config_option,
    exit_on_config_error,
    json_option,
    load_config,
    text,
)
from authotron.cli.output import say, say_json, say_lines
from authotron.cli.policy_explanation import print_explanation
from authotron.cli.policy_request import NO_POLICY, Stated, request_options, stated_request
from authotron.cli.remote_checks import PROXIED
from authotron.concurrency.reactor import IGatewayReactor
from authotron.config import schema
from authotron.config.carried import credential_names
from authotron.config.check import Config
from authotron.config.credentials import AUTHORIZATION, reads_certificates
from authotron.config.policy import Policy
from authotron.daemon import policy_follower
from authotron.daemon.compose_policy import compile_policies
from authotron.gateway import bound_tokens, credentials
from authotron.gateway.authentication import Authenticator
from authotron.gateway.authorization import Deny, authorize
from authotron.gateway.authorizer import Authorizer, Verdict
from authotron.gateway.carriers import Carriers
from authotron.gateway.gateway import Gateway
from authotron.jose.minter import Minter
from authotron.jose.ring_keys import RingKeys
from authotron.model.authentication import Authentication
from authotron.model.carriers import CERTIFICATE
from authotron.model.client_certificate import ClientCertificate, bounded
from authotron.model.errors import (
    BadCredentials,
    BadIdentity,
    ConfigError,
    NotConfigured,
    Rejected,
    Unavailable,
)
from authotron.model.identity import Credential
from authotron.model.request import Facts, KnownFacts, Presented
from authotron.net.world import World
from authotron.plugin import certificate_parsers
from authotron.policy import subjects
from authotron.policy.explanation import Explanation
from authotron.policy.explanation import explain as explain_ruling
from authotron.policy.rules import Request
from authotron.telemetry import logs
from authotron.telemetry.metrics import Metrics
from authotron.web.replies import Reply

_OUTCOMES: tuple[tuple[type[Exception], str], ...] = (
    (BadCredentials, "malformed"),
    (BadIdentity, "identity refused"),
    (Rejected, "rejected"),
    (NotConfigured, "unavailable"),
    (Unavailable, "unavailable"),
)
"""Errors that end the authentication, and their names in the output."""

_WHY_NO_CLAIM = {
    "reserved": "only the gateway sets claims that begin with @",
    "own": "claims of this key are made of realm, user name, roles or scopes",
    "malformed": "the name of the attribute is empty, or has a blank or `=`",
    "empty": "the attribute has no value",
}
"""
The explanation for operators why an attribute does not become a claim, by the one-word
reason.
"""


@click.command(
    cls=Command,
    examples=(
        "authotron explain --user alice",
        "authotron explain header.txt --realm internal",
        "printf 'Bearer %s' \"$TOKEN\" | authotron explain --json",
        "authotron explain --header X-API-Key key.txt",
        "authotron explain --user alice --method DELETE --path /admin/users",
        "authotron explain --claim realm=internal --claim role=reader --path /admin/users",
        "authotron explain --certificate client.pem",
    ),
)
@config_option
@click.option("--realm", help="The realm that the client sends in X-Auth-Realm.")
@click.option(
    "--user",
    "username",
    type=text,
    help="Explain Basic credentials of this user; the password is asked for.",
)
@click.option("--header", help="Read the value of this header instead of Authorization.")
@click.option("--cookie", help="Read the value of this cookie.")
@click.option("--query", help="Read the value of this parameter of the query.")
@click.option(
    "--claim",
    "claims",
    type=text,
    multiple=True,
    help="Apply the policy to a request of an identity with this claim, without any credential.",
)
@click.option(
    "--certificate",
    flag_value=CERTIFICATE.name,
    help="Read the TLS certificate of a client (PEM), as a proxy would state it.",
)
@request_options
@json_option
@click.argument("source", type=click.File("r"), required=False)
def explain(
    path: Path,
    realm: str | None,
    username: str | None,
    source: Any,
    claims: Sequence[str],
    *,
    as_json: bool,
    **given: str | None,
) -> None:
    """
    Show how a credential is authenticated.

    The output lists the results of providers and augmenters, the providers that were not asked and
    why, and the claims of the JWT.

    With --path the output also says which rule of the policy decides about the request, and which
    rules would decide if the request met one more condition.

    The value of an Authorization header, such as "Basic dXNlcjpwYXNz", is read from SOURCE, a file
    or standard input; never from the command line, which other users of the machine can see. With
    --user the password is asked for at the terminal, or read from standard input. With --claim no
    credential is read.

    Exit status 0 if the credential is accepted and the request allowed, 1 if not, 78 if the
    configuration is invalid.
    """
    carrier = {kind: given.pop(kind) for kind in _CARRIERS}
    if username is not None and source is not None:
        raise click.UsageError("give either --user or SOURCE, not both")
    if given["resource"] is None and (claims or any(given.values())):
        raise click.UsageError("give --path, too")
    config = load_config(path, as_json=as_json)
    request = _stated_request(config, given, as_json=as_json)
    if claims and request is not None:
        if username is not None or source is not None or realm or any(carrier.values()):
            raise click.UsageError("give either --claim or a credential, not both")
        assert config.policy is not None
        policy = stored_policies.with_stored(path, config.policy, as_json=as_json)
        _explain_claims(policy, claims, request, as_json=as_json)
        if config.authorizer is not None:
            say(
                "note: the authorizer must allow the request, too; it is asked if a credential is "
                "explained",
                err=True,
            )
        return
    present = _presenter(config, carrier, username)
    read = (source or sys.stdin).read().strip() if username is None else ask_basic(username)
    if carrier["certificate"] is not None:
        _certificate(read)  # parse early: an error ends the command before the reactor starts
    react(partial(_explain, as_json=as_json), (config, partial(present, read), realm, request))


_CARRIERS = ("header", "cookie", "query", "certificate")
"""The command-line options that name the part of a request in which the credential is sent."""


def _stated_request(
    config: Config, given: Mapping[str, str | None], *, as_json: bool
) -> Stated | None:
    """
    Return the request that the command-line options describe, or C{None} if C{--path} is missing.
    Exit with 78 if the configuration has no policy.
    """
    if given["resource"] is None:
        return None
    with exit_on_config_error(as_json=as_json):
        if config.policy is None:
            raise ConfigError(NO_POLICY)
    return stated_request(given, config.policy, clock().seconds())


def _explain_claims(
    policy: Policy, claims: Sequence[str], request: Stated, *, as_json: bool
) -> None:
    """
    Explain the ruling about a request of an identity whose claims the operator gives with
    C{--claim}.
    """
    try:
        claims = [subjects.check_tag(claim) for claim in claims]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--claim") from None
    policies = compile_policies(policy)
    found = explain_ruling(policies, claims, request.request, request.at, most_steps=None)
    if as_json:
        say_json({"ruling": found.as_json()})
    else:
        print_explanation(found)
    if not found.ruling.allows:
        sys.exit(1)


Present = Callable[[Carriers], Presented]
"""A function that returns what the client presents, apart from the realm."""


def _presenter(
    config: Config, carrier: Mapping[str, str | None], username: str | None
) -> Callable[[str, Carriers], Presented]:
    """
    Return a function that makes, from the text read, the object with what a client presents.

    @param carrier: the values of the command-line options that name the part of the request which
        carries the credential.
    """
    given = [(kind, name) for kind, name in carrier.items() if name is not None]
    if not given:
        return _in_authorization
    if len(given) > 1 or username is not None:
        raise click.UsageError(
            "give only one of --user, --header, --cookie, --query and --certificate"
        )
    [(kind, name)] = given
    if kind == CERTIFICATE.kind:
        if not any(map(reads_certificates, config.providers)):
            raise click.UsageError("no provider of type mtls is configured")
        return _as_certificate
    names = credential_names(config)
    known = {"header": names.headers, "cookie": names.cookies, "query": names.parameters}[kind]
    if kind == "header":
        name = name.lower()
        known = tuple(each.lower() for each in known)
        if name == AUTHORIZATION:
            return _in_authorization
    if name not in known:
        configured = ", ".join(known) or "none"
        raise click.UsageError(
            f"no provider looks for credentials in {kind} {name} (configured: {configured})"
        )
    return partial(_carried, kind, name)


def _in_authorization(text: str, _carriers: Carriers) -> Presented:
    return Presented(header_value(text).encode())


def _certificate(text: str) -> ClientCertificate:
    """
    Parse the certificate of a client, which may be followed by certificates of intermediate
    authorities.

    @raise click.UsageError: the text does not consist of certificates in PEM.
    """
    try:
        return bounded(certificate_parsers.in_pem(text))
    except ValueError:
        raise click.UsageError(
            "SOURCE must contain certificates in PEM, and nothing else"
        ) from None


def _as_certificate(text: str, carriers: Carriers) -> Presented:
    stated = Facts(certificate=_certificate(text))
    return Presented(others=carriers.of_question(lambda _: None, stated))


def _carried(kind: str, name: str, text: str, carriers: Carriers) -> Presented:
    headers = {b"cookie": f"{name}={text}".encode()} if kind == "cookie" else {}
    if kind == "header":
        headers[name.encode()] = text.encode()
    query = f"{name}={quote(text, safe='')}" if kind == "query" else None
    return Presented(others=carriers.of_question(headers.get, Facts(query=query)))


async def _explain(
    reactor: IGatewayReactor,
    config: Config,
    present: Present,
    realm: str | None,
    request: Stated | None,
    *,
    as_json: bool,
) -> None:
    """
    Authenticate a credential as the gateway does, and print the log events of the authenticator;
    then apply the policy to the request, if the operator describes one.

    @raise SystemExit: 1 if the credential is not accepted, or the request not allowed.
    """
    logs.log.configure(schema.LoggingConfig(level="debug"))
    report = Report(prints=not as_json)
    globalLogPublisher.addObserver(report)
    async with composed(reactor, config, as_json=as_json) as (gateway, world):
        await _open_store(gateway, as_json=as_json)
        if request is not None:
            await _read_policies(gateway, world, as_json=as_json)
        try:
            parsed = _parse(present(gateway.carriers), gateway, report)
            found = await _authenticate(gateway, parsed, realm, report)
            if gateway.revocations is not None:
                await _check_revoked(gateway, found, world.clock.seconds())
            if gateway.claims is not None:
                report.list_policy_claims(
                    gateway.claims.checked(found), gateway.claims.left_out(found)
                )
        except (BadCredentials, BadIdentity, NotConfigured, Rejected, Unavailable) as reason:
            report.end(reason)
        else:
            minter = gateway.minter
            report.list_conditions(found)
            report.accept(minter.claims(found, int(reactor.seconds())))
            report.say_size(_size_of_jwt(minter, found, reactor.seconds()), minter.warn_bytes)
            if gateway.enforcement is not None and request is not None:
                asked, at, _ = request
                report.explain_ruling(gateway.enforcement.explain(found, asked, at, None))
                report.check_conditions(found, request)
                if gateway.authorizer is not None and report.is_allowed:
                    await _ask_authorizer(gateway.authorizer, found, asked, report)
    if as_json:
        say_json(report.as_json())
    if not report.accepted or not report.is_allowed:
        raise SystemExit(1)


async def _check_revoked(gateway: Gateway[Reply], found: Authentication, now: float) -> None:
    """@raise Rejected: the credential is revoked."""
    from authotron.cli.revoked import check_revoked  # noqa: PLC0415 - only needed here

    await check_revoked(gateway, found, now)


def _size_of_jwt(minter: Minter, found: Authentication, now: float) -> int:
    """Return the number of bytes of the JWT that the gateway would mint."""
    if isinstance(minter.keys, RingKeys):
        minter.keys.use_temporary(now)
    return len(minter.mint(found))


async def _ask_authorizer(
    authorizer: Authorizer, found: Authentication, asked: Request, report: Report
) -> None:
    """Ask the authorizer about a request that the policy allows, and print the answer."""
    from authotron.gateway.policy import evaluations  # noqa: PLC0415 - only needed here

    verdict = await authorizer.verdict(evaluations(found, asked))
    report.note_verdict(authorizer.plugin.name, verdict, authorizer.outage)


async def _open_store(gateway: Gateway[Reply], *, as_json: bool) -> None:
    """
    Open the token store; if that fails, warn, because all credentials but API tokens can still be
    authenticated.
    """
    if gateway.tokens is not None:
        with exit_on_config_error(as_json=as_json), suppress(Unavailable):
            await gateway.tokens.store.open()


async def _read_policies(gateway: Gateway[Reply], world: World, *, as_json: bool) -> None:
    """
    Read the policies in the token store, if the configuration keeps policies there.

    @raise SystemExit: 78 if the policies cannot be read, or cannot be used.
    """
    if gateway.enforcement is not None and gateway.enforcement.is_stored:
        with exit_on_config_error(as_json=as_json):
            await policy_follower.make(gateway, world, Metrics()).take_over(None)


def _parse(presented: Presented, gateway: Gateway[Reply], report: Report) -> Sequence[Credential]:
    if presented.others:
        _, parsed = gateway.carriers.read(presented, None)
    else:
        parsed = credentials.parse(credentials.header_text(presented))
    report.list_credentials(gateway.authenticator.with_tokens(parsed))
    return parsed


async def _authenticate(
    gateway: Gateway[Reply], parsed: Sequence[Credential], realm: str | None, report: Report
) -> Authentication:
    report.say("authentication", bold=True)
    try:
        return await gateway.authenticator.identify(parsed, realm)
    finally:
        report.list_not_asked(gateway.authenticator, report.parsed, realm)


_SHOWN = ("auth.", "augmenters.", PROXIED)
"""Prefixes of the names of the log events that C{authotron explain} prints."""


@implementer(ILogObserver)
@define(eq=False)
class Report:
    """
    The report of one authentication, printed step by step, or at the end as JSON.

    @ivar asked: the names of the providers that were asked about a credential.
    @ivar parsed: the credentials that were read from the request.
    """

    prints: bool = True
    accepted: bool = field(default=False, init=False)
    credentials: list[dict[str, Any]] = field(factory=list, init=False)
    asked: list[str] = field(factory=list, init=False)
    parsed: Sequence[Credential] = field(default=(), init=False)
    _outcome: str = field(default="", init=False)
    _reason: str = field(default="", init=False)
    _providers: list[dict[str, Any]] = field(factory=list, init=False)
    _augmenters: list[dict[str, Any]] = field(factory=list, init=False)
    _proxies: dict[str, str] = field(factory=dict, init=False)
    _conditions: list[str] = field(factory=list, init=False)
    _claims: dict[str, Any] | None = field(default=None, init=False)
    _policy_claims: list[str] | None = field(default=None, init=False)
    _ruling: Explanation | None = field(default=None, init=False)
    _denied: str | None = field(default=None, init=False)
    _left_out: dict[str, str] | None = field(default=None, init=False)
    _size: int | None = field(default=None, init=False)

    def __call__(self, event: LogEvent) -> None:
        """Print and collect a log event, if the event is about the credential."""
        name = str(event.get("event", ""))
        if not name.startswith(_SHOWN):
            return
        self.say(f"  {formatEvent(event)}")
        if name == PROXIED:
            self._proxies[event["remote"]] = event["proxy"]
        result = name.rpartition(".")[2]
        if "provider" in event and name.startswith("auth.provider."):
            self.asked.append(event["provider"])
            reason = str(event.get("because", "")).removeprefix(", ")
            self._providers.append(
                {
                    "name": event["provider"],
                    "asked": True,
                    "result": result,
                    "reason": reason or None,
                    "milliseconds": event.get("milliseconds"),
                }
            )
        elif augmenter := event.get("augmenter_name") or event.get("augmenter"):
            self._augmenters.append(
                {
                    "name": augmenter,
                    "result": result,
                    "reason": event.get("error"),
                    "roles": event.get("roles", []),
                    "attributes": event.get("attributes", {}),
                }
            )

    def list_credentials(self, parsed: Sequence[Credential]) -> None:
        """
        List the credentials, and the part of the request that carried them if it was not
        C{Authorization}.
        """
        self.parsed = parsed
        self.say("credentials", bold=True)
        for credential in parsed:
            count, carrier = len(credential.value), credential.carrier
            found: dict[str, Any] = {"scheme": credential.scheme, "length": count}
            self.credentials.append(found if carrier is None else {**found, "in": str(carrier)})
            where = "" if carrier is None else f", in {carrier}"
            self.say(f"  {credential.scheme}, {count} character{'' if count == 1 else 's'}{where}")

    def list_not_asked(
        self, authenticator: Authenticator, parsed: Sequence[Credential], realm: str | None
    ) -> None:
        """List the providers that were not asked, each with the reason."""
        for provider in authenticator.providers:
            if provider.name in self.asked:
                continue
            reason = why_not_asked(provider, authenticator, parsed, realm)
            self.say(f"  provider {provider.name}: not asked, {reason}")
            self._providers.append({"name": provider.name, "asked": False, "reason": reason})

    def list_conditions(self, found: Authentication) -> None:
        """List the conditions of a credential, which the gateway checks for each request."""
        self._conditions = [str(condition) for condition in found.conditions]
        for condition in self._conditions:
            self.say(f"  valid for some requests alone: {condition}")

    def list_policy_claims(self, claims: list[str], left_out: dict[str, str]) -> None:
        """
        List the claims to which the policies are applied for each request, and the attributes that
        do not become claims, each with the reason.
        """
        self._policy_claims, self._left_out = claims, left_out
        self.say("claims for the policies", bold=True)
        for claim in claims:
            self.say(f"  {claim}")
        for name, why in left_out.items():
            self.say(f"  attribute {name!a} is no claim: {_WHY_NO_CLAIM[why]}")

    @property
    def is_allowed(self) -> bool:
        """
        Whether the policy and the credential allow the request; true if the operator describes no
        request.
        """
        return self._denied is None and (self._ruling is None or self._ruling.ruling.allows)

    def explain_ruling(self, found: Explanation) -> None:
        """Print why the policy allows or denies a request."""
        self._ruling = found
        if self.prints:
            print_explanation(found)

    def check_conditions(self, found: Authentication, stated: Stated) -> None:
        """If the credential does not allow the request, print why."""
        request = stated.request
        facts: KnownFacts = {
            "method": request.verb,
            "path": request.resource,
            "namespace": request.namespace,
        }
        if request.host:
            facts["host"], facts["port"] = request.host, stated.port
        if request.address is not None:
            facts["address"] = request.address
        if found.token is not None and found.token.binding is not None:
            # Without a request there is no proof; list_conditions has shown what must be proven.
            found = bound_tokens.unbound(found)
        ruling = authorize(found, Facts(**facts))
        if isinstance(ruling, Deny):
            self._denied = ruling.text
            self.say(f"  denied: {ruling.text}", fg="red")

    def note_verdict(self, name: str, verdict: Verdict, outage: str) -> None:
        """
        Print whether the authorizer allows the request.

        @param outage: why the authorizer gave no answer; empty if the authorizer answered.
        """
        if verdict is True:
            self.say(f"  authorizer {name} allows the request")
            return
        why = "denies the request" if verdict is False else f"is unavailable: {outage}"
        self._denied = f"authorizer {name} {why}"
        self.say(f"  denied: {self._denied}", fg="red")

    def accept(self, claims: dict[str, Any]) -> None:
        """End the report with the claims of the JWT."""
        self.accepted, self._outcome, self._claims = True, "accepted", claims
        self.say("claims", bold=True)
        if self.prints:
            say_lines(json.dumps(claims, indent=2, ensure_ascii=False))

    def say_size(self, size: int, limit: int) -> None:
        """Print the size of the JWT, and whether it exceeds C{jwt.warn_bytes}."""
        self._size = size
        if size > limit:
            self.say(f"  the JWT has {size} bytes, more than jwt.warn_bytes ({limit})")
        else:
            self.say(f"  the JWT has {size} bytes")

    def end(self, reason: Exception) -> None:
        """End the report with an error instead of claims."""
        self._outcome = next(name for kind, name in _OUTCOMES if isinstance(reason, kind))
        self._reason = str(reason)
        if isinstance(reason, BadCredentials):
            self._reason += "; expected `Basic ...` or `Bearer ...`, or use --user NAME"
        self.say(f"{self._outcome}: {self._reason}", fg="red")

    def as_json(self) -> dict[str, Any]:
        return {
            "accepted": self.accepted,
            "outcome": self._outcome,
            "reason": self._reason or None,
            "credentials": self.credentials,
            "providers": self._providers,
            "augmenters": self._augmenters,
            "proxies": self._proxies,
            "conditions": self._conditions,
            "claims": self._claims,
            "policy_claims": self._policy_claims,
            "denied": self._denied,
            "ruling": None if self._ruling is None else self._ruling.as_json(),
            "not_claims": self._left_out,
            "jwt_bytes": self._size,
        }

    def say(self, line: str, **style: Any) -> None:
        """Print a line, unless the report is printed as JSON at the end."""
        if self.prints:
            say(line, **style)

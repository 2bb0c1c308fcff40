"""
C{authotron probe}: attack a running proxy with made-up requests, and report what gets
past it.
"""

from __future__ import annotations

import re
import secrets
import sys
from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

import click
from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.task import react

from authotron.cli.credential import ask_basic
from authotron.cli.options import Command, json_option, text
from authotron.cli.output import say, say_json
from authotron.concurrency.reactor import IGatewayReactor
from authotron.net import tls
from authotron.plugin import certificate_parsers
from authotron.probe import place
from authotron.probe.attack import Finding, Phase
from authotron.probe.campaign import Campaign, ProbeFailed, Result, Send
from authotron.probe.connection import Connector, Patience, Received
from authotron.probe.echo import EchoFactory
from authotron.probe.place import Place
from authotron.probe.proxies import PROXIES
from authotron.probe.request import Credential, Nonces, Request, Target

_WHOLE_LINE = re.compile(r"[A-Za-z0-9-]+: *\S")
"""Matches a header line; no credential of a known scheme begins in this form."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUTAGE = Patience(whole=90.0)
"""Longer than a proxy waits for a gateway that hangs."""

_GOOD, _BAD, _INDENT = "  nothing    ", "  LEAK       ", " " * 13


@frozen
class _Plan:
    """
    The values of the options and arguments of C{authotron probe}.

    @ivar where: the address of the proxy, or C{None} if only the echo backend runs.
    @ivar echo: the address at which the echo backend listens, if this command runs the echo
        backend.
    @ivar proxy: the proxy for which remedies are printed, if its answers do not name it.
    """

    where: Place | None
    address: str
    credentials: dict[Credential, bytes] = field(repr=False)
    phase: Phase
    echo: tuple[str, int] | None
    proxy: str | None
    verifier: tls.Verifier | None
    as_json: bool


def _listening(_context: Any, _option: Any, given: str | None) -> tuple[str, int] | None:
    """Read an address to listen at, in the form C{PORT} or C{HOST:PORT}."""
    if given is None:
        return None
    host, _, port = given.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65_536:  # noqa: PLR2004 - the ports of TCP
        raise click.BadParameter("must be PORT or HOST:PORT")
    return host or "127.0.0.1", int(port)


def _place(_context: Any, _argument: Any, given: str | None) -> Place | None:
    try:
        return place.parse(given) if given is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _from_file(_context: Any, _option: Any, given: Path | None) -> bytes | None:
    """
    Read a header with a credential from a file; if the file names no header, the credential is for
    C{Authorization}.
    """
    if given is None:
        return None
    try:
        line = given.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter("cannot be read as ASCII") from None
    if not line or not line.isprintable() or "{" in line:
        raise click.BadParameter("must contain one line: a header, or the value of Authorization")
    return _line(line)


def _from_pem(_context: Any, _option: Any, given: Path | None) -> bytes | None:
    """Read a certificate in PEM, and return it in Base64 of DER."""
    if given is None:
        return None
    try:
        der = certificate_parsers.in_pem(given.read_text(encoding="ascii"))[0]
    except (OSError, ValueError):
        raise click.BadParameter("must contain a certificate in PEM, and nothing else") from None
    return b64encode(der)


def _line(text: str) -> bytes:
    """Return the header line with a credential."""
    return (text if _WHOLE_LINE.match(text) else f"Authorization: {text}").encode()


@click.command(
    cls=Command,
    examples=(
        "authotron probe --echo 8000 --user alice http://127.0.0.1/",
        "authotron probe --echo 0.0.0.0:8000                  # the echo backend alone",
        "authotron probe --credential-file header.txt --json https://app.example.org/api/",
        "authotron probe --gateway-down --echo 8000 http://127.0.0.1/",
    ),
)
@click.option("--user", "username", type=text, help="A user with a good password, asked for.")
@click.option(
    "--credential-file",
    "good",
    type=_FILE,
    callback=_from_file,
    help="File with the header of a good credential, such as X-API-Key: ...; or the value of "
    "Authorization.",
)
@click.option(
    "--limited-token-file",
    "limited",
    type=_FILE,
    callback=_from_file,
    help="File with the same for an API token that is limited to network 203.0.113.0/24.",
)
@click.option(
    "--certificate-file",
    "certificate",
    type=_FILE,
    callback=_from_pem,
    help="File with the certificate (PEM, without its key) of a client that the gateway accepts.",
)
@click.option("--gateway-down", "is_down", is_flag=True, help="Try what needs a stopped gateway.")
@click.option(
    "--echo",
    callback=_listening,
    metavar="[HOST:]PORT",
    help="Run the echo backend here; without URL nothing else.",
)
@click.option("--proxy", type=click.Choice(PROXIES), help="The proxy that remedies are for.")
@click.option("--ca-file", type=_FILE, help="Certificates (PEM) to trust instead of the system's.")
@click.option("--yes", is_flag=True, help="Attack an address that is not a loopback address.")
@json_option
@click.argument("where", callback=_place, metavar="[URL]", required=False)
def probe(
    where: Place | None,
    username: str | None,
    good: bytes | None,
    limited: bytes | None,
    certificate: bytes | None,
    echo: tuple[str, int] | None,
    proxy: str | None,
    ca_file: Path | None,
    *,
    is_down: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Attack a proxy, and report what gets past it.

    The attacks are made-up identity headers, paths in odd spellings, requests whose end is
    ambiguous, and the like. Nothing but requests is sent, and nothing is changed. The proxy must
    ask the gateway, and pass requests for URL to the echo backend, which shows what arrives: run it
    by --echo in this command or another one, and never behind a proxy that serves real clients.

    Before an address is attacked that is not a loopback address, the command asks at the terminal.
    Attack only proxies that are yours.

    Exit status 0 if nothing gets past the proxy, 1 if something does or the proxy cannot be judged.
    """
    if where is None and echo is None:
        raise click.UsageError("give URL, or --echo to run the echo backend alone")
    if username is not None and good is not None:
        raise click.UsageError("give either --user or --credential-file, not both")
    address = _address(where, yes=yes) if where else ""
    if where and not is_down and username is None and good is None:
        raise click.UsageError("give --user or --credential-file, so that requests get through")
    if username is not None and where is not None and not is_down:
        good = _line(ask_basic(username))
    plan = _Plan(
        where,
        address,
        _credentials(good, limited, certificate),
        Phase.GATEWAY_DOWN if is_down else Phase.GATEWAY_UP,
        echo,
        proxy,
        _verifier(where, ca_file),
        as_json,
    )
    react(_probe, (plan,))


def _address(where: Place, *, yes: bool) -> str:
    """Return the address to attack; if it is not a loopback address, ask the operator first."""
    try:
        addresses = where.addresses()
    except OSError as error:
        reason = f"the host {where.host} is not known: {error.strerror}"
        raise click.BadParameter(reason, param_hint="URL") from None
    if not all(map(place.is_loopback, addresses)) and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"{where.host} ({addresses[0]}) is not a loopback address: "
                "give --yes if it is yours to attack"
            )
        shown = f"{where.host} ({', '.join(addresses)}) is not a loopback address. Attack it?"
        click.confirm(shown, abort=True, err=True)
    return addresses[0]


def _verifier(where: Place | None, ca_file: Path | None) -> tls.Verifier | None:
    if where is None or not where.is_tls:
        return None
    try:
        return tls.Verifier(tls.load(ca_file, None, None), "--ca-file")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--ca-file") from None


def _credentials(
    good: bytes | None, limited: bytes | None, certificate: bytes | None = None
) -> dict[Credential, bytes]:
    name = good.partition(b":")[0].decode() if good else "Authorization"
    scheme = "Bearer " if name.lower() == "authorization" else ""
    unknown = f"{name}: {scheme}unknown-{secrets.token_hex(16)}".encode()
    found = {
        Credential.GOOD: good,
        Credential.UNKNOWN: unknown,
        Credential.LIMITED: limited,
        Credential.CERTIFICATE: certificate,
    }
    return {kind: value for kind, value in found.items() if value}


async def _probe(reactor: IGatewayReactor, plan: _Plan) -> None:
    """
    Run the echo backend and the attacks that the command line demands.

    @raise SystemExit: 1 if an attack gets past the proxy, or the proxy cannot be judged.
    """
    if plan.echo is not None:
        await _listen(reactor, *plan.echo)
    if plan.where is None:
        await Deferred()
    else:
        where = plan.where
        patience = _OUTAGE if plan.phase is Phase.GATEWAY_DOWN else Patience()
        connector = Connector(
            reactor, plan.address, where.port, where.host, plan.verifier, patience
        )
        if not await _attack(partial(_send, connector), plan, where):
            raise SystemExit(1)


async def _listen(reactor: IGatewayReactor, host: str, port: int) -> None:
    try:
        await TCP4ServerEndpoint(reactor, port, interface=host).listen(EchoFactory())
    except CannotListenError as error:
        say(
            f"the echo backend cannot listen at {host}:{port}: {error.socketError}",
            fg="red",
            err=True,
        )
        raise SystemExit(1) from None
    say(f"the echo backend listens at {host}:{port}", err=True)


async def _attack(send: Send, plan: _Plan, where: Place) -> bool:
    """Try the attacks, print the report, and return whether no attack got past the proxy."""
    target = Target(where.authority.encode(), where.base.encode(), plan.credentials)
    campaign = Campaign(target, send, Nonces(secrets.token_hex(8)), phase=plan.phase)
    results: list[Result] = []
    try:
        async for result in campaign.run():
            results.append(result)
            if not plan.as_json:
                _print(result, plan.proxy or campaign.proxy)
    except ProbeFailed as error:
        _print_failure(str(error), as_json=plan.as_json)
        return False
    good = not any(result.finding for result in results)
    if plan.as_json:
        say_json({"good": good, **_report(campaign, results, plan.proxy or campaign.proxy)})
    else:
        _print_end(campaign, results)
    return good


async def _send(connector: Connector, data: bytes, request: Request) -> Received:
    return await connector.exchange(data, request.method, lingers=request.lingers)


def _print_failure(reason: str, *, as_json: bool) -> None:
    if as_json:
        say_json({"good": False, "error": reason})
    else:
        say(f"the proxy cannot be judged: {reason}", fg="red", err=True)


def _print(result: Result, proxy: str | None) -> None:
    finding = result.finding
    say(_BAD if finding else _GOOD, nl=False, fg="red" if finding else "green")
    say(result.attack.name, nl=finding is None)
    if finding:
        say(f": {', '.join(finding.leaked)}")
        say(f"{_INDENT}{finding.attack.leak}")
        say(f"{_INDENT}To close it: {finding.attack.remedy_for(proxy)}")


def _print_end(campaign: Campaign, results: list[Result]) -> None:
    for each in campaign.skipped():
        say(f"  not tried  {each.attack.name}: {each.reason}")
    leaks = sum(1 for result in results if result.finding)
    named = campaign.proxy or "a proxy that does not say its name (--proxy prints its remedies)"
    say(f"{named}: {len(results)} attacks with {campaign.requests} requests, leaks: {leaks}")


def _report(campaign: Campaign, results: list[Result], proxy: str | None) -> dict[str, Any]:
    """Return the members of the JSON report about the attacks."""
    return {
        "proxy": proxy,
        "requests": campaign.requests,
        "attacks": [result.attack.name for result in results],
        "leaks": [_as_json(each.finding, proxy) for each in results if each.finding],
        "not_tried": [
            {"attack": each.attack.name, "reason": each.reason} for each in campaign.skipped()
        ],
    }


def _as_json(finding: Finding, proxy: str | None) -> dict[str, Any]:
    return {
        "attack": finding.attack.name,
        "leaked": [*finding.leaked],
        "leak": finding.attack.leak,
        "remedy": finding.attack.remedy_for(proxy),
    }

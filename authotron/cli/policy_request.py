"""
The command-line options by which an operator describes a request, to which the command applies the
policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import click

from authotron.cli.options import text
from authotron.config.policy import Policy
from authotron.model.hosts import split_host
from authotron.model.paths import canonical
from authotron.policy.namespaces import is_namespace
from authotron.policy.networks import parse_address
from authotron.policy.resources import flaw
from authotron.policy.rules import Request
from authotron.policy.verbs import is_misspelt

NO_POLICY = "policy: the configuration has no such section, so every identity may make any request"
"""The message of a command about policies if the configuration has no policy."""

_OPTIONS = (
    click.option("--path", "resource", type=text, help="Rule on a request for this path, too."),
    click.option("--method", type=text, help="The method of the request, GET if not given."),
    click.option("--host", type=text, help="The requested host."),
    click.option("--address", type=text, help="The address of the client."),
    click.option(
        "--namespace",
        type=text,
        help="The namespace of the request; `policy.namespace` if not given.",
    ),
    click.option("--at", type=text, help="The time of the request (RFC 3339); now if not given."),
)


def request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that describe a request to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def canonical_path(given: str) -> str:
    """
    Return the canonical spelling of a path.

    @raise ValueError: a request for the path gets a 400.
    """
    path = canonical(given.encode())
    if why := flaw(path):
        raise ValueError(why)
    return path


def checked_path(given: str) -> str:
    """
    Return the canonical spelling of a path on the command line, without its query.

    @raise BadParameter: the gateway would answer a request for this path with a 400.
    """
    try:
        return canonical_path(given.partition("?")[0])
    except ValueError as ambiguous:
        raise click.BadParameter(f"requests for this path get a 400: {ambiguous}") from None


def checked_verb(given: str) -> str:
    """
    Return the HTTP method that is given on the command line.

    @raise BadParameter: the gateway would answer a request with this method with a 400.
    """
    if is_misspelt(given):
        raise click.BadParameter(f"requests with this method get a 400; write {given.upper()}")
    return given


def checked_namespace(given: str | None, found: Policy) -> str:
    """
    Return the namespace that is given on the command line, or else the namespace of the policy.

    @raise BadParameter: the string is not a namespace.
    """
    if given is None:
        return found.section.namespace
    if not is_namespace(given):
        raise click.BadParameter("is not a namespace", param_hint="--namespace")
    return given


class Stated(NamedTuple):
    """
    A request that an operator states on the command line.

    @ivar at: the time of the request, in seconds since the epoch.
    @ivar port: the port of the requested host, or C{None} if no port is given; rules ignore the
        port.
    """

    request: Request
    at: float
    port: int | None = None


def stated_request(given: Mapping[str, str | None], found: Policy, now: float) -> Stated:
    """
    Return the request that the command-line options describe.

    @param given: the values of the command-line options that L{request_options} adds.

    @raise BadParameter: the value of an option is not valid.
    """
    host, port = _host(given["host"])
    request = Request(
        checked_path(given["resource"] or ""),
        checked_verb(given["method"] or "GET"),
        None,
        checked_namespace(given["namespace"], found),
        host,
        _address(given["address"]),
    )
    return Stated(request, now if given["at"] is None else _moment(given["at"]), port)


def _host(given: str | None) -> tuple[str, int | None]:
    if given is None:
        return "", None
    try:
        return split_host(given)
    except ValueError:
        raise click.BadParameter("is not a host", param_hint="--host") from None


def _address(given: str | None) -> str | None:
    if given is not None and parse_address(given) is None:
        raise click.BadParameter("is not an IP address", param_hint="--address")
    return given


def _moment(given: str) -> float:
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        hint = "is not a date and time with a zone; write 2026-01-31T00:00:00Z"
        raise click.BadParameter(hint, param_hint="--at")
    return found.timestamp()

"""The options of commands by which an operator states a request to the policy."""

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
"""What a command about policies says of a configuration without a policy."""

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
    """Give a command the options that state a request."""
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

    @raise BadParameter: a request for the path gets a 400.
    """
    try:
        return canonical_path(given.partition("?")[0])
    except ValueError as ambiguous:
        raise click.BadParameter(f"requests for this path get a 400: {ambiguous}") from None


def checked_verb(given: str) -> str:
    """
    Return the method of a request on the command line.

    @raise BadParameter: a request with the method gets a 400.
    """
    if is_misspelt(given):
        raise click.BadParameter(f"requests with this method get a 400; write {given.upper()}")
    return given


def checked_namespace(given: str | None, found: Policy) -> str:
    """
    Return the namespace on the command line, by default that of the policy.

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
    @ivar port: the port behind the requested host, or C{None}; rules are about hosts on any port.
    """

    request: Request
    at: float
    port: int | None = None


def stated_request(given: Mapping[str, str | None], found: Policy, now: float) -> Stated:
    """
    Return the request that the options of a command state.

    @param given: the values of the options of L{request_options}.

    @raise BadParameter: an option cannot be used.
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

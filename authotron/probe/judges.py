"""Judgements of the outcome of a request; each function yields the names of what leaked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from authotron.model.header_templates import IDENTITY_HEADERS, PROFILES
from authotron.probe.answers import Answer, Echo, Field
from authotron.probe.attack import Control
from authotron.probe.exchange import Exchange
from authotron.probe.request import ADDRESS
from authotron.proxy_config import identity_headers

OWN = tuple(PROFILES["legacy"])
"""The headers in which the gateway names an identity by default, besides C{Authorization}."""

IDENTITY = tuple(
    dict.fromkeys(
        name.lower() for name in ("Authorization", *IDENTITY_HEADERS, *identity_headers.of_users())
    )
)
"""
The headers that say who the client is, in lower case: those of all header profiles of the gateway,
and the well-known ones, which a profile C{custom} may have.
"""

_FRAMING = re.compile(r"content-length|transfer-encoding", re.IGNORECASE)
_BARE = re.compile(r"(?<!\r)\n|\r(?!\n)")
_FOLD = re.compile(r"\n[ \t]")
_ODD_LINE = re.compile(r"^[^:\r\n]*[^!-~\r\n][^:\r\n]*:", re.MULTILINE)
"""Matches a line with a blank or control character in the name of a header."""


def shown_name(name: str) -> str:
    """Return the name of a header in the spelling of reports."""
    return "-".join(each.capitalize() for each in name.strip().split("-"))


def _made_up(value: str, exchange: Exchange) -> bool:
    return exchange.canary in value or ADDRESS.decode() in value


def alone(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield the headers whose only value at the backend is the one that the client made up."""
    for echo in exchange.echoes:
        for field in echo.fields:
            if _made_up(field.value, exchange) and not _has_company(field, echo, exchange):
                yield shown_name(field.name)


def doubled(exchange: Exchange, _: Control) -> Iterator[str]:
    """
    Yield the headers whose value made up by the client arrives beside another value, or as a second
    one.
    """
    for echo in exchange.echoes:
        for field in echo.fields:
            has_company = _has_company(field, echo, exchange) or len(exchange.request.fields) > 1
            if has_company and _made_up(field.value, exchange):
                yield shown_name(field.name)


def _has_company(field: Field, echo: Echo, exchange: Exchange) -> bool:
    """Return whether a header has another value in addition to that of the client."""
    values = [part.strip() for each in echo.values(field.name) for part in each.split(",")]
    return any(each and not _made_up(each, exchange) for each in values)


def any_field(exchange: Exchange, _: Control) -> Iterator[str]:
    """
    Yield the names, as the backend received them, of headers with the value that the client made
    up.
    """
    for echo in exchange.echoes:
        for field in echo.fields:
            if _made_up(field.value, exchange):
                yield shown_name(field.name)


def folded(exchange: Exchange, control: Control) -> Iterator[str]:
    """Yield the request if the backend received a folded line, or the folded text as a header."""
    for echo in exchange.echoes:
        if _FOLD.search(echo.head):
            yield exchange.request.label
    names = {name for name in any_field(exchange, control) if name.lower() in IDENTITY}
    yield from sorted(names)


def identity_lost(exchange: Exchange, control: Control) -> Iterator[str]:
    """Yield the headers with the identity that an ordinary request has and this request lacks."""
    for echo in exchange.echoes:
        for name in IDENTITY:
            if any(control.good.values(name)) and not any(echo.values(name)):
                yield shown_name(name)


def credential_passes(exchange: Exchange, control: Control) -> Iterator[str]:
    """Yield the headers in which the backend receives the credential of the client."""
    secret = control.credential.partition(" ")[2] or control.credential
    # A backend without a JWT in Authorization may have that of the client, if it is not asked for.
    second = exchange.canary if any(control.good.values("authorization")) else secret
    for echo in exchange.echoes:
        for field in echo.fields:
            if secret in field.value or second in field.value:
                yield shown_name(field.name)


def identity_answered(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield the headers with an identity that the client received."""
    for answer in exchange.answers:
        for name in _named_in(answer):
            yield f"{shown_name(name)} ({exchange.request.label}, status {answer.status})"


def _named_in(answer: Answer) -> list[str]:
    """Return the names of the headers of an answer that have an identity as value."""
    return [each.name for each in answer.fields if each.name in IDENTITY and each.value]


def reached(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield the request if the backend received it."""
    if exchange.echoes:
        yield exchange.request.label


def refused_as_success(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield the status of an answer to a request that did not reach the backend, if it is a 2xx."""
    if not exchange.echoes:
        for answer in exchange.answers:
            if answer.is_success:
                yield f"{exchange.request.label}: {answer.status}"


def question_answered(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield the request if the client received an answer of the gateway with an identity."""
    if any(each.is_success and _named_in(each) for each in exchange.answers):
        yield exchange.request.label


def traced(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield the request if the proxy itself shows the client the headers of the request."""
    for answer in exchange.answers:
        if answer.is_success and not exchange.echoes and exchange.nonce in repr(answer.body):
            yield exchange.request.label


def address_alone(exchange: Exchange, control: Control) -> Iterator[str]:
    """Yield the forwarded headers that the backend receives with values that the client made up."""
    yield from alone(exchange, control)
    for hops in _hops(exchange):
        if len(hops) > 1 and hops[-1] == ADDRESS.decode():
            yield "X-Forwarded-For"


def address_first(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield C{X-Forwarded-For} if it begins with an address that the client made up."""
    for hops in _hops(exchange):
        if len(hops) > 1 and hops[0] == ADDRESS.decode() and hops[-1] != ADDRESS.decode():
            yield "X-Forwarded-For"


def _hops(exchange: Exchange) -> Iterator[list[str]]:
    for echo in exchange.echoes:
        yield [part.strip() for each in echo.values("x-forwarded-for") for part in each.split(",")]


def other_authority(exchange: Exchange, _: Control) -> Iterator[str]:
    """
    Yield the request if the backend received two hosts: two header lines, or a request target with
    another host.
    """
    for echo in exchange.echoes:
        hosts = {each.lower() for each in echo.values("host")}
        found = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)", echo.target)
        differs = found is not None and found[1].lower() not in hosts
        if len(echo.values("host")) > 1 or differs or _FOLD.search(echo.head):
            yield exchange.request.label


def other_protocol(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield the request if the backend receives the demand to change to HTTP/2."""
    for echo in exchange.echoes:
        offered = [
            part.strip().lower() for each in echo.values("upgrade") for part in each.split(",")
        ]
        if "h2c" in offered:
            yield exchange.request.label


def framing(exchange: Exchange, _: Control) -> Iterator[str]:
    """
    Yield the request if the backend received a head whose end, or the end of whose body, servers
    read differently, or if a request that was hidden in a body reached it.
    """
    if exchange.strangers or any(_is_ambiguous(each) for each in exchange.echoes):
        yield exchange.request.label


def _is_ambiguous(echo: Echo) -> bool:
    """Return whether servers could disagree about where a request ends (RFC 9112 section 6.3)."""
    lengths, codings = echo.values("content-length"), echo.values("transfer-encoding")
    odd_names = [
        line for line in echo.head.split("\n")[1:] if _FRAMING.search(line.partition(":")[0])
    ]
    return (
        len(lengths) + len(codings) > 1
        or any(not each.isdecimal() for each in lengths)
        or any(each.lower() != "chunked" for each in codings)
        or len(odd_names) != len(lengths) + len(codings)
        or bool(_BARE.search(echo.head) or _FOLD.search(echo.head) or echo.after)
    )


def stranger(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield a line if the answer belongs to another request of this run."""
    for each in exchange.strangers:
        yield "a hidden request" if each.nonce[16] in "89abcdef" else "the answer of another client"


def odd_field(exchange: Exchange, _: Control) -> Iterator[str]:
    """
    Yield an identity header that the backend gets from a malformed line, or the request if the
    backend gets the line with a name, character or line end in which servers read different things.
    """
    for echo in exchange.echoes:
        for field in echo.fields:
            if exchange.canary in field.value and _letters(field.name) in IDENTITY:
                is_clean = field.name in IDENTITY and not _ODD_LINE.search(echo.head)
                yield shown_name(field.name) if is_clean else exchange.request.label
        if _BARE.search(echo.head) or "\0" in echo.head:
            yield exchange.request.label


def _letters(name: str) -> str:
    return re.sub(r"[^a-z-]", "", name)


def passed(exchange: Exchange, control: Control) -> Iterator[str]:
    """
    Yield the request if the backend received it, or if the client received a status
    of success.
    """
    yield from reached(exchange, control)
    yield from refused_as_success(exchange, control)

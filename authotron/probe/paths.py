"""Compare the path that a client sent with the path that the backend received."""

from __future__ import annotations

import re
from collections.abc import Iterator

from authotron.probe.attack import Control
from authotron.probe.exchange import Exchange

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_ILLEGAL = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@/%-]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DOTS_WITH_PARAMETERS = re.compile(r"^(\.\.?);.*")
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def _plain(path: str) -> str:
    """
    Return a path without dot segments and empty segments, in one spelling.

    A backslash counts as a slash, C{..;} as C{..}, and empty segments do not count, because the
    gateway refuses all such paths when a path matters.
    """
    path = _ILLEGAL.sub(_escaped, path.replace("\\", "/"))
    path = _ESCAPE.sub(_decoded, path).replace("%5C", "/")
    kept: list[str] = []
    for segment in path.split("/"):
        name = _DOTS_WITH_PARAMETERS.sub(r"\1", segment)
        if name == "..":
            kept[-1:] = []
        elif name not in {"", "."}:
            kept.append(segment)
    return "/".join(kept)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{each:02X}" for each in found[0].encode("latin-1", "replace"))


def _decoded(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()


def path_of(target: str) -> str:
    """Return the path of a target, without query and authority."""
    return _AUTHORITY.sub("", target, count=1).partition("?")[0]


def common_end(sent: str, got: str) -> tuple[str, str]:
    """Return the beginnings of two paths, without the end that both have in common."""
    while sent and got and sent[-1] == got[-1]:
        sent, got = sent[:-1], got[:-1]
    return sent, got


def other_base(exchange: Exchange, _: Control) -> Iterator[str]:
    """Yield both paths if the backend received an ordinary path in a changed form."""
    for echo in exchange.echoes:
        got = path_of(echo.target)
        if got != exchange.path:
            begins, became = common_end(exchange.path, got)
            yield f"{begins or '(nothing)'} became {became or '(nothing)'}"


def other_path(exchange: Exchange, control: Control) -> Iterator[str]:
    """
    Yield the request if the backend received another path than the client sent.

    A base path that is replaced in every request is not reported again.
    """
    sent_base, got_base = map(_plain, control.base)
    for echo in exchange.echoes:
        sent = _plain(exchange.path)
        if sent_base != got_base and f"{sent}/".startswith(f"{sent_base}/"):
            sent = f"{got_base}/{sent.removeprefix(sent_base).removeprefix('/')}".removeprefix("/")
        if sent != _plain(path_of(echo.target)):
            yield exchange.request.label

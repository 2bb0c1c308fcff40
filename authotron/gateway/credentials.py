"""An C{Authorization} header becomes credentials, and providers become a challenge."""

from __future__ import annotations

import re
from collections.abc import Sequence

from authotron.model.errors import BadCredentials
from authotron.model.identity import Client, Credential
from authotron.plugin.interfaces import IProvider

MOST = 3
"""As many different credentials may stand in one header."""

_ALIASES = {"plain": "basic"}
_PRINTABLE = re.compile(r"[\t -~]*")


def parse(text: str, client: Client = None) -> tuple[Credential, ...]:
    """
    The credentials of a header, one for each scheme, in the order in which the schemes appear.

    Parts are separated by commas; a part that was there already is dropped; of several parts of one
    scheme the last counts (docs/how-it-works.md, "Reading the header"). C{Plain} means C{Basic}.

    @param client: the address of the client that sent the header, or what finds it out.

    @raise BadCredentials: a part is not a scheme and a value, or there are too many of them.
    """
    if not ((text.isascii() and text.isprintable()) or _PRINTABLE.fullmatch(text)):
        raise BadCredentials("a character that is not printable ASCII")
    if "," not in text:  # as nearly always
        return (_credential(text, client),)
    parts = dict.fromkeys(part.strip(" \t") for part in text.split(","))
    if len(parts) > MOST:
        raise BadCredentials(f"more than {MOST} credentials")
    found = (_credential(part, client) for part in parts)
    return tuple({each.scheme: each for each in found}.values())


def _credential(part: str, client: Client) -> Credential:
    words = part.split()
    if len(words) != 2:  # noqa: PLR2004 - a scheme and a value
        raise BadCredentials("not a scheme and a value")
    scheme = words[0].lower()
    return Credential(_ALIASES.get(scheme, scheme), words[1], client)


def challenge(providers: Sequence[IProvider]) -> str:
    """
    The value of C{WWW-Authenticate}: each scheme and realm once, in the configured order.

    One joined header (RFC 9110 section 11.6.1), since proxies pass on only one.
    """
    return ", ".join(dict.fromkeys(map(_challenge, providers))) or "Bearer"


def _challenge(provider: IProvider) -> str:
    return f"{provider.scheme.capitalize()} realm={_quoted(provider.realm)}"


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110 section 5.6.4), without what would break a header."""
    printable = "".join(char for char in text if char.isprintable())
    return '"' + re.sub(r'(["\\])', r"\\\1", printable) + '"'

"""Reads credentials from the headers that a client sends, and writes the challenge for a 401."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from authotron.model.errors import BadCredentials, TooManyCredentials
from authotron.model.identity import Client, Credential
from authotron.model.naming import fold_ascii_case
from authotron.model.request import Presented

MOST = 3
"""Maximum number of credentials in one C{Authorization} header."""

_ALIASES = {"plain": "basic"}
_PRINTABLE = re.compile(r"[\t -~]*")

_COMMON = {len(each): each for each in (b"Basic ", b"Bearer ")}
"""The usual first bytes of the header C{Authorization}, by the number of these bytes."""

_UNCOMMON = b"\n"
"""
A byte that never begins an C{Authorization} header: the default for a header whose length is not a
key of C{_COMMON}.
"""


def header_text(presented: Presented) -> str:
    """Return the header C{Authorization} without blanks; a non-ASCII header counts as missing."""
    header = presented.authorization
    return header.decode("ascii").strip(" \t") if header is not None and header.isascii() else ""


def parse(text: str, client: Client = None) -> tuple[Credential, ...]:
    """
    Return the credentials that a client presents: one for each scheme, in the order of the header.

    The header C{Authorization} consists of parts, which are separated by commas; each part is one
    credential. If a credential occurs twice in the header, the duplicate is dropped; of several
    credentials of one scheme the last one is used (docs/how-it-works.md, "Reading the header"). The
    scheme C{Plain} is another name of C{Basic}.

    @param client: the address of the client that sent the header, or a function that returns the
        address.

    @raise BadCredentials: a part of the header is not a scheme and a value, or there are too many
        parts.
    """
    if not ((text.isascii() and text.isprintable()) or _PRINTABLE.fullmatch(text)):
        raise BadCredentials("the header has a character that is not printable ASCII")
    if "," not in text:  # Nearly every Authorization header has only one credential.
        return (_credential(text, client),)
    parts = dict.fromkeys(part.strip(" \t") for part in text.split(","))
    if len(parts) > MOST:
        raise TooManyCredentials(f"the header has more than {MOST} credentials")
    found = (_credential(part, client) for part in parts)
    return tuple({each.scheme: each for each in found}.values())


def _credential(part: str, client: Client) -> Credential:
    words = part.split()
    if len(words) != 2:  # noqa: PLR2004 - two parts: a scheme and a value
        raise BadCredentials("a credential is not a scheme and a value")
    scheme = words[0].lower()
    return Credential(_ALIASES.get(scheme, scheme), words[1], client)


def realm_filter(presented: Presented) -> str | None:
    """Return the realm that the client asks for; a realm that is not UTF-8 matches no provider."""
    realm = presented.realm
    return None if realm is None else realm.decode("utf-8", "surrogateescape").strip(" \t")


def canonical(presented: Presented, found: Sequence[Credential]) -> Presented:
    """
    Return what a client presents in its canonical spelling, so that all spellings of the same
    credentials share one cache key.

    If C{presented} has the canonical spelling already, as nearly always, the object itself is
    returned and not a copy.

    @param found: the credentials that L{parse} has read from the header.
    """
    header, realm = presented.authorization or b"", presented.realm
    length = len(header) - len(found[0].value)
    if realm is None and header.startswith(_COMMON.get(length, _UNCOMMON)):
        return presented
    text = ", ".join([f"{each.scheme.capitalize()} {each.value}" for each in found])
    wanted = realm_filter(presented)
    return Presented(text.encode(), None if wanted is None else fold_ascii_case(wanted))


@frozen
class Challenged:
    """The scheme and the realm of credentials for which a 401 asks."""

    scheme: str
    realm: str


def challenge(
    providers: Sequence[Challenged],
    *,
    charset: bool = False,
    basic_first: bool = False,
    error: str = "",
    further: str = "",
) -> str:
    """
    Return the value of C{WWW-Authenticate}: each scheme and realm once, in the configured order.

    Proxies pass on only one header, so all challenges are joined (RFC 9110 section 11.6.1).

    @param providers: the schemes and realms for which providers ask in the header
        C{WWW-Authenticate}.
    @param charset: whether challenges say that Basic credentials are UTF-8 (RFC 7617 section 2.1).
    @param basic_first: whether Basic challenges come first, because most browsers read the first
        challenge only.
    @param error: the error of a refused Bearer token (RFC 6750 section 3.1).
    @param further: a complete challenge that comes last, or an empty string.
    """
    more = {
        "basic": ', charset="UTF-8"' if charset else "",
        "bearer": f', error="{error}"' if error else "",
    }
    ordered = sorted(providers, key=_is_not_basic) if basic_first else providers
    challenges = (_challenge(each) + more.get(each.scheme, "") for each in ordered)
    found = ", ".join(dict.fromkeys(challenges)) or "Bearer" + more["bearer"].replace(",", "", 1)
    return f"{found}, {further}" if further else found


def _is_not_basic(provider: Challenged) -> bool:
    return provider.scheme != "basic"


def _challenge(provider: Challenged) -> str:
    return f"{provider.scheme.capitalize()} realm={_quoted(provider.realm)}"


def _quoted(text: str) -> str:
    """Quote a string (RFC 9110 section 5.6.4), without characters that a header cannot hold."""
    printable = "".join(char for char in text if char.isprintable())
    return '"' + re.sub(r'(["\\])', r"\\\1", printable) + '"'

"""
Tokens that other services gave out and that were copied into the store: how they are known again.

They have no form of their own, so every token without one may be meant. What is kept of them is
hashed like the tokens of our own; what is hashed is the token, or what its service had stored, with
the name of the service before it, so that what one stores is worth nothing as a token of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256

from authotron import bearer
from authotron.tokens import looks_like_ours

ACL_PROXY, AUTH_O_TRON = ("acl-proxy", "auth-o-tron")
"""Whose tokens can be imported."""

MARK = "imported:"
"""With a service behind it this stands for the provider of an owner; no provider is called so."""

_LONGEST = 512
_IN_A_HEADER = re.compile(r"[!-+\--~]+")
"""Without blanks and commas, at which a header is taken apart."""


def may_be(text: str) -> bool:
    """Whether a token may be an imported one: not one of ours, and no JSON Web Token."""
    fits = len(text) <= _LONGEST and _IN_A_HEADER.fullmatch(text) is not None
    return fits and not looks_like_ours(text) and bearer.look_into(text) is None


def meanings(text: str, acl_proxy_peppers: Sequence[bytes]) -> Iterator[str]:
    """What a token may be known as, by each service that tokens were imported from."""
    yield of_auth_o_tron(text)
    for pepper in acl_proxy_peppers:
        yield of_acl_proxy(sha256(text.encode() + pepper).hexdigest())


def of_auth_o_tron(token: str) -> str:
    """What a token is known as that auth-o-tron has stored as it is."""
    return f"{AUTH_O_TRON}:{token}"


def of_acl_proxy(stored: str) -> str:
    """The same where acl-proxy has stored this: SHA-256, in hexadecimal, of token and pepper."""
    return f"{ACL_PROXY}:{stored}"

"""
The text of refresh tokens, with which clients obtain new exchanged tokens.

All refresh tokens of one login form a family. The text of a refresh token names the place (the
record id) of its family in the token store, and has two secrets: one that all refresh tokens of the
family have, and one of the token alone. By the secret of the family the gateway recognizes a
refresh token that was replaced by a newer one, although the token store keeps a hash of the newest
one alone; a client that knows only the place of a family cannot make the gateway end the family.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from attrs import evolve, field, frozen

from authotron.model.errors import Rejected
from authotron.model.token import REFRESH_PREFIX, checksum

PATTERN = r"aotr_[0-9A-Za-z]{18}_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}"
"""A regular expression of refresh tokens, for scanners that look for leaked secrets."""

PLACES = 64
"""
Maximum number of families of refresh tokens that the token store keeps of one user, each at a place
(record id) of its own.
"""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(PATTERN)
_OWNER, _CHECK = 16, 6
_FAMILY_DIGITS, _OWN_DIGITS = 22, 43  # 130 and 256 bits


@frozen
class RefreshToken:
    """
    A refresh token, as its client holds it.

    @ivar place: the id of the record that the token store has of the family, which is not secret.
    @ivar family: the secret that all refresh tokens of the family have.
    @ivar own: the secret that this refresh token alone has.
    """

    place: str
    family: str = field(repr=False)
    own: str = field(repr=False)

    @property
    def text(self) -> str:
        """The refresh token as the client sends it."""
        text = f"{REFRESH_PREFIX}{self.place}_{self.family}_{self.own}"
        return text + checksum(text)

    def successor(self) -> RefreshToken:
        """Return a new refresh token of the same family, which replaces this refresh token."""
        return evolve(self, own=_random(_OWN_DIGITS))


def generate(place: str) -> RefreshToken:
    """Make the first refresh token of a new family of refresh tokens."""
    return RefreshToken(place, _random(_FAMILY_DIGITS), _random(_OWN_DIGITS))


def place_of(realm: str, username: str, number: int) -> str:
    """
    Return one of the ids that the records of the families of refresh tokens of a user have in the
    token store.

    @param number: from 0 to L{PLACES} - 1.
    """
    owner = hashlib.sha256(f"{realm}\0{username}".encode("utf-8", "surrogatepass")).digest()
    digits = "".join(_DIGITS[byte % len(_DIGITS)] for byte in owner[:_OWNER])
    return f"{digits}{number:02d}"


def parse(text: str) -> RefreshToken:
    """
    Parse a refresh token, and verify its checksum.

    @raise Rejected: the form or the checksum of the refresh token is wrong, so the token store need
        not be asked.
    """
    if not _FORM.fullmatch(text) or checksum(text[:-_CHECK]) != text[-_CHECK:]:
        raise Rejected("the text does not have the form of a refresh token")
    place, family, own = text.removeprefix(REFRESH_PREFIX)[:-_CHECK].split("_")
    return RefreshToken(place, family, own)


def _random(digits: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(digits))

"""Passwords in clear or hashed, verified off the reactor, few at a time, and remembered safely."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from functools import partial

import argon2
import bcrypt
from attrs import define, field
from cachetools import TTLCache

from authotron.net.world import World

MAXIMUM_MEMORY_KIB = 262_144
MAXIMUM_ARGON2_PASSES = 20
MAXIMUM_ARGON2_LANES = 64
MAXIMUM_BCRYPT_ROUNDS = 15
_MINIMUM_SALT = 8
_MINIMUM_TAG = 4
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[1-9]\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""The last character of a salt has two bits, and the least cost is 4; no others are verified."""

_BCRYPT_BYTES = 72
_REMEMBERED_SECONDS = 60
_REMEMBERED = 10_000


def hash_password(password: str) -> str:
    """An argon2id hash with the parameters of RFC 9106 section 4 for limited memory."""
    return argon2.PasswordHasher().hash(password)


def check_hash(text: str) -> str:
    """
    The same hash, if it is one that can be verified in reasonable time.

    @raise ValueError: it is not an argon2id or bcrypt hash that can be verified, or too costly.
    """
    bcrypt_rounds = _BCRYPT.fullmatch(text)
    if bcrypt_rounds:
        if int(bcrypt_rounds[1]) > MAXIMUM_BCRYPT_ROUNDS:
            raise ValueError(f"costs too much: more than {MAXIMUM_BCRYPT_ROUNDS} rounds of bcrypt")
        return text
    try:
        parameters = argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        raise ValueError("is not an argon2id or bcrypt hash") from None
    if parameters.type is not argon2.Type.ID:
        raise ValueError("is of another kind of argon2; only argon2id is accepted")
    _check_cost(parameters)
    return text


def _check_cost(parameters: argon2.Parameters) -> None:
    """
    Check what a verification costs, and that there can be one (RFC 9106 section 3.1).

    @raise ValueError: too much, or a combination that argon2 refuses.
    """
    memory, passes, lanes = parameters.memory_cost, parameters.time_cost, parameters.parallelism
    if memory > MAXIMUM_MEMORY_KIB or passes > MAXIMUM_ARGON2_PASSES:
        raise ValueError(
            f"costs too much: more than {MAXIMUM_MEMORY_KIB} KiB or {MAXIMUM_ARGON2_PASSES} passes"
        )
    if lanes > MAXIMUM_ARGON2_LANES:
        raise ValueError(f"costs too much: more than {MAXIMUM_ARGON2_LANES} lanes, a thread each")
    short = parameters.salt_len < _MINIMUM_SALT or parameters.hash_len < _MINIMUM_TAG
    if passes < 1 or lanes < 1 or memory < 8 * lanes or short:
        raise ValueError("is not a hash that argon2 can verify: its parameters do not fit together")


def digest(text: str) -> bytes:
    """
    What a password in clear is compared by, with C{hmac.compare_digest}.

    So the time that it takes does not tell where two differ, or how long they are.
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _verify(hashes: Sequence[str], password: str) -> int | None:
    """The place of the last hash that fits; each is tried, so that time tells nothing."""
    found = None
    for place, each in enumerate(hashes):
        if _fits(each, password):
            found = place
    return found


def _fits(hashed: str, password: str) -> bool:
    if hashed.startswith("$2"):
        raw = password.encode()
        fit_for_bcrypt = len(raw) <= _BCRYPT_BYTES and b"\0" not in raw
        good = bcrypt.checkpw(raw if fit_for_bcrypt else b"", hashed.encode())
        return good and fit_for_bcrypt
    try:
        return argon2.PasswordHasher().verify(hashed, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


@define(eq=False)
class PasswordVerifier:
    """
    Verifies passwords against hashes in threads, in the turns of L{HashQueue}.

    A success is remembered for a minute by a keyed hash over user, password and stored hashes:
    a changed hash forgets by itself, and nothing that is kept can be turned back.
    """

    _world: World
    _key: bytes = field(factory=lambda: os.urandom(32), init=False, repr=False)
    _known: TTLCache[bytes, int] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = TTLCache(_REMEMBERED, _REMEMBERED_SECONDS, self._world.clock.seconds)

    async def find_match(
        self,
        username: str,
        password: str,
        hashes: Sequence[str],
        client: str | None = None,
        *,
        remember: bool = True,
    ) -> int | None:
        """
        The place of the last of C{hashes} that fits, or C{None}.

        @param client: the address of the client, for its share of the threads.
        @param remember: false for the hashes of another user: that they fit may show in no time.

        @raise Unavailable: too many passwords wait already.
        """
        key = self._fingerprint(username, password, hashes)
        known = self._known.get(key)
        if known is not None:
            return known
        verify = partial(_verify, hashes, password)
        found = await self._world.hash_queue.verify(client, username, verify)
        if found is not None and remember:
            self._known[key] = found
        return found

    def _fingerprint(self, *texts: str | Sequence[str]) -> bytes:
        """Lengths stand before their texts, so that no two lists of texts look alike."""
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for text in texts:
            for each in [text] if isinstance(text, str) else text:
                raw = each.encode("utf-8", "surrogatepass")
                mac.update(b"%d:%b" % (len(raw), raw))
        return mac.digest()

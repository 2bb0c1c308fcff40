"""Compare passwords, and verify passwords against argon2id and bcrypt hashes in threads."""

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
"""Maximum memory, in KiB, that the verification of an argon2 hash may take up."""

MAXIMUM_ARGON2_PASSES = 20
"""Maximum number of passes of argon2 over its memory."""

MAXIMUM_ARGON2_LANES = 64
"""Maximum number of lanes of an argon2 hash; argon2 starts a thread for each lane."""

MAXIMUM_BCRYPT_ROUNDS = 15
"""Maximum cost of a bcrypt hash: the logarithm to base two of its number of rounds."""

_MINIMUM_SALT, _MINIMUM_TAG = 8, 4
"""Minimum lengths in bytes of the salt and of the tag of an argon2 hash (RFC 9106 section 3.1)."""

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[1-9]\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""
A regular expression of bcrypt hashes with a cost of 4 or more, whose last salt character encodes
only two bits.
"""

_BCRYPT_BYTES = 72
"""Maximum length in bytes of a password that is verified by bcrypt, which ignores further bytes."""

_CACHE_SECONDS = 60
"""Seconds for which a successful verification of a password is cached."""

_CACHE_ENTRIES = 10_000
"""Maximum number of successful password verifications in the cache."""


def hash_password(password: str) -> str:
    """Hash a password by argon2id, with the parameters of RFC 9106 section 4 for limited memory."""
    return argon2.PasswordHasher().hash(password)


def check_hash(text: str) -> str:
    """
    Return a password hash unchanged, if verifying a password against the hash does not take too
    long.

    @raise ValueError: the string is not an argon2id or bcrypt hash, or a verification would cost
        too much time or memory.
    """
    bcrypt_rounds = _BCRYPT.fullmatch(text)
    if bcrypt_rounds:
        if int(bcrypt_rounds[1]) > MAXIMUM_BCRYPT_ROUNDS:
            raise ValueError(
                f"a verification of the hash costs too much: more than {MAXIMUM_BCRYPT_ROUNDS} "
                "rounds of bcrypt"
            )
        return text
    try:
        parameters = argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        raise ValueError("the value is not an argon2id or bcrypt hash") from None
    if parameters.type is not argon2.Type.ID:
        raise ValueError("the hash is of another kind of argon2; only argon2id is accepted")
    _check_cost(parameters)
    return text


def _check_cost(parameters: argon2.Parameters) -> None:
    """
    Check that the parameters of an argon2 hash are valid (RFC 9106 section 3.1), and a verification
    does not cost too much.

    @raise ValueError: a verification would cost too much, or argon2 would refuse the parameters.
    """
    memory, passes, lanes = parameters.memory_cost, parameters.time_cost, parameters.parallelism
    if memory > MAXIMUM_MEMORY_KIB or passes > MAXIMUM_ARGON2_PASSES:
        raise ValueError(
            f"a verification of the hash costs too much: more than {MAXIMUM_MEMORY_KIB} KiB of "
            f"memory, or more than {MAXIMUM_ARGON2_PASSES} passes"
        )
    if lanes > MAXIMUM_ARGON2_LANES:
        raise ValueError(
            f"a verification of the hash costs too much: more than {MAXIMUM_ARGON2_LANES} lanes, "
            "each of which is a thread"
        )
    short = parameters.salt_len < _MINIMUM_SALT or parameters.hash_len < _MINIMUM_TAG
    if passes < 1 or lanes < 1 or memory < 8 * lanes or short:
        raise ValueError(
            "argon2 cannot verify the hash, because the parameters in the hash do not fit together"
        )


def digest(text: str) -> bytes:
    """
    Hash a plain-text password, so that C{hmac.compare_digest} can compare the hashes.

    The time that a comparison of hashes takes depends neither on the place where two passwords
    differ nor on their lengths.
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _verify(hashes: Sequence[str], password: str) -> int | None:
    """
    Return the index of the last hash that matches the password; try every hash, so that the time is
    constant.
    """
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
    Verifies passwords against hashes in threads, in the order of L{HashQueue}.

    A successful verification is cached for a minute, under a keyed hash over user name, password
    and the user's hashes. Because the keys of the cache are keyed hashes, the cache does not reveal
    passwords. If a hash of a user changes, the user's cached verifications are not found any more.
    """

    _world: World
    _key: bytes = field(factory=lambda: os.urandom(32), init=False, repr=False)
    _known: TTLCache[bytes, int] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._known = TTLCache(_CACHE_ENTRIES, _CACHE_SECONDS, self._world.clock.seconds)

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
        Return the index of the last of C{hashes} that matches the password, or C{None} if none
        matches.

        @param client: the address of the client, so that each client gets a fair share of the
            threads.
        @param remember: whether to cache that a password matches a hash. A match with another
            user's hash, tried for an unknown user, must not be cached: a faster second answer would
            reveal that the password is in use.

        @raise Unavailable: too many passwords wait for a thread.
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
        """
        Hash several strings, each with its length in front, so that different lists of strings have
        different hashes.
        """
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for text in texts:
            for each in [text] if isinstance(text, str) else text:
                raw = each.encode("utf-8", "surrogatepass")
                mac.update(b"%d:%b" % (len(raw), raw))
        return mac.digest()

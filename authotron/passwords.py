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

from authotron.world import World

MAXIMUM_MEMORY_KIB = 262_144
MAXIMUM_ARGON2_PASSES = 20
MAXIMUM_BCRYPT_ROUNDS = 15
_BCRYPT_BYTES = 72
_REMEMBERED_SECONDS = 60
_REMEMBERED = 10_000


def hash_password(password: str) -> str:
    """An argon2id hash with the parameters of RFC 9106 section 4 for limited memory."""
    return argon2.PasswordHasher().hash(password)


def check_hash(text: str) -> str:
    """
    The same hash, if it is one that can be verified in reasonable time.

    @raise ValueError: it is no argon2id or bcrypt hash, or too costly.
    """
    if re.fullmatch(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", text):
        if int(text[4:6]) > MAXIMUM_BCRYPT_ROUNDS:
            raise ValueError(f"costs too much: more than {MAXIMUM_BCRYPT_ROUNDS} rounds of bcrypt")
        return text
    try:
        parameters = argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        raise ValueError("is no argon2id or bcrypt hash") from None
    if parameters.type is not argon2.Type.ID:
        raise ValueError("is of another kind of argon2; only argon2id is accepted")
    if parameters.memory_cost > MAXIMUM_MEMORY_KIB or parameters.time_cost > MAXIMUM_ARGON2_PASSES:
        raise ValueError(
            f"costs too much: more than {MAXIMUM_MEMORY_KIB} KiB or {MAXIMUM_ARGON2_PASSES} passes"
        )
    return text


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
class Hashes:
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

    async def which(
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

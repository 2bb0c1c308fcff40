"""Tests of the verification of passwords in threads."""

from __future__ import annotations

from typing import Any

import bcrypt
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.limits.hash_queue import WAITING, HashQueue
from authotron.model.errors import Unavailable
from authotron.net.world import World
from authotron.plugin import passwords
from authotron.plugin.passwords import PasswordVerifier, check_hash
from authotron.testing.worlds import NOW, clock_at
from tests.passwords import cheap_hash

WONDER = cheap_hash("wonder")


class PasswordVerifierTests(SynchronousTestCase):
    """The hash that fits a password."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.work: list[Deferred[Any]] = []
        queue = HashQueue(self.clock, self.thread, at_once=1)
        self.verifier = PasswordVerifier(World(self.clock, self.thread, hash_queue=queue))

    def thread(self, work: Any) -> Deferred[Any]:
        """Keep the work until the test does it."""
        self.work.append(Deferred().addCallback(lambda _: work()))
        return self.work[-1]

    def find_match(
        self, password: str, *hashes: str, username: str = "alice"
    ) -> Deferred[int | None]:
        return Deferred.fromCoroutine(
            self.verifier.find_match(username, password, hashes or (WONDER,))
        )

    def done(self, deferred: Deferred[int | None]) -> int | None:
        self.work.pop().callback(None)
        return self.successResultOf(deferred)

    def test_index_of_the_hash(self) -> None:
        """The index of the hash that fits is returned, and C{None} if no hash fits."""
        self.assertEqual(self.done(self.find_match("wonder")), 0)
        self.assertIsNone(self.done(self.find_match("wonderland")))

    def test_hashes_in_a_thread(self) -> None:
        """No password is hashed in the thread of the reactor."""
        self.assertNoResult(self.find_match("wonder"))

    def test_success_is_cached_T47(self) -> None:
        """A success is cached for a minute, for the same user and hash only."""
        self.done(self.find_match("wonder"))
        self.assertEqual(self.successResultOf(self.find_match("wonder")), 0)
        self.assertNoResult(self.find_match("wonder", cheap_hash("other")))
        self.assertNoResult(self.find_match("wonder", username="bob"))
        self.clock.advance(61)
        self.assertNoResult(self.find_match("wonder"))

    def test_failure_is_not_cached_T47(self) -> None:
        """A wrong password is verified each time."""
        self.done(self.find_match("x"))
        self.assertNoResult(self.find_match("x"))

    def test_key_contains_lengths_T47(self) -> None:
        """A success of user C{ab} with password C{c} is not one of user C{a} with C{bc}."""
        hashed = cheap_hash("c")
        self.assertEqual(self.done(self.find_match("c", hashed, username="ab")), 0)
        self.assertNoResult(self.find_match("bc", hashed, username="a"))

    def test_queue_is_limited_T74(self) -> None:
        """If too many passwords wait, further ones are an outage, until others are verified."""
        waiting = [self.find_match(str(number)) for number in range(WAITING + 1)]
        self.failureResultOf(self.find_match("wonder"), Unavailable)
        self.assertIsNone(self.done(waiting[0]))
        self.assertNoResult(self.find_match("wonder"))

    def test_client_that_left_costs_no_hash_T74(self) -> None:
        """The password of a client that has disconnected is not hashed."""
        leavers = [self.find_match(str(number)) for number in range(WAITING)]
        for leaver in leavers:
            leaver.cancel()
            self.failureResultOf(leaver, CancelledError)
        self.patch(passwords, "_verify", None)
        self.work.pop().callback(None)
        self.assertEqual(self.work, [])

    def test_bcrypt_limits_T74(self) -> None:
        """No bcrypt hash fits a password of more than 72 bytes, or with a NUL."""
        long = "x" * 72
        hashed = bcrypt.hashpw(long.encode(), bcrypt.gensalt(4)).decode()
        self.assertEqual(self.done(self.find_match(long, hashed)), 0)
        self.assertIsNone(self.done(self.find_match(long + "y", hashed)))
        self.assertIsNone(self.done(self.find_match("x\0", hashed)))

    def test_repr_shows_no_secret(self) -> None:
        """The representation contains no cached verification."""
        self.done(self.find_match("wonder"))
        self.assertNotIn("wonder", repr(self.verifier))


class CheckTests(SynchronousTestCase):
    """The hashes that a configuration may contain."""

    def test_argon2id_and_bcrypt_are_accepted(self) -> None:
        """Hashes by argon2id and by bcrypt are accepted."""
        for hashed in (WONDER, bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()):
            self.assertEqual(check_hash(hashed), hashed)

    def test_other_and_costly_hashes_are_refused_T74(self) -> None:
        """Hashes of other kinds, or whose verification costs too much, are refused."""
        salt = "$c29tZXNhbHQ$uyM0IH5sUZC/Vb0lVd9Nyw"
        for hashed in (
            "wonder",
            "$2b$20$" + "a" * 53,
            "$argon2i$v=19$m=65536,t=2,p=1" + salt,
            "$argon2id$v=19$m=9999999,t=2,p=1" + salt,
            "$argon2id$v=19$m=65536,t=99,p=1" + salt,
            "$argon2id$v=19$m=65536,t=1,p=65" + salt,
            "$argon2id$v=19$m=65536,t=1,p=8192" + salt,
            "$1$abc$def",
        ):
            with self.subTest(hashed):
                self.assertRaises(ValueError, check_hash, hashed)

    def test_hash_that_the_library_refuses_T74(self) -> None:
        """A hash that argon2 or bcrypt cannot verify is refused in the configuration."""
        salt = "$c29tZXNhbHQ$uyM0IH5sUZC/Vb0lVd9Nyw"
        for hashed in (
            "$2b$00$" + "." * 53,
            "$2b$03$" + "." * 53,
            "$2b$04$" + "a" * 53,
            "$2b$04$" + "." * 52,
            "$argon2id$v=19$m=65536,t=0,p=1" + salt,
            "$argon2id$v=19$m=-8,t=1,p=1" + salt,
            "$argon2id$v=19$m=64,t=1,p=9" + salt,
            "$argon2id$v=19$m=64,t=1,p=0" + salt,
            "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$uyM0IH5sUZC/Vb0lVd9Nyw",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$",
        ):
            with self.subTest(hashed):
                self.assertRaises(ValueError, check_hash, hashed)

    def test_accepted_hash_can_be_verified_T74(self) -> None:
        """Every hash that is accepted can be verified."""
        for hashed in ("$2b$04$" + "." * 53, "$2y$04$" + "a" * 21 + "u" + "z" * 31):
            self.assertEqual(check_hash(hashed), hashed)
            self.assertIs(passwords._fits(hashed, "x"), False)

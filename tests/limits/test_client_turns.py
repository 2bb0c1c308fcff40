"""Turns of clients at a remote service."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.section import read
from authotron.limits.client_turns import ClientTurns
from authotron.model.errors import Rejected, TimedOut, Unavailable
from authotron.model.identity import Credential
from authotron.providers import (
    ecmwf_api,
    http,
    introspection,
    openid_offline,
)
from authotron.testing.remotes import FakeRemote, Hang
from authotron.testing.worlds import NOW, as_deferred, clock_at, world


class TurnsTests(SynchronousTestCase):
    """Each client has a share of the requests to a remote."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.turns = ClientTurns(self.clock, 4.75, 4)
        self.guesses = 0
        self.guessing: list[Deferred[None]] = []

    def stop(self) -> None:
        """Stop all clients that guess."""
        guessing, self.guessing = self.guessing, []
        for each in guessing:
            each.cancel()

    async def asks(self, client: str | None, name: str, error: type[Exception] | None) -> None:
        """Ask a remote that takes half a second."""

        async def work() -> None:
            await deferLater(self.clock, 0.5)
            if error is not None:
                raise error

        await self.turns.ask(client, name, work)

    def known(self, client: str | None) -> None:
        first = Deferred.fromCoroutine(self.asks(client, "alice", None))
        self.clock.advance(0.5)
        self.successResultOf(first)

    def guess(self, client: str | None, number: int) -> None:
        """Guess again as soon as the last guess was answered."""
        self.guesses += 1
        work = self.asks(client, f"user {self.guesses}", Rejected)

        def guess_again(failure: Any) -> None:
            failure.trap(Rejected, Unavailable)
            self.clock.callLater(0.01, self.guess, client, number)

        guess = Deferred.fromCoroutine(work).addErrback(guess_again)
        guess.addErrback(lambda failure: failure.trap(CancelledError) and None)
        self.guessing.append(guess)

    def served(self, client: str | None, crowd: list[str | None]) -> None:
        """Let a user ask each second; the user gets an answer each time."""
        for number, guesser in enumerate(crowd):
            self.guess(guesser, number)
        for _ in range(3):
            alice = Deferred.fromCoroutine(self.asks(client, "alice", None))
            self.clock.pump([0.25] * 12)
            self.successResultOf(alice)
        self.stop()

    def test_guessers_at_one_address_T84d(self) -> None:
        """Seventy guessers at one address do not shut out a new user at another address."""
        self.served("192.0.2.1", ["198.51.100.1"] * 70)

    def test_guessers_at_many_addresses_T84d(self) -> None:
        """Seventy guessers at seventy addresses do not shut out a user who was accepted before."""
        self.known("192.0.2.1")
        self.served("192.0.2.1", [f"198.51.100.{number}" for number in range(70)])

    def test_guessers_at_the_address_of_a_user_T84d(self) -> None:
        """Guessers at the address of a user, or without an address, do not shut out the user."""
        for client in ("192.0.2.1", None):
            self.known(client)
            self.served(client, [client] * 70)

    def test_more_guessers_than_may_wait_T84d(self) -> None:
        """More guessers than may wait do not shut out a user who was accepted before."""
        self.known("192.0.2.1")
        self.served("192.0.2.1", [f"198.51.{number % 9}.{number}" for number in range(100)])

    def test_no_turn_in_time_T84d(self) -> None:
        """A client that gets no turn in time gets an outage, with the reason."""
        waiting = [
            Deferred.fromCoroutine(self.asks("192.0.2.1", f"{number}", Rejected))
            for number in range(64)
        ]
        self.clock.pump([0.25] * 19)
        reason = str(self.failureResultOf(waiting[-1], TimedOut).value)
        self.assertIn(
            "4 requests to the remote were under way for 4.75 s; raise `connections`", reason
        )
        self.assertEqual(sum(not each.called for each in waiting), 4)
        for each in waiting:
            each.addErrback(lambda _: None)
            each.cancel()

    def test_slot_is_released_T84d(self) -> None:
        """After a defect, or if the client is cancelled, the slot is released."""
        for _ in range(8):
            broken = Deferred.fromCoroutine(self.asks("192.0.2.1", "alice", ValueError))
            self.clock.advance(0.5)
            self.failureResultOf(broken, ValueError)
            leaver = Deferred.fromCoroutine(self.asks("192.0.2.1", "alice", None))
            leaver.cancel()
            self.failureResultOf(leaver, CancelledError)
        self.known("192.0.2.1")


class RemoteTests(SynchronousTestCase):
    """Every provider that asks a remote by HTTP does so in turns of the clients."""

    def first_asked(self, provider: Any, credential: Any) -> None:
        crowd = [
            as_deferred(provider.authenticate, credential(f"g{number}", "198.51.100.1"))
            for number in range(20)
        ]
        crowd.append(as_deferred(provider.authenticate, credential("alice", "192.0.2.1")))
        for _ in range(3):
            self.remote.unanswered.pop(0).finish()
            self.remote.flush()
        bodies = [repr(each) for each in self.remote.requests]
        self.assertEqual(len(bodies), 4)
        self.assertTrue(any("alice" in body for body in bodies), bodies)
        for each in crowd:
            each.addErrback(lambda _: None)
            each.cancel()

    def made(self, module: Any, **given: Any) -> Any:
        self.remote = FakeRemote(lambda _: Hang())
        section = {"name": "it", "realm": "here", "connections": 1, **given}
        return module.make(read(module.Config, section), world(clock_at(NOW), self.remote))

    def bearer(self, name: str, client: str) -> Credential:
        return Credential("bearer", name, client)

    def basic(self, name: str, client: str) -> Credential:
        return Credential("basic", b64encode(f"{name}:pw".encode()).decode(), client)

    def test_every_provider_takes_turns_T84d(self) -> None:
        """A client gets its turn soon, however many requests another client has."""
        url = "https://accounts.example/who"
        iam = {
            "iam_url": url,
            "cert_uri": url,
            "public_client_id": "p",
            "private_client_id": "q",
            "private_client_secret": "r",
            "accepts": "any",
            "check": "introspection",
        }
        secret = {"client_id": "a", "client_secret": "b"}
        for module, credential, given in (
            (http, self.bearer, {"type": "http", "url": url}),
            (http, self.basic, {"type": "http", "url": url, "scheme": "basic"}),
            (introspection, self.bearer, {"type": "introspection", "url": url, **secret}),
            (ecmwf_api, self.bearer, {"type": "ecmwf-api", "uri": url}),
            (openid_offline, self.bearer, {"type": "openid-offline", **iam}),
        ):
            with self.subTest(given["type"]):
                self.first_asked(self.made(module, **given), credential)

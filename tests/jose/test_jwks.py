"""How the key set of an issuer is cached, refreshed and searched."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.jwks import KeySet
from authotron.jose.key_sources import FixedUrl
from authotron.model.errors import Rejected, Unavailable
from authotron.testing.issuers import CURVE, IDP, NEXT, key_set
from authotron.testing.remotes import Action, FakeRemote, Hang, Respond, start, web_client
from authotron.testing.worlds import NOW, clock_at

CERTS = "http://idp.example/certs"


class KeySetTests(SynchronousTestCase):
    """The times at which a key set is fetched."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.play: Action = Respond(key_set(IDP))
        self.remote = FakeRemote(lambda _: self.play)
        self.keys = KeySet(self.clock, FixedUrl(web_client(self.remote, self.clock), CERTS))

    def keys_named(self, kid: str) -> Deferred[Any]:
        return start(self.keys.keys_named(kid, "RS256"))

    def fetches(self) -> int:
        return len(self.remote.requests)

    def test_fetched_when_needed(self) -> None:
        """Keys are fetched when they are first needed, once, and used for 10 minutes."""
        self.assertEqual(self.fetches(), 0)
        for _ in range(3):
            self.successResultOf(self.keys_named("idp"))
        self.clock.advance(599)
        self.successResultOf(self.keys_named("idp"))
        self.assertEqual(self.fetches(), 1)
        self.clock.advance(1)
        self.successResultOf(self.keys_named("idp"))
        self.assertEqual(self.fetches(), 2)

    def test_together_T45(self) -> None:
        """All requests wait for one fetch, which is not cancelled when they are."""
        self.play = Hang()
        waiting = [self.keys_named("idp") for _ in range(5)]
        for each in waiting[:4]:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.remote.finish_all(json.dumps(key_set(IDP)).encode())
        self.successResultOf(waiting[4])
        self.assertEqual((self.fetches(), self.remote.abandoned), (1, 0))

    def test_unknown_name(self) -> None:
        """A JWT that names an unknown key causes one more fetch."""
        self.successResultOf(self.keys_named("idp"))
        self.play = Respond(key_set(IDP, NEXT))
        self.successResultOf(self.keys_named("next"))
        self.assertEqual(self.fetches(), 2)

    def test_flood_T32(self) -> None:
        """A thousand made-up key names cause one fetch every 10 s."""
        self.successResultOf(self.keys_named("idp"))
        for number in range(1000):
            self.failureResultOf(self.keys_named(f"made-up-{number}"), Rejected)
        self.assertEqual(self.fetches(), 2)
        self.clock.advance(10)
        self.failureResultOf(self.keys_named("made-up"), Rejected)
        self.assertEqual(self.fetches(), 3)

    def test_just_fetched(self) -> None:
        """A key set that was just fetched for a JWT is not fetched again for the same JWT."""
        self.failureResultOf(self.keys_named("made-up"), Rejected)
        self.assertEqual(self.fetches(), 1)

    def test_refreshed_in_background_D1(self) -> None:
        """No request waits while keys are refreshed: the cached keys are used meanwhile."""
        self.successResultOf(self.keys_named("idp"))
        self.clock.advance(600)
        self.play = Hang()
        for _ in range(3):
            self.successResultOf(self.keys_named("idp"))
        self.assertEqual(self.fetches(), 2)
        self.remote.finish_all(json.dumps(key_set(NEXT)).encode())
        self.play = Respond(key_set(NEXT))
        self.successResultOf(self.keys_named("next"))
        self.failureResultOf(self.keys_named("idp"), Rejected)

    def test_packets_dropped_H_KEYS(self) -> None:
        """If the issuer does not answer, a refresh times out and is repeated after 10 s."""
        self.successResultOf(self.keys_named("idp"))
        self.clock.advance(600)
        self.play = Hang()
        self.successResultOf(self.keys_named("idp"))
        with capturedLogs() as logged:
            self.clock.advance(10)
        [warning] = [each for each in logged if each.get("event") == "jwks.refresh.failed"]
        self.assertIn("its keys of 610 s ago remain in use", formatEvent(warning))
        self.successResultOf(self.keys_named("idp"))
        self.assertEqual(self.fetches(), 3)

    def test_refresh_broken_D1(self) -> None:
        """A defect in a background refresh is logged, and no request fails."""
        self.successResultOf(self.keys_named("idp"))
        self.clock.advance(600)
        self.patch(self.keys, "_source", self.breaks)
        self.successResultOf(self.keys_named("idp"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def breaks(self) -> Any:
        return 1 / 0

    def test_at_hand_D5(self) -> None:
        """Keys are at hand after they were fetched, until they are too stale."""
        self.assertFalse(self.keys.is_at_hand)
        self.successResultOf(self.keys_named("idp"))
        self.assertTrue(self.keys.is_at_hand)
        self.clock.advance(86_400)
        self.assertFalse(self.keys.is_at_hand)

    def test_stale_keys_T32(self) -> None:
        """If a refresh fails, stale keys are used, and the issuer is not asked more often."""
        self.successResultOf(self.keys_named("idp"))
        self.clock.advance(600)
        for self.play in (Respond({}, 500), Respond(b"<html>"), Respond({"keys": 5})):
            for _ in range(3):
                self.successResultOf(self.keys_named("idp"))
            self.clock.advance(10)
        self.assertEqual(self.fetches(), 4)

    def test_too_stale(self) -> None:
        """Keys are not used for more than a day without a successful refresh."""
        self.successResultOf(self.keys_named("idp"))
        self.play = Respond({}, 500)
        self.clock.advance(86_400)
        self.failureResultOf(self.keys_named("idp"), Unavailable)

    def test_no_keys_yet_T44(self) -> None:
        """
        Without keys a JWT cannot be verified, and the next JWT fetches the keys
        again at once.
        """
        self.play = Respond({}, 500)
        self.failureResultOf(self.keys_named("idp"), Unavailable)
        self.play = Respond(key_set(IDP))
        self.successResultOf(self.keys_named("idp"))

    def test_search_fails_T44(self) -> None:
        """If fetching fails, a JWT with an unknown key is neither accepted nor refused."""
        self.successResultOf(self.keys_named("idp"))
        self.play = Respond({}, 500)
        self.failureResultOf(self.keys_named("next"), Unavailable)
        self.successResultOf(self.keys_named("idp"))

    def test_searched_together_D1(self) -> None:
        """All JWTs that name a new key wait for the same fetch."""
        self.successResultOf(self.keys_named("idp"))
        self.play = Hang()
        waiting = [self.keys_named("next"), self.keys_named("next"), self.keys_named("made-up")]
        self.successResultOf(self.keys_named("idp"))
        self.remote.finish_all(json.dumps(key_set(IDP, NEXT)).encode())
        for each in waiting[:2]:
            self.successResultOf(each)
        self.failureResultOf(waiting[2], Rejected)
        self.assertEqual(self.fetches(), 2)

    def test_search_failed_D1(self) -> None:
        """
        Until a failed fetch is repeated, JWTs with an unknown key are neither
        accepted nor refused.
        """
        self.successResultOf(self.keys_named("idp"))
        self.play = Respond({}, 500)
        for _ in range(3):
            self.failureResultOf(self.keys_named("next"), Unavailable)
        self.assertEqual(self.fetches(), 2)
        self.clock.advance(10)
        self.play = Respond(key_set(IDP, NEXT))
        self.successResultOf(self.keys_named("next"))
        self.failureResultOf(self.keys_named("made-up"), Rejected)

    def test_empty_H_EMPTY(self) -> None:
        """A key set that lost its keys is a failed refresh: the last keys remain in use a day."""
        self.successResultOf(self.keys_named("idp"))
        answers: list[Any] = [{"keys": []}, {"keys": [IDP.jwk(use="enc")]}, {"keys": [{}]}]
        for answer in answers:
            self.play = Respond(answer)
            self.clock.advance(600)
            for _ in range(3):
                self.successResultOf(self.keys_named("idp"))
            self.failureResultOf(self.keys_named("next"), Unavailable)
        self.clock.advance(86_400 - 3 * 600)
        self.failureResultOf(self.keys_named("idp"), Unavailable)

    def test_empty_at_first_H_EMPTY(self) -> None:
        """A key set that never had a usable key refuses JWTs, and is not reachable for doctor."""
        answers: list[Any] = [{"keys": []}, {"keys": [IDP.jwk(use="enc")]}]
        for answer in answers:
            self.setUp()
            self.play = Respond(answer)
            self.failureResultOf(self.keys_named("idp"), Rejected)
            self.failureResultOf(start(self.keys.only_key("RS256")), Rejected)
            failure = self.failureResultOf(start(self.keys.check_reachable()), Unavailable)
            self.assertIn("has no usable key for signatures", failure.getErrorMessage())
            self.play = Respond(key_set(IDP))
            self.clock.advance(10)
            self.successResultOf(self.keys_named("idp"))
            self.successResultOf(start(self.keys.check_reachable()))

    def test_logged_once_H_EMPTY(self) -> None:
        """A refresh that fails again and again is logged once for each reason."""
        self.successResultOf(self.keys_named("idp"))
        with capturedLogs() as logged:
            for answer in (Respond({"keys": []}), Respond({}, 500), Respond(key_set(IDP))):
                self.play = answer
                for _ in range(3):
                    self.clock.advance(600)
                    self.successResultOf(self.keys_named("idp"))
            self.play = Respond({"keys": []})
            self.clock.advance(600)
            self.successResultOf(self.keys_named("idp"))
        told = [formatEvent(each) for each in logged if each.get("event") == "jwks.refresh.failed"]
        self.assertEqual(len(told), 3)
        self.assertIn("no usable key", told[0] or "")
        self.assertIn("answered 500", told[1] or "")

    def test_failed_refresh_is_unreachable(self) -> None:
        """
        After a failed fetch a key set is unreachable, with the reason, although its cached keys
        stay in use; the next successful fetch makes the key set reachable again.
        """
        self.successResultOf(self.keys_named("idp"))
        self.successResultOf(start(self.keys.check_reachable()))
        self.play = Respond({}, 500)
        self.failureResultOf(self.keys_named("next"), Unavailable)
        failure = self.failureResultOf(start(self.keys.check_reachable()), Unavailable)
        self.assertIn("answered 500", failure.getErrorMessage())
        self.successResultOf(self.keys_named("idp"))
        self.play = Respond(key_set(IDP))
        self.clock.advance(10)
        self.successResultOf(start(self.keys.check_reachable()))

    def test_reachability_waits_for_refresh(self) -> None:
        """The check of reachability waits for a refresh that is due, and reports its failure."""
        self.successResultOf(self.keys_named("idp"))
        self.clock.advance(600)
        self.play = Hang()
        checking = start(self.keys.check_reachable())
        self.assertNoResult(checking)
        self.clock.advance(10)
        self.failureResultOf(checking, Unavailable)

    def test_decides_until_refresh(self) -> None:
        """
        A decision may not be used longer than until a refresh of the keys that is due or under way,
        and after a failed refresh until the next attempt.
        """
        self.successResultOf(self.keys_named("idp"))
        self.assertIsNone(self.keys.decides_until)
        self.keys.renew()
        self.assertEqual(self.keys.decides_until, NOW + 10)
        self.clock.advance(10)
        self.play = Hang()
        self.successResultOf(self.keys_named("idp"))
        self.assertEqual(self.keys.decides_until, 0)
        self.clock.advance(10)
        self.assertEqual(self.keys.decides_until, NOW + 20)
        self.play = Respond(key_set(IDP))
        self.successResultOf(self.keys_named("idp"))
        self.assertIsNone(self.keys.decides_until)

    def test_only_key_H_KID(self) -> None:
        """A JWT without C{kid} is verified by the only key that fits its algorithm."""
        self.play = Respond(key_set(IDP, CURVE))
        for algorithm in ("RS256", "ES256"):
            [key] = self.successResultOf(start(self.keys.only_key(algorithm)))
            self.assertEqual([*key.algorithms], [algorithm])
        failure = self.failureResultOf(start(self.keys.only_key("EdDSA")), Rejected)
        self.assertIn("0 keys of the issuer fit EdDSA", failure.getErrorMessage())
        self.play = Respond(key_set(IDP, NEXT))
        self.clock.advance(600)
        self.successResultOf(self.keys_named("idp"))
        failure = self.failureResultOf(start(self.keys.only_key("RS256")), Rejected)
        self.assertIn("2 keys of the issuer fit RS256", failure.getErrorMessage())

    def test_unnamed_H_KID(self) -> None:
        """A JWT that names a key is verified by the only key without a name, without a search."""
        self.play = Respond({"keys": [IDP.jwk(kid=None), CURVE.jwk()]})
        self.successResultOf(self.keys_named("anything"))
        self.successResultOf(self.keys_named("else"))
        self.assertEqual(self.fetches(), 1)
        self.play = Respond({"keys": [IDP.jwk(kid=None), NEXT.jwk(kid=None), CURVE.jwk()]})
        self.clock.advance(600)
        self.successResultOf(self.keys_named("curve"))
        self.failureResultOf(self.keys_named("anything"), Rejected)

    def test_too_large_T33(self) -> None:
        """A key set of more than a megabyte is not used."""
        self.play = Respond(b" " * 1_048_577)
        self.failureResultOf(self.keys_named("idp"), Unavailable)

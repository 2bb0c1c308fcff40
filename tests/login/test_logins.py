"""Logins are kept, renewed past half of their life, one renewal at a time, and ended."""

from __future__ import annotations

import json
from typing import Any

from authotron.login.errors import NotLoggedIn
from authotron.login.remote_gateway import Presented, RefusedRequest
from authotron.model.errors import Rejected, Unavailable
from authotron.testing.remotes import Hang, Respond
from authotron.testing.worlds import NOW
from tests.login.cases import ALICE, HOUR, LoginCase, answer

EXCHANGE, REFRESH, LOGOUT, REVOKE = "token/exchange", "token/refresh", "logout", "oauth/revoke"
NO_REFRESH = Respond({"error": "Forbidden", "problems": ["refresh: there are none"]}, 403)
INVALID = Respond(
    {"error": "The refresh token is not valid; log in again"},
    400,
    {"Content-Type": "application/json"},
)


class LoggingInTests(LoginCase):
    """A login at the gateway."""

    def test_kept(self) -> None:
        """The credential is exchanged, and the next process of the user has the token."""
        self.expect(EXCHANGE, answer(1, refresh_token="aotr_1"))
        self.done(self.logins().log_in(ALICE, {"roles": ["reader"]}))
        self.assertEqual(self.done(self.logins().current()).id, "token-1")
        [asked] = self.remote.requests
        self.assertEqual(asked.json, {"roles": ["reader"], "refresh": True})
        self.assertEqual(asked.headers["authorization"], "Basic YWxpY2U6d29uZGVy")

    def test_password_is_not_kept(self) -> None:
        """No file in the cache has the password."""
        self.expect(EXCHANGE, answer(1))
        self.done(self.logins().log_in(ALICE, {}))
        for path in self.path.iterdir():
            self.assertNotIn(b"wonder", path.read_bytes())

    def test_gateway_without_refresh_tokens(self) -> None:
        """If the gateway gives no refresh token, the login gets none."""
        self.expect(EXCHANGE, NO_REFRESH, answer(1))
        found = self.done(self.logins().log_in(ALICE, {}))
        self.assertEqual((found.id, found.refresh_token), ("token-1", None))
        self.assertEqual([each.json for each in self.remote.requests], [{"refresh": True}, {}])

    def test_refused(self) -> None:
        """If the gateway refuses the wish, the message says what, and nothing is kept."""
        self.expect(EXCHANGE, Respond({"problems": ["roles[0]: alice lacks `x`"]}, 403))
        failed = self.failureResultOf(self.begun(self.logins().log_in(ALICE, {})), RefusedRequest)
        self.assertIn("roles[0]: alice lacks `x`", str(failed.value))
        self.failureResultOf(self.begun(self.logins().current()), NotLoggedIn)

    def test_wrong_password(self) -> None:
        """A rejected credential is sent once, and no earlier login is lost."""
        self.expect(EXCHANGE, answer(1), Respond({"error": "Unauthorized access"}, 401))
        self.done(self.logins().log_in(ALICE, {}))
        self.failureResultOf(self.begun(self.logins().log_in(ALICE, {})), Rejected)
        self.assertEqual(len(self.remote.requests), 2)
        self.assertEqual(self.done(self.logins().current()).id, "token-1")

    def test_redirects(self) -> None:
        """A redirect is not followed, so that no other server sees the credential."""
        self.expect(EXCHANGE, Respond(b"", 307, {"Location": "https://evil.example/"}))
        self.failureResultOf(self.begun(self.logins().log_in(ALICE, {})), Rejected)
        self.assertEqual(self.remote.addresses(), ["gate.example/token/exchange"])

    def test_not_a_gateway(self) -> None:
        """An answer that has no bearer token is no login."""
        contents: tuple[Any, ...] = (
            {},
            answer(1, token="a b"),
            answer(1, token_type="DPoP"),
            answer(1, lifetime=-1.0),
            [],
        )
        for content in contents:
            self.expect(EXCHANGE, Respond(content))
            failing = self.begun(self.logins().log_in(ALICE, {}))
            self.failureResultOf(failing, Unavailable)

    def test_earlier_refresh_token(self) -> None:
        """A new login ends the refresh token of the one before it."""
        self.expect(EXCHANGE, answer(1, refresh_token="aotr_1"), answer(2))
        self.expect(REVOKE, Respond(b""))
        for _ in range(2):
            self.done(self.logins().log_in(ALICE, {}))
        [ended] = self.asked(REVOKE)
        self.assertEqual(ended.form["token"], "aotr_1")
        self.assertEqual(self.done(self.logins().current()).id, "token-2")


class RenewalTests(LoginCase):
    """A token is renewed once half of its life is over."""

    def setUp(self) -> None:
        super().setUp()
        self.expect(EXCHANGE, answer(1, refresh_token="aotr_1"))
        self.done(self.logins().log_in(ALICE, {}))

    def current(self, **keys: Any) -> str:
        found: str = self.done(self.logins(**keys).current()).id
        return found

    def test_half_life_S_A3SHALF(self) -> None:
        """The token is renewed from (iat + exp) / 2 on, not in the last second of its life."""
        self.clock.advance(HOUR / 2 - 1)
        self.assertEqual(self.current(), "token-1")
        self.clock.advance(1)
        self.expect(REFRESH, answer(2, NOW + HOUR / 2, refresh_token="aotr_2"))
        self.assertEqual([self.current(), self.current()], ["token-2", "token-2"])
        [asked] = self.asked(REFRESH)
        self.assertEqual(asked.json, {"refresh_token": "aotr_1"})
        self.assertNotIn("authorization", asked.headers)
        self.clock.advance(HOUR / 2)
        self.expect(REFRESH, answer(3, NOW + HOUR))
        self.assertEqual(self.current(), "token-3")
        self.assertEqual(self.asked(REFRESH)[1].json, {"refresh_token": "aotr_2"})

    def test_clock_of_the_gateway(self) -> None:
        """A gateway whose clock is an hour ahead or behind does not delay the renewal."""
        for skew in (-HOUR, HOUR):
            self.expect(EXCHANGE, answer(1, self.clock.seconds() + skew, refresh_token="r"))
            self.done(self.logins().log_in(ALICE, {}))
            self.clock.advance(HOUR / 2 - 1)
            self.assertEqual(self.current(), "token-1")
            self.clock.advance(1)
            self.expect(REFRESH, answer(2, self.clock.seconds() + skew))
            self.assertEqual(self.current(), "token-2")

    def test_clock_set_back(self) -> None:
        """If the local clock is set back far, the token is renewed, as its age is unknown."""
        self.clock.rightNow = NOW - HOUR
        self.expect(REFRESH, answer(2, NOW - HOUR))
        self.assertEqual([self.current(), self.current()], ["token-2", "token-2"])

    def test_one_renewal(self) -> None:
        """While one process renews the token, another one uses the token that is still valid."""
        self.clock.advance(HOUR / 2)
        self.expect(REFRESH, Hang)
        first = self.begun(self.logins().current())
        self.assertEqual(self.current(), "token-1")
        self.assertNoResult(first)
        self.remote.finish_all(json.dumps(answer(2, NOW + HOUR / 2)).encode())
        self.assertEqual(self.successResultOf(first).id, "token-2")
        self.assertEqual((self.current(), len(self.asked(REFRESH))), ("token-2", 1))

    def test_waits_for_the_renewal(self) -> None:
        """If the token has expired, a second process waits for the renewal of the first one."""
        self.clock.advance(HOUR)
        self.expect(REFRESH, Hang)
        first, second = (self.begun(self.logins().current()) for _ in range(2))
        self.assertNoResult(second)
        self.remote.finish_all(json.dumps(answer(2, NOW + HOUR)).encode())
        self.clock.advance(1)
        self.assertEqual({self.successResultOf(each).id for each in (first, second)}, {"token-2"})
        self.assertEqual(len(self.asked(REFRESH)), 1)

    def test_waits_not_for_ever(self) -> None:
        """A process that keeps the lock does not block another one for ever."""
        logins = self.logins()
        lock = logins.folder.try_lock(logins.name)
        assert lock is not None
        self.clock.advance(HOUR)
        waiting = self.begun(self.logins(timeout=1.0).current())
        self.clock.pump([0.5] * 8)
        self.failureResultOf(waiting, Unavailable)
        logins.folder.unlock(lock)

    def test_outage(self) -> None:
        """If the gateway is away, the token is used while it is valid, and the user is warned."""
        self.clock.advance(HOUR / 2)
        self.expect(REFRESH, Respond({"error": "x"}, 503))
        self.assertEqual([self.current(), self.current()], ["token-1", "token-1"])
        self.assertEqual(len(self.asked(REFRESH)), 1, "the next attempt comes later")
        [warning] = self.warnings
        self.assertIn("expires in 1800 s", warning)
        self.clock.advance(61)
        self.expect(REFRESH, answer(2, NOW))
        self.assertEqual(self.current(), "token-2")

    def test_outage_after_the_end(self) -> None:
        """An expired token is never returned; the refresh token is kept for the next attempt."""
        self.clock.advance(HOUR)
        for status, content in ((503, {}), (404, {}), (400, b"<html>"), (302, b"")):
            self.expect(REFRESH, Respond(content, status))
            self.failureResultOf(self.begun(self.logins().current()), Unavailable)
        self.expect(REFRESH, answer(2, NOW + HOUR))
        self.assertEqual(self.current(), "token-2")

    def test_refresh_token_ended(self) -> None:
        """A rejected refresh token is not sent again; the token is used while it is valid."""
        self.clock.advance(HOUR / 2)
        self.expect(REFRESH, INVALID)
        self.assertEqual(self.current(), "token-1")
        self.clock.advance(61)
        self.assertEqual((self.current(), len(self.asked(REFRESH))), ("token-1", 1))
        self.clock.advance(HOUR)
        self.failureResultOf(self.begun(self.logins().current()), NotLoggedIn)

    def test_configured_credential(self) -> None:
        """A credential in the profile renews the login with the same wish, without the user."""
        self.clock.advance(HOUR / 2)
        self.expect(REFRESH, INVALID)
        self.expect(EXCHANGE, answer(2, NOW + HOUR / 2))
        keys = {"provider": "basic", "user": "alice", "password": "wonder"}
        self.assertEqual(self.current(**keys), "token-2")

    def test_refused_by_a_service(self) -> None:
        """A token that a service has refused is renewed before the next use."""
        kept = self.done(self.logins().current())
        self.done(self.logins().refused("another token"))
        self.assertEqual(self.current(), "token-1")
        self.done(self.logins().refused(kept.token))
        self.expect(REFRESH, answer(2))
        self.assertEqual(self.current(), "token-2")


class WithoutLoginTests(LoginCase):
    """Scripts that have a credential in their settings."""

    def test_logs_in_by_itself(self) -> None:
        """The first use logs in, and the next one finds the token."""
        self.expect(EXCHANGE, answer(1))
        for _ in range(2):
            found = self.done(self.logins(provider="token", token="aot_x").current())
            self.assertEqual(found.id, "token-1")
        [asked] = self.remote.requests
        self.assertEqual(asked.headers["authorization"], "Bearer aot_x")

    def test_another_user(self) -> None:
        """A script whose settings name another user does not act by the login that is kept."""
        self.expect(EXCHANGE, answer(1, refresh_token="aotr_1"), answer(2))
        self.done(self.logins().log_in(ALICE, {}))
        alice = {"provider": "basic", "user": "alice", "password": "changed"}
        self.assertEqual(self.done(self.logins(**alice).current()).id, "token-1")
        bob = {"provider": "basic", "user": "bob", "password": "b"}
        self.assertEqual(self.done(self.logins(**bob).current()).id, "token-2")
        self.assertEqual(self.done(self.logins(**bob).current()).id, "token-2")
        self.assertEqual(self.asked(REFRESH), [])

    def test_fingerprints(self) -> None:
        """Fingerprints differ by user, token, realm and certificate, not by password."""
        one, two = Presented(basic=("a", "x")), Presented(basic=("a", "y"))
        self.assertEqual(one.fingerprint, two.fingerprint)
        others = (
            Presented(basic=("b", "x")),
            Presented(basic=("a", "x"), realm="r"),
            Presented(bearer="a"),
            Presented(certificate="a"),
            Presented(),
        )
        self.assertEqual(len({each.fingerprint for each in (one, *others)}), 6)

    def test_realm(self) -> None:
        """The realm of the profile is sent with the credential."""
        self.expect(EXCHANGE, answer(1))
        self.done(self.logins(provider="token", token="t", realm="here").current())
        self.assertEqual(self.remote.requests[0].headers["x-auth-realm"], "here")

    def test_wrong(self) -> None:
        """A rejected credential is an error, not an outage."""
        self.expect(EXCHANGE, Respond({}, 401))
        waiting = self.begun(self.logins(provider="token", token="t").current())
        self.failureResultOf(waiting, Rejected)

    def test_copied_file(self) -> None:
        """A login that was copied from another gateway is not sent to this one."""
        self.expect(EXCHANGE, answer(1))
        logins = self.logins()
        self.done(logins.log_in(ALICE, {}))
        path = self.path / logins.name
        path.write_bytes(path.read_bytes().replace(b"gate.example", b"evil.example"))
        self.failureResultOf(self.begun(self.logins().current()), NotLoggedIn)

    def test_damaged_file(self) -> None:
        """A damaged file counts as no login, and the next login replaces it."""
        logins = self.logins()
        logins.folder.read(logins.name)
        for content in (b"", b"{}", b'{"version": 1}', b"[]", b"\xff"):
            path = self.path / logins.name
            path.write_bytes(content)
            path.chmod(0o600)
            self.failureResultOf(self.begun(self.logins().current()), NotLoggedIn)


class LoggingOutTests(LoginCase):
    """The end of a login."""

    def log_in(self, **more: Any) -> None:
        self.expect(EXCHANGE, answer(1, **more))
        self.done(self.logins().log_in(ALICE, {}))

    def test_revoked(self) -> None:
        """Refresh token and token are revoked, in this order, and deleted."""
        self.log_in(refresh_token="aotr_1")
        self.expect(REVOKE, Respond(b""))
        self.expect(LOGOUT, Respond(b"", 204))
        ended = self.done(self.logins().log_out())
        self.assertEqual((ended.is_revoked, ended.is_refresh_revoked), (True, True))
        self.assertEqual(
            self.remote.addresses()[1:], [f"gate.example/{REVOKE}", f"gate.example/{LOGOUT}"]
        )
        self.failureResultOf(self.begun(self.logins().current()), NotLoggedIn)

    def test_everywhere(self) -> None:
        """
        A logout everywhere ends the kept login, and presents the credential of the user to revoke
        all tokens, also if no login is kept.
        """
        self.log_in(refresh_token="aotr_1")
        self.expect(REVOKE, Respond(b""))
        self.expect(LOGOUT, *[Respond(b"", 204)] * 3)
        ended = self.done(self.logins().log_out(ALICE))
        self.assertEqual((ended.everywhere, ended.is_refresh_revoked), (True, True))
        own, others = self.asked(LOGOUT)
        self.assertEqual((own.json, others.json), ({}, {"everywhere": True}))
        self.assertEqual(others.headers["authorization"], "Basic YWxpY2U6d29uZGVy")
        ended = self.done(self.logins().log_out(ALICE))
        self.assertEqual((ended.login, ended.everywhere), (None, True))

    def test_not_everywhere(self) -> None:
        """If the gateway does not revoke the other tokens, the kept login ends all the same."""
        for status, why in ((401, "rejects the credential"), (404, "revocation"), (503, "503")):
            self.log_in()
            self.expect(LOGOUT, Respond(b"", 204), Respond({}, status))
            ended = self.done(self.logins().log_out(ALICE))
            self.assertEqual((ended.is_revoked, ended.everywhere), (True, False))
            self.assertIn(why, ended.everywhere_failure)

    def test_not_possible(self) -> None:
        """The tokens are deleted even if the gateway cannot revoke them, or does not answer."""
        self.log_in()
        self.assertFalse(self.done(self.logins().log_out()).is_revoked)
        self.log_in()
        self.expect(LOGOUT, Respond({}, 503))
        self.assertIn("503", self.done(self.logins().log_out()).failure)
        self.failureResultOf(self.begun(self.logins().current()), NotLoggedIn)

    def test_expired_token(self) -> None:
        """The refresh token of an expired token is revoked, too."""
        self.log_in(refresh_token="aotr_1")
        self.clock.advance(HOUR)
        self.expect(REFRESH, answer(2, refresh_token="aotr_2"))
        self.expect(REVOKE, Respond(b""))
        self.expect(LOGOUT, Respond(b"", 204))
        self.assertTrue(self.done(self.logins().log_out()).is_refresh_revoked)
        self.assertEqual(self.asked(REVOKE)[0].form["token"], "aotr_2")

    def test_ended_token(self) -> None:
        """A token that the gateway rejects already needs no revocation."""
        self.log_in()
        self.expect(LOGOUT, Respond({}, 401))
        self.assertTrue(self.done(self.logins().log_out()).is_revoked)

    def test_not_logged_in(self) -> None:
        """Without a login nothing is sent."""
        self.assertEqual(self.done(self.logins().log_out()).login, None)
        self.assertEqual(self.remote.requests, [])

"""The connections to a directory: pooled, aborted, replaced."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from authotron.ldap.connection import Connection
from authotron.ldap.decoding import Entry
from authotron.ldap.servers import Security
from authotron.model.errors import Rejected, TimedOut, Unavailable
from tests.directories import GATE
from tests.ldap.cases import ALICE, EVERYBODY, LIMITS, DirectoryCase, look


class PoolTests(DirectoryCase):
    """The pool of connections for searches."""

    def test_searches_share_a_connection(self) -> None:
        """Consecutive searches share one connection and one bind."""
        for _ in range(3):
            self.found()
        self.assertEqual((len(self.one.transports), self.one.binds), (1, [GATE[0]]))

    def test_searches_are_bounded_T69(self) -> None:
        """The number of connections for searches is limited; further searches wait for a slot."""
        self.one.silent = True
        asked = [self.using() for _ in range(10)]
        self.assertEqual(len(self.one.transports), LIMITS.connections)
        for each in asked:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.one.open, [])

    def test_cancelled_search_aborts_the_connection_T69(self) -> None:
        """A cancelled search aborts its connection."""
        self.found()
        self.one.silent = True
        asked = self.using()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.one.transports[0].aborted)

    def test_late_answer_is_an_outage_T69(self) -> None:
        """A server that does not answer in time is an outage, and the connection is aborted."""
        self.directory = self.made(hosts=("one",))
        self.found()
        self.one.silent = True
        asked = self.using()
        self.clock.advance(LIMITS.answer)
        self.failureResultOf(asked, TimedOut)
        self.assertEqual(self.one.open, [])

    def test_wait_for_a_slot_times_out_T69(self) -> None:
        """A search that waits for a slot fails when the total timeout expires."""
        self.one.silent = self.two.silent = True
        asked = [self.using() for _ in range(5)]
        for _ in range(10):
            self.clock.advance(LIMITS.timeout / 9)
        for each in asked:
            self.failureResultOf(each, Unavailable)
        self.assertEqual((self.one.open, self.two.open), ([], []))

    def test_closed_connection_is_replaced_once(self) -> None:
        """
        If a pooled connection breaks during a request, the request is repeated once on a
        new connection.
        """
        self.found()

        async def break_first(connection: Connection) -> list[Entry]:
            if len(self.one.transports) == 1:
                self.one.silent = True
                searching = Deferred.fromCoroutine(connection.search(EVERYBODY))
                self.one.silent = False
                self.one.hang_up()
                return await searching
            return await look(connection)

        self.assertEqual(len(self.successResultOf(self.using(break_first))), 1)
        self.assertEqual(len(self.one.transports), 2)

    def test_idle_connection_closed_by_the_server(self) -> None:
        """A pooled connection that the server closed is not used again."""
        self.found()
        self.one.hang_up()
        self.found()
        self.assertEqual(len(self.one.transports), 2)

    def test_idle_timeout(self) -> None:
        """An unused connection is closed after the idle timeout."""
        self.found()
        self.clock.advance(LIMITS.idle)
        self.assertEqual(self.one.open, [])
        self.found()

    def test_close_leaves_nothing(self) -> None:
        """After close there is no open connection and no timer."""
        self.found()
        self.directory.close()
        self.assertEqual((self.one.open, self.clock.getDelayedCalls()), ([], []))

    def test_close_during_a_search(self) -> None:
        """A connection that is in use during close is not returned to the pool."""

        async def close_meanwhile(connection: Connection) -> list[Entry]:
            self.directory.close()
            return await look(connection)

        self.assertEqual(len(self.successResultOf(self.using(close_meanwhile))), 1)
        self.assertEqual((self.one.open, self.clock.getDelayedCalls()), ([], []))


class FailOverTests(DirectoryCase):
    """Which server is used."""

    def test_next_server_if_one_refuses_connections(self) -> None:
        """If a server refuses connections, the next one is used."""
        self.one.down = True
        self.found()
        self.assertEqual(len(self.two.transports), 1)

    def test_next_server_if_one_does_not_answer(self) -> None:
        """If a server accepts a connection and does not answer, the next one is used."""
        self.one.silent = True
        asked = self.using()
        self.clock.advance(LIMITS.connect)
        self.assertEqual(len(self.successResultOf(asked)), 1)

    def test_next_server_if_a_bind_is_not_answered_T69(self) -> None:
        """If a server does not answer the bind of a user, the next one is used."""
        self.one.silent = True
        asked = self.verify(*ALICE)
        self.clock.advance(LIMITS.answer)
        self.successResultOf(asked)
        self.assertEqual((self.one.open, self.two.binds), ([], [ALICE[0]]))

    def test_anonymous_searches_time_out_T69(self) -> None:
        """Without a service account, three searches in a row without an answer pause the server."""
        self.directory = self.made(account=None)
        self.one.silent = True
        for _ in range(3):
            asked = self.using()
            self.clock.advance(LIMITS.answer)
            self.assertEqual(len(self.successResultOf(asked)), 1)
            self.directory.close()
        self.found()  # at once: three answers that did not come are enough
        self.assertEqual(len(self.one.transports), 3)

    def test_one_slow_search_does_not_pause_T69(self) -> None:
        """One search that takes too long does not pause the server."""
        self.found()
        self.one.silent = True
        asked = self.using()
        self.clock.advance(LIMITS.answer)
        self.successResultOf(asked)
        self.one.silent = False
        self.directory.close()
        self.found()
        self.assertEqual(len(self.one.transports), 2)

    def test_busy_server_is_paused(self) -> None:
        """A server that answers busy is paused, and the next one is used."""
        self.one.result = 51
        self.found()
        self.one.result = 0
        self.directory.close()
        self.found()
        self.assertEqual((len(self.one.transports), len(self.two.transports)), (1, 2))

    def test_refusal_on_an_idle_connection_R_FAIL(self) -> None:
        """
        If a server refuses a search on an idle connection, the search is repeated once on a new
        one: a server that was replaced behind its address, or a bind that is no longer valid.
        """
        for code in (1, 8, 50, 51, 52, 53, 80):
            self.directory = self.made(hosts=("one",))
            self.found()
            before = len(self.one.transports)
            idle = self.one.transports[-1]
            self.one.results[idle] = code
            self.found()
            self.assertEqual(len(self.one.transports), before + 1, code)
            self.assertTrue(idle.gone)
            self.found()
            self.assertEqual(len(self.one.transports), before + 1, code)

    def test_lasting_refusal_R_FAIL(self) -> None:
        """A search that is refused on a new connection, too, is an outage."""
        self.directory = self.made(hosts=("one",))
        self.found()
        self.one.result = 50
        why = str(self.failureResultOf(self.using(), Unavailable).value)
        self.assertIn("insufficient rights", why)
        self.assertEqual(len(self.one.transports), 2)

    def test_server_that_disconnects_is_paused_T69(self) -> None:
        """
        A server that closes the connection during a request is paused, since it may be the
        wrong one.
        """
        self.directory = self.made(account=None)

        async def hang_up(connection: Connection) -> list[Entry]:
            self.one.hang_up()
            return await look(connection)

        self.assertEqual(len(self.successResultOf(self.using(hang_up))), 1)
        self.directory.close()
        self.found()
        self.assertEqual((len(self.one.transports), len(self.two.transports)), (1, 2))

    def test_pooled_connections_of_a_paused_server_are_closed_T69(self) -> None:
        """
        If a server is paused, its pooled connections are closed, so that no search waits
        for it.
        """
        self.one.silent = True
        asked = [self.using(), self.using()]
        self.one.silent = False
        for transport in self.one.transports:
            self.one.received(transport, b"")
        for each in asked:
            self.successResultOf(each)
        self.assertEqual(len(self.one.open), 2)
        self.one.result = 51
        self.found()
        self.assertEqual(self.one.open, [])

    def test_one_caller_tries_a_paused_server_T69(self) -> None:
        """
        After the pause one caller tries the server; the other callers skip it until the
        trial ends.
        """
        self.directory = self.made(hosts=("one",))
        self.one.down = True
        self.failureResultOf(self.using(), Unavailable)
        self.one.down, self.one.silent = False, True
        self.clock.advance(1)
        trial = self.using()
        self.assertNoResult(trial)
        self.failureResultOf(self.using(), Unavailable)
        trial.cancel()
        self.failureResultOf(trial, CancelledError)
        self.one.silent = False
        self.found()  # the one who tried left, so that the next one tries

    def test_binds_of_users_do_not_end_a_pause_T67(self) -> None:
        """
        A successful bind of a user does not end the pause after the service account was
        refused.
        """
        self.directory = self.made(hosts=("one",))
        self.one.silent = True
        guest = self.verify(*ALICE)
        self.one.silent = False
        self.one.passwords = dict([ALICE])
        self.failureResultOf(self.using(), Unavailable)
        transport = self.one.transports[0]
        self.one.received(transport, b"")  # the answer to the guest
        self.successResultOf(guest)
        self.clock.advance(9)
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual(self.one.binds.count(GATE[0]), 1)

    def test_failed_server_is_paused_and_tried_again_T69(self) -> None:
        """A failed server is paused for 1 s, and then tried again."""
        self.one.down = self.two.down = True
        self.failureResultOf(self.using(), Unavailable)
        self.one.down = self.two.down = False
        self.failureResultOf(self.using(), Unavailable)
        self.clock.advance(1)
        self.found()
        self.assertEqual(len(self.one.transports), 1)

    def test_refused_service_account_is_an_outage(self) -> None:
        """
        A refused service account is an outage, and the bind is repeated rarely, since
        directories lock accounts.
        """
        self.one.passwords = self.two.passwords = {}
        reason = str(self.failureResultOf(self.using(), Unavailable).value)
        self.assertIn(GATE[0], reason)
        self.assertNotIn(GATE[1], reason)
        self.clock.advance(5)
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual(len(self.one.binds), 1)

    def test_pause_doubles_with_each_refusal_S_LOCK(self) -> None:
        """The pause after a refusal of the service account doubles with each refusal."""
        right = self.one.passwords
        self.one.passwords = self.two.passwords = {}
        for _ in range(600):
            self.failureResultOf(self.using(), Unavailable)
            self.clock.advance(1)
        self.assertEqual(len(self.one.binds), 6)  # after 0, 10, 30, 70, 150 and 310 seconds
        self.one.passwords = right
        self.clock.advance(600)
        self.successResultOf(self.using())
        self.one.hang_up()
        self.one.passwords = {}
        self.failureResultOf(self.using(), Unavailable)
        before = len(self.one.binds)
        self.clock.advance(10)
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual(len(self.one.binds), before + 1)

    def test_refused_starttls_sends_nothing_in_clear_T67(self) -> None:
        """If the server refuses StartTLS, nothing is sent in clear."""
        self.directory = self.made(Security.STARTTLS)
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual((self.one.binds, self.one.open), ([], []))

    def test_data_in_clear_after_starttls_T67(self) -> None:
        """Data that a server sends in clear after its answer to StartTLS is rejected."""
        self.directory = self.made(Security.STARTTLS)
        self.one.early = self.two.early = (
            b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00"
        )
        reason = str(self.failureResultOf(self.using(), Unavailable).value)
        self.assertIn("in clear", reason)
        self.assertEqual((self.one.binds, self.one.open), ([], []))

    def test_ldaps_at_a_port_without_tls(self) -> None:
        """A server that closes the connection during the TLS handshake perhaps has no TLS."""
        self.directory = self.made(Security.TLS, hosts=("one",))
        self.one.silent = True
        searched = self.using()
        self.one.hang_up()
        reason = str(self.failureResultOf(searched, Unavailable).value)
        self.assertEqual(
            reason,
            "one:389: connection lost before TLS began; perhaps the server does not use TLS on "
            "this port",
        )

    def test_ldap_at_a_port_with_tls(self) -> None:
        """A server that closes the connection before its first answer perhaps expects TLS."""
        perhaps = "the server closed the connection before it answered; perhaps it expects ldaps://"
        for security in (Security.CLEAR, Security.STARTTLS):
            self.directory = self.made(security, hosts=("one",))
            self.one.silent = True
            searched = self.using()
            self.one.hang_up()
            reason = str(self.failureResultOf(searched, Unavailable).value)
            self.assertEqual(reason, f"one:389: LDAP connection closed: {perhaps}")

    def test_tls_alert_at_a_port_with_tls(self) -> None:
        """A TLS alert as the first answer says that the server expects TLS."""
        self.directory = self.made(hosts=("one",))
        self.one.silent = True
        searched = self.using()
        self.one.transports[0].client.dataReceived(b"\x15\x03\x01\x00\x02\x02\x46")
        reason = str(self.failureResultOf(searched, Unavailable).value)
        self.assertIn("the server answered with TLS; perhaps it expects ldaps://", reason)

    def test_server_that_answered_before_it_closed(self) -> None:
        """A server that closes the connection after an answer is not suspected to expect TLS."""
        self.directory = self.made(hosts=("one",))
        self.one.hangs_up = True
        reason = str(self.failureResultOf(self.using(), Unavailable).value)
        self.assertNotIn("ldaps", reason)


class VerifyTests(DirectoryCase):
    """Binds of users on separate connections."""

    def test_user_bind_uses_a_separate_connection(self) -> None:
        """The bind of a user uses a separate connection, which is closed afterwards."""
        self.found()
        self.successResultOf(self.verify(*ALICE))
        self.found()
        self.assertEqual(self.one.binds, [GATE[0], ALICE[0]])
        self.assertEqual(len(self.one.open), 1)

    def test_binds_are_bounded_T69(self) -> None:
        """The number of connections for binds of users is limited."""
        self.one.silent = True
        asked = [self.verify(*ALICE) for _ in range(10)]
        self.assertEqual(len(self.one.transports), LIMITS.connections)
        for each in asked:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.one.open, [])

    def test_unbind_without_close_is_aborted_T69(self) -> None:
        """
        If the server does not close after an unbind, the connection is aborted after the
        timeout.
        """
        self.one.deaf = True
        self.successResultOf(self.verify(*ALICE))
        self.assertEqual(len(self.one.open), 1)
        self.clock.advance(LIMITS.answer)
        self.assertEqual(self.one.open, [])

    def test_next_server_if_a_bind_has_no_result_R_FAIL(self) -> None:
        """If a server neither accepts nor rejects the bind of a user, the next server is asked."""
        for code in (1, 3, 10, 11, 51, 52, 53, 80):
            self.directory = self.made()
            self.one.refusals[ALICE[0]] = (code, "the server is read-only")
            self.successResultOf(self.verify(*ALICE))
            self.failureResultOf(self.verify(ALICE[0], "guess"), Rejected)

    def test_one_account_pauses_no_server_R_FAIL(self) -> None:
        """A server that fails to bind one account stays in use for others, unless it is busy."""
        for code, used in ((53, 1), (80, 1), (51, 0), (52, 0)):
            self.directory = self.made()
            self.one.refusals[ALICE[0]] = (code, "")
            self.successResultOf(self.verify(*ALICE))
            before = len(self.one.transports)
            self.found()
            self.assertEqual(len(self.one.transports) - before, used, code)

    def test_wrong_password_is_rejected(self) -> None:
        """A wrong password is a rejection."""
        self.failureResultOf(self.verify(ALICE[0], "guess"), Rejected)
        self.assertEqual(self.one.open, [])

    def test_empty_password_or_dn_T24(self) -> None:
        """An empty password or DN is rejected without a connection to a server."""
        for dn, password in ((ALICE[0], ""), ("", "secret")):
            self.failureResultOf(self.verify(dn, password), Rejected)
        self.assertEqual(self.one.transports, [])

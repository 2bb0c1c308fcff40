"""The connections to a directory: pooled, aborted, replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap import decoding, encoding
from authotron.ldap.connection import Connection
from authotron.ldap.decoding import Entry
from authotron.ldap.directory import Directory
from authotron.ldap.encoding import Search
from authotron.ldap.servers import Limits, Security, ServiceAccount
from authotron.ldap.servers import Server as Address
from authotron.model.errors import Rejected, TimedOut, Unavailable
from authotron.net.tls import Trust, Verifier
from authotron.testing.worlds import NOW, clock_at
from tests import directories
from tests.directories import BASE, GATE, Server

LIMITS = Limits(connect=2, answer=3, idle=60, connections=2)
OURS = ServiceAccount(*GATE)
ALICE = (f"uid=alice,ou=people,{BASE}", "alice-secret")
EVERYBODY = Search(BASE, encoding.present("objectClass"), ("cn",), limit=10_000)

Work = Callable[[Connection], Any]


async def look(connection: Connection) -> list[Entry]:
    return await connection.search(EVERYBODY)


class DirectoryCase(SynchronousTestCase):
    """A directory of two servers with the same content."""

    def setUp(self) -> None:
        self.clock: Clock = clock_at(NOW)
        entries = directories.person("alice")
        self.one = Server(entries, passwords=dict([GATE, ALICE]))
        self.two = Server(entries, passwords=dict([GATE, ALICE]))
        self.directory = self.made()

    def made(
        self,
        security: Security = Security.CLEAR,
        hosts: Sequence[str] = ("one", "two"),
        account: ServiceAccount | None = OURS,
    ) -> Directory:
        world = directories.world(self.clock, one=self.one, two=self.two)
        verifier = None if security is Security.CLEAR else Verifier(Trust())
        servers = [Address(host, 389, security, verifier) for host in hosts]
        return Directory(world.clock, world.connect, servers, account, LIMITS)

    def using(self, work: Work = look) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.directory.use_connection(work))

    def verify(self, dn: str, password: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self.directory.verify(dn, password))

    def found(self) -> None:
        [entry] = self.successResultOf(self.using())
        self.assertEqual(entry.strings("cn"), ("alice",))


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

    def test_wrong_password_is_rejected(self) -> None:
        """A wrong password is a rejection."""
        self.failureResultOf(self.verify(ALICE[0], "guess"), Rejected)
        self.assertEqual(self.one.open, [])

    def test_empty_password_or_dn_T24(self) -> None:
        """An empty password or DN is rejected without a connection to a server."""
        for dn, password in ((ALICE[0], ""), ("", "secret")):
            self.failureResultOf(self.verify(dn, password), Rejected)
        self.assertEqual(self.one.transports, [])

    def test_reasons_of_a_rejection(self) -> None:
        """
        The codes of the password policy and of Active Directory are translated to plain
        reasons.
        """
        message = "80090308: LdapErr: DSID-0C090449, AcceptSecurityContext error, data 775, v4563"
        self.one.refusals[ALICE[0]] = (49, message)
        refusal = self.failureResultOf(self.verify(*ALICE), Rejected)
        self.assertIn("locked", str(refusal.value))
        for code, word in ((0, "expired"), (1, "locked"), (2, "changed"), (8, "policy")):
            for result in (0, 49):
                value = b"\x30\x03\x81\x01" + bytes([code])
                self.one.controls = [(decoding.PASSWORD_POLICY, None, value)]
                self.one.refusals[ALICE[0]] = (result, "")
                refusal = self.failureResultOf(self.verify(*ALICE), Rejected)
                self.assertIn(word, str(refusal.value))

    def test_server_errors_are_outages(self) -> None:
        """A result code that is not about the user is an outage."""
        for code in (1, 2, 8, 51, 52, 53, 80):
            self.one.refusals[ALICE[0]] = (code, "")
            self.failureResultOf(self.verify(*ALICE), Unavailable)

    def test_unwilling_because_of_the_account(self) -> None:
        """A result unwillingToPerform with a message about the account is a rejection."""
        said = "Account inactivated. Contact system administrator."
        self.one.refusals[ALICE[0]] = (53, said)
        self.assertEqual(str(self.failureResultOf(self.verify(*ALICE), Rejected).value), said)

    def test_unwilling_with_a_policy_error(self) -> None:
        """A result unwillingToPerform with an error of the password policy is a rejection."""
        self.one.controls = [(decoding.PASSWORD_POLICY, None, b"\x30\x03\x81\x01\x01")]
        self.one.refusals[ALICE[0]] = (53, "")
        refusal = self.failureResultOf(self.verify(*ALICE), Rejected)
        self.assertIn("locked", str(refusal.value))

    def test_bind_is_repeated_without_the_policy_control(self) -> None:
        """
        If a server refuses the password policy control, the bind is repeated once without
        the control.
        """
        self.one.plain = True
        self.successResultOf(self.verify(*ALICE))
        self.failureResultOf(self.verify(ALICE[0], "guess"), Rejected)
        self.one.refusals[ALICE[0]] = (53, "")
        self.one.binds.clear()
        self.failureResultOf(self.verify(*ALICE), Unavailable)
        self.assertEqual(len(self.one.binds), 2)

    def test_malformed_policy_control_is_an_outage(self) -> None:
        """A malformed policy control is an outage, since the password may be right or wrong."""
        self.one.controls = [(decoding.PASSWORD_POLICY, None, b"\x30\x05\x81")]
        self.failureResultOf(self.verify(*ALICE), Unavailable)


class SearchTests(DirectoryCase):
    """Results of searches of all sizes."""

    def test_paged_results(self) -> None:
        """Searches with many results are read page by page."""
        for number in range(25):
            self.one.entries.update(directories.person(f"user-{number}"))
        self.one.page = 10
        self.assertEqual(len(self.successResultOf(self.using())), 26)

    def test_ranges_of_values_T67(self) -> None:
        """All values of an attribute are read, even if the server returns them in ranges."""
        dns = [f"cn=group-{n},dc=org" for n in range(3500)]
        self.one.entries = directories.person("alice", *dns)
        self.one.limit = 1500

        async def read(connection: Connection) -> tuple[str, ...]:
            entry = await connection.read(ALICE[0], ("memberOf",))
            assert entry is not None
            return (await connection.read_all_values(entry, "memberOf")).strings("memberOf")

        self.assertEqual(self.successResultOf(self.using(read)), tuple(dns))
        self.assertEqual(self.one.asked[-1].attributes, ("memberOf;range=3000-*",))

    def test_failed_searches_are_outages(self) -> None:
        """A failed search, a referral, and a missing search base are outages."""
        for code in (1, 3, 10, 32, 50):
            self.one.result = code
            self.failureResultOf(self.using(), Unavailable)

    def test_missing_entry_is_not_an_outage(self) -> None:
        """Reading a missing entry returns None, and is not an outage."""
        self.one.result = 32

        async def read(connection: Connection) -> Entry | None:
            return await connection.read(ALICE[0], ("cn",))

        self.assertIsNone(self.successResultOf(self.using(read)))

    def test_missing_range_T67(self) -> None:
        """If a range of values is missing, the other values are not used."""
        entry = Entry(ALICE[0], {"memberof;range=0-1": (b"cn=a,dc=org", b"cn=b,dc=org")})

        async def read(connection: Connection) -> Entry:
            return await connection.read_all_values(entry, "memberOf")

        self.failureResultOf(self.using(read), Unavailable)

    def test_number_of_pages_is_limited_T67(self) -> None:
        """A server that always announces another page is not followed without end."""
        self.one.page = 0
        self.failureResultOf(self.using(), Unavailable)

    def test_repeated_empty_page_T67(self) -> None:
        """An empty page that refers to itself ends the search."""
        self.one.endless = 0
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual(len(self.one.asked), 2)

    def test_size_of_all_pages_is_limited_T67(self) -> None:
        """All pages together are limited to the size of one answer."""
        self.one.entries = {f"cn=fat,{BASE}": {"cn": ["x" * 2**20]}}
        self.one.endless = 1
        self.failureResultOf(self.using(), Unavailable)
        self.assertLess(len(self.one.asked), 20)

    def test_invalid_ranges_T67(self) -> None:
        """A range that begins elsewhere, repeats, or is malformed is an outage."""
        self.one.entries = directories.person("alice", *(f"cn=g-{n},dc=org" for n in range(30)))
        self.one.limit = 10

        async def read(connection: Connection) -> tuple[str, ...]:
            entry = await connection.read(ALICE[0], ("memberOf",))
            assert entry is not None
            return (await connection.read_all_values(entry, "memberOf")).strings("memberOf")

        self.assertEqual(len(self.successResultOf(self.using(read))), 30)
        for lie in (
            "",
            "range=20-*",
            "range=0-9",
            "range=10-9",
            "range=x-19",
            "range=10-" + "9" * 5000,
        ):
            with self.subTest(lie[:20]):
                self.one.second_range = lie
                self.failureResultOf(self.using(read), Unavailable)

    def test_large_answer_does_not_pause_T67(self) -> None:
        """
        An answer that is too large is an outage of that search, and does not pause the
        server.
        """
        self.one.entries[f"uid=fat,{BASE}"] = {"cn": ["x"] * 30_000}
        reason = str(self.failureResultOf(self.using(), Unavailable).value)
        self.assertIn("more than 20000 elements", reason)
        del self.one.entries[f"uid=fat,{BASE}"]
        self.one.asked.clear()
        self.found()
        self.assertEqual(len(self.one.asked), 1)

    def test_next_server_after_a_large_answer_T67(self) -> None:
        """
        If the answer of one server is too large, the next server is used, for binds and
        searches.
        """
        self.one.entries = {BASE: {"cn": ["x"] * 30_000}}
        self.found()
        self.directory = self.made()
        self.one.controls = [("1.2.3", None, b"")] * 100
        self.found()

    def test_more_entries_than_requested_T67(self) -> None:
        """A server that sends many more entries than requested is an outage."""
        self.one.entries = {f"cn={n},{BASE}": {} for n in range(3)}
        few = Search(BASE, encoding.present("objectClass"), (), limit=1)

        async def ask(connection: Connection) -> list[Entry]:
            return await connection.search(few)

        self.assertEqual(len(self.successResultOf(self.using(ask))), 1)
        self.one.entries = {f"cn={n},{BASE}": {} for n in range(2_000)}
        self.two.down = True
        self.failureResultOf(self.using(ask), Unavailable)

    def test_server_that_does_not_speak_ldap(self) -> None:
        """A server that does not speak LDAP is an outage, and the connection is aborted."""

        async def meet(connection: Connection) -> list[Entry]:
            searching = Deferred.fromCoroutine(connection.search(EVERYBODY))
            return await searching

        self.found()
        self.one.silent = True
        asked = self.using(meet)
        self.one.silent = False
        self.one.transports[0].client.dataReceived(b"HTTP/1.1 400 Bad Request\r\n")
        self.assertEqual(len(self.successResultOf(asked)), 1)  # asked again, on another connection
        self.assertTrue(self.one.transports[0].aborted)

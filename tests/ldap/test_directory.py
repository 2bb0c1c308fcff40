"""Connections to a directory: kept, given up, replaced."""

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
    """Two servers that know the same."""

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
    """Connections for searches."""

    def test_kept(self) -> None:
        """Searches one after the other share a connection, and one bind."""
        for _ in range(3):
            self.found()
        self.assertEqual((len(self.one.transports), self.one.binds), (1, [GATE[0]]))

    def test_bounded_T69(self) -> None:
        """However many ask, there are no more connections than allowed; the others take turns."""
        self.one.silent = True
        asked = [self.using() for _ in range(10)]
        self.assertEqual(len(self.one.transports), LIMITS.connections)
        for each in asked:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.one.open, [])

    def test_cancelled_T69(self) -> None:
        """When nobody wants the answer any more, the connection is gone."""
        self.found()
        self.one.silent = True
        asked = self.using()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.one.transports[0].aborted)

    def test_late_T69(self) -> None:
        """An answer that does not come in time is an outage, and the connection is gone."""
        self.directory = self.made(hosts=("one",))
        self.found()
        self.one.silent = True
        asked = self.using()
        self.clock.advance(LIMITS.answer)
        self.failureResultOf(asked, TimedOut)
        self.assertEqual(self.one.open, [])

    def test_patience_T69(self) -> None:
        """Whoever waits for a turn hears in time that there is none."""
        self.one.silent = self.two.silent = True
        asked = [self.using() for _ in range(5)]
        for _ in range(10):
            self.clock.advance(LIMITS.timeout / 9)
        for each in asked:
            self.failureResultOf(each, Unavailable)
        self.assertEqual((self.one.open, self.two.open), ([], []))

    def test_found_dead(self) -> None:
        """A kept connection that breaks under a question is replaced, once."""
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

    def test_closed_meanwhile(self) -> None:
        """One that the server closed while it was not used is not used."""
        self.found()
        self.one.hang_up()
        self.found()
        self.assertEqual(len(self.one.transports), 2)

    def test_idle(self) -> None:
        """One that is not used for long is closed."""
        self.found()
        self.clock.advance(LIMITS.idle)
        self.assertEqual(self.one.open, [])
        self.found()

    def test_close(self) -> None:
        """At the end none is left, and no timer."""
        self.found()
        self.directory.close()
        self.assertEqual((self.one.open, self.clock.getDelayedCalls()), ([], []))

    def test_closed_while_used(self) -> None:
        """A connection that is in use then is not kept afterwards."""

        async def close_meanwhile(connection: Connection) -> list[Entry]:
            self.directory.close()
            return await look(connection)

        self.assertEqual(len(self.successResultOf(self.using(close_meanwhile))), 1)
        self.assertEqual((self.one.open, self.clock.getDelayedCalls()), ([], []))


class FailOverTests(DirectoryCase):
    """Which server is asked."""

    def test_down(self) -> None:
        """The next one is asked where one does not accept."""
        self.one.down = True
        self.found()
        self.assertEqual(len(self.two.transports), 1)

    def test_silent(self) -> None:
        """Likewise where one accepts and says nothing."""
        self.one.silent = True
        asked = self.using()
        self.clock.advance(LIMITS.connect)
        self.assertEqual(len(self.successResultOf(asked)), 1)

    def test_silent_to_users_T69(self) -> None:
        """Where one does not answer to a user the next one is asked."""
        self.one.silent = True
        asked = self.verify(*ALICE)
        self.clock.advance(LIMITS.answer)
        self.successResultOf(asked)
        self.assertEqual((self.one.open, self.two.binds), ([], [ALICE[0]]))

    def test_silent_to_searches_T69(self) -> None:
        """Where nobody binds before it searches, it is the search that is not answered."""
        self.directory = self.made(account=None)
        self.one.silent = True
        for _ in range(3):
            asked = self.using()
            self.clock.advance(LIMITS.answer)
            self.assertEqual(len(self.successResultOf(asked)), 1)
            self.directory.close()
        self.found()  # at once: three answers that did not come are enough
        self.assertEqual(len(self.one.transports), 3)

    def test_one_slow_question_T69(self) -> None:
        """One question that takes too long is no reason to leave a server alone."""
        self.found()
        self.one.silent = True
        asked = self.using()
        self.clock.advance(LIMITS.answer)
        self.successResultOf(asked)
        self.one.silent = False
        self.directory.close()
        self.found()
        self.assertEqual(len(self.one.transports), 2)

    def test_busy(self) -> None:
        """One that is busy is left alone, and the next one is asked."""
        self.one.result = 51
        self.found()
        self.one.result = 0
        self.directory.close()
        self.found()
        self.assertEqual((len(self.one.transports), len(self.two.transports)), (1, 2))

    def test_hangs_up_T69(self) -> None:
        """Likewise one that hangs up on a question: it may not be who it should be."""
        self.directory = self.made(account=None)

        async def hang_up(connection: Connection) -> list[Entry]:
            self.one.hang_up()
            return await look(connection)

        self.assertEqual(len(self.successResultOf(self.using(hang_up))), 1)
        self.directory.close()
        self.found()
        self.assertEqual((len(self.one.transports), len(self.two.transports)), (1, 2))

    def test_kept_ones_T69(self) -> None:
        """Nothing is kept to one that is left alone, so that nobody waits for it again."""
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

    def test_one_tries_T69(self) -> None:
        """After the rest one tries, and the others do not wait for what may never come."""
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

    def test_guests_do_not_help_T67(self) -> None:
        """That users may bind does not end the rest after our own password was refused."""
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

    def test_left_alone_T69(self) -> None:
        """One that failed is left alone for a moment, and then tried again."""
        self.one.down = self.two.down = True
        self.failureResultOf(self.using(), Unavailable)
        self.one.down = self.two.down = False
        self.failureResultOf(self.using(), Unavailable)
        self.clock.advance(1)
        self.found()
        self.assertEqual(len(self.one.transports), 1)

    def test_our_password(self) -> None:
        """A refusal of our own password is an outage, and not tried often: accounts get locked."""
        self.one.passwords = self.two.passwords = {}
        reason = str(self.failureResultOf(self.using(), Unavailable).value)
        self.assertIn(GATE[0], reason)
        self.assertNotIn(GATE[1], reason)
        self.clock.advance(5)
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual(len(self.one.binds), 1)

    def test_our_password_less_and_less_often_S_LOCK(self) -> None:
        """The time until our own password is tried again doubles with each refusal."""
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

    def test_no_downgrade_T67(self) -> None:
        """Where StartTLS is refused nothing is said in clear."""
        self.directory = self.made(Security.STARTTLS)
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual((self.one.binds, self.one.open), ([], []))

    def test_early_T67(self) -> None:
        """What comes in clear behind the answer to StartTLS is not believed."""
        self.directory = self.made(Security.STARTTLS)
        self.one.early = self.two.early = (
            b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00"
        )
        reason = str(self.failureResultOf(self.using(), Unavailable).value)
        self.assertIn("in clear", reason)
        self.assertEqual((self.one.binds, self.one.open), ([], []))


class VerifyTests(DirectoryCase):
    """Users bind on connections of their own."""

    def test_good(self) -> None:
        """Nobody else uses the connection of a user, and it is closed."""
        self.found()
        self.successResultOf(self.verify(*ALICE))
        self.found()
        self.assertEqual(self.one.binds, [GATE[0], ALICE[0]])
        self.assertEqual(len(self.one.open), 1)

    def test_bounded_T69(self) -> None:
        """However many users come at once, there are no more connections than allowed."""
        self.one.silent = True
        asked = [self.verify(*ALICE) for _ in range(10)]
        self.assertEqual(len(self.one.transports), LIMITS.connections)
        for each in asked:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.one.open, [])

    def test_deaf_T69(self) -> None:
        """A server that does not hang up on good-bye is hung up on."""
        self.one.deaf = True
        self.successResultOf(self.verify(*ALICE))
        self.assertEqual(len(self.one.open), 1)
        self.clock.advance(LIMITS.answer)
        self.assertEqual(self.one.open, [])

    def test_bad(self) -> None:
        """A wrong password is a refusal."""
        self.failureResultOf(self.verify(ALICE[0], "guess"), Rejected)
        self.assertEqual(self.one.open, [])

    def test_empty_T24(self) -> None:
        """Without a password or a name the server is not asked at all."""
        for dn, password in ((ALICE[0], ""), ("", "secret")):
            self.failureResultOf(self.verify(dn, password), Rejected)
        self.assertEqual(self.one.transports, [])

    def test_why_not(self) -> None:
        """The policy of the directory, and what Active Directory says, is told in words."""
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

    def test_outage(self) -> None:
        """What is not about the user is an outage."""
        for code in (1, 2, 8, 51, 52, 53, 80):
            self.one.refusals[ALICE[0]] = (code, "")
            self.failureResultOf(self.verify(*ALICE), Unavailable)

    def test_unwilling(self) -> None:
        """A server that is unwilling because of the account has refused the user."""
        said = "Account inactivated. Contact system administrator."
        self.one.refusals[ALICE[0]] = (53, said)
        self.assertEqual(str(self.failureResultOf(self.verify(*ALICE), Rejected).value), said)

    def test_unwilling_policy(self) -> None:
        """So has one that says with the policy why it is unwilling."""
        self.one.controls = [(decoding.PASSWORD_POLICY, None, b"\x30\x03\x81\x01\x01")]
        self.one.refusals[ALICE[0]] = (53, "")
        refusal = self.failureResultOf(self.verify(*ALICE), Rejected)
        self.assertIn("locked", str(refusal.value))

    def test_unwilling_to_tell_why(self) -> None:
        """One that is unwilling because of what we want to know is asked without that, once."""
        self.one.plain = True
        self.successResultOf(self.verify(*ALICE))
        self.failureResultOf(self.verify(ALICE[0], "guess"), Rejected)
        self.one.refusals[ALICE[0]] = (53, "")
        self.one.binds.clear()
        self.failureResultOf(self.verify(*ALICE), Unavailable)
        self.assertEqual(len(self.one.binds), 2)

    def test_garbled_policy(self) -> None:
        """So is a control that cannot be read: the password may be right or wrong."""
        self.one.controls = [(decoding.PASSWORD_POLICY, None, b"\x30\x05\x81")]
        self.failureResultOf(self.verify(*ALICE), Unavailable)


class SearchTests(DirectoryCase):
    """Answers of all sizes."""

    def test_pages(self) -> None:
        """Many entries come page by page."""
        for number in range(25):
            self.one.entries.update(directories.person(f"user-{number}"))
        self.one.page = 10
        self.assertEqual(len(self.successResultOf(self.using())), 26)

    def test_ranges_T67(self) -> None:
        """Values that come range by range, as Active Directory gives them, are all there."""
        dns = [f"cn=group-{n},dc=org" for n in range(3500)]
        self.one.entries = directories.person("alice", *dns)
        self.one.limit = 1500

        async def read(connection: Connection) -> tuple[str, ...]:
            entry = await connection.read(ALICE[0], ("memberOf",))
            assert entry is not None
            return (await connection.read_all_values(entry, "memberOf")).strings("memberOf")

        self.assertEqual(self.successResultOf(self.using(read)), tuple(dns))
        self.assertEqual(self.one.asked[-1].attributes, ("memberOf;range=3000-*",))

    def test_results(self) -> None:
        """What fails is an outage, as is a referral, or a base that is not there."""
        for code in (1, 3, 10, 32, 50):
            self.one.result = code
            self.failureResultOf(self.using(), Unavailable)

    def test_no_such_entry(self) -> None:
        """One entry that is not there is no outage."""
        self.one.result = 32

        async def read(connection: Connection) -> Entry | None:
            return await connection.read(ALICE[0], ("cn",))

        self.assertIsNone(self.successResultOf(self.using(read)))

    def test_missing_values_T67(self) -> None:
        """Where a part of the values does not come, no part is believed."""
        entry = Entry(ALICE[0], {"memberof;range=0-1": (b"cn=a,dc=org", b"cn=b,dc=org")})

        async def read(connection: Connection) -> Entry:
            return await connection.read_all_values(entry, "memberOf")

        self.failureResultOf(self.using(read), Unavailable)

    def test_endless_pages_T67(self) -> None:
        """A server that always promises another page is not followed for ever."""
        self.one.page = 0
        self.failureResultOf(self.using(), Unavailable)

    def test_repeated_page_T67(self) -> None:
        """A page without entries that is followed by itself is the last one asked for."""
        self.one.endless = 0
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual(len(self.one.asked), 2)

    def test_fat_pages_T67(self) -> None:
        """All pages together are not longer than one answer may be."""
        self.one.entries = {f"cn=fat,{BASE}": {"cn": ["x" * 2**20]}}
        self.one.endless = 1
        self.failureResultOf(self.using(), Unavailable)
        self.assertLess(len(self.one.asked), 20)

    def test_ranges_that_lie_T67(self) -> None:
        """Ranges that begin elsewhere, repeat, or make no sense, are no answer."""
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

    def test_too_much_T67(self) -> None:
        """An entry that is too much is nobody else's trouble: the server is not left alone."""
        self.one.entries[f"uid=fat,{BASE}"] = {"cn": ["x"] * 30_000}
        reason = str(self.failureResultOf(self.using(), Unavailable).value)
        self.assertIn("more than 20000 elements", reason)
        del self.one.entries[f"uid=fat,{BASE}"]
        self.one.asked.clear()
        self.found()
        self.assertEqual(len(self.one.asked), 1)

    def test_too_much_of_one_T67(self) -> None:
        """Where only one server gives too much the next one answers, to a bind as to a search."""
        self.one.entries = {BASE: {"cn": ["x"] * 30_000}}
        self.found()
        self.directory = self.made()
        self.one.controls = [("1.2.3", None, b"")] * 100
        self.found()

    def test_more_than_asked_T67(self) -> None:
        """One that sends more entries than it was asked for is not listened to."""
        self.one.entries = {f"cn={n},{BASE}": {} for n in range(3)}
        few = Search(BASE, encoding.present("objectClass"), (), limit=1)

        async def ask(connection: Connection) -> list[Entry]:
            return await connection.search(few)

        self.assertEqual(len(self.successResultOf(self.using(ask))), 1)
        self.one.entries = {f"cn={n},{BASE}": {} for n in range(2_000)}
        self.two.down = True
        self.failureResultOf(self.using(ask), Unavailable)

    def test_garbage(self) -> None:
        """A server that speaks something else is an outage, and is left."""

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

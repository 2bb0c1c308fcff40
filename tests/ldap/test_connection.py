"""Searches and reads on one LDAP connection."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from authotron.ldap import encoding
from authotron.ldap.connection import Connection
from authotron.ldap.decoding import Entry
from authotron.ldap.encoding import Search
from authotron.model.errors import Unavailable
from tests import directories
from tests.directories import BASE
from tests.ldap.cases import ALICE, EVERYBODY, DirectoryCase


async def read_all_groups(connection: Connection) -> tuple[str, ...]:
    """Return all values of C{memberOf} of alice."""
    entry = await connection.read(ALICE[0], ("memberOf",))
    assert entry is not None
    return (await connection.read_all_values(entry, "memberOf")).strings("memberOf")


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

        self.assertEqual(self.successResultOf(self.using(read_all_groups)), tuple(dns))
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

        self.assertEqual(len(self.successResultOf(self.using(read_all_groups))), 30)
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
                self.failureResultOf(self.using(read_all_groups), Unavailable)

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

"""Which credentials have which places in the Token Status Lists."""

from __future__ import annotations

from zlib import decompress

from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.status_lists import StatusLists
from authotron.gateway.stored_status_list import LEASE, StoredStatusList, of_record
from authotron.jose.status_list import INVALID, VALID, encoded
from authotron.jose.unverified import decode_base64url
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.identity import Identity
from authotron.model.revocation import Revocation

none = PresentedToken()


def client(name: str, token: str | None = None, role: str = "r") -> Authentication:
    presented = None if token is None else PresentedToken(token)
    return Authentication(Identity("main", name, (role,), {"a": "b"}), "it", token=presented)


class StatusListsTests(SynchronousTestCase):
    """The lists of one process."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.lists = StatusLists("https://gate", 8, lambda: self.now)

    def index(self, found: Authentication, expires: float = 2000.0, jti: str = "j") -> int:
        status = self.lists.reference(found, jti, expires)["status_list"]
        self.assertEqual(status["uri"], self.lists.uri(self.lists.lists[-1].id))
        index: int = status["idx"]
        return index

    def sweep(self, *names: str) -> None:
        for _ in self.lists.sweep(lambda found: found.identity.username in names):
            pass

    def test_one_place(self) -> None:
        """All JWTs of one credential share a place; another credential has another place."""
        first = self.index(client("a", "t-1"))
        self.assertEqual(self.index(client("a", "t-1")), first)
        others = [client("a", "t-2"), client("a"), client("b", "t-1"), client("a", "t-1", "s")]
        self.assertEqual(len({first, *map(self.index, others)}), 5)

    def test_random_S_STATUS(self) -> None:
        """Places are not given in sequence, so they do not tell which JWT is older."""
        large = StatusLists("https://gate", 1024, lambda: self.now)
        found = [
            large.reference(client(str(n)), "j", 2000.0)["status_list"]["idx"] for n in range(1024)
        ]
        self.assertEqual(sorted(found), [*range(1024)])
        self.assertNotEqual(found, sorted(found))

    def test_sweep(self) -> None:
        """A revocation marks the places that it concerns; a withdrawal clears them."""
        bad, good = self.index(client("bad")), self.index(client("good"))
        self.sweep("bad")
        statuses = self.lists.lists[0].statuses
        self.assertEqual((statuses[bad], statuses[good]), (INVALID, VALID))
        for _ in self.lists.sweep_anew(lambda found: found.identity.username == "good"):
            pass
        self.assertEqual((statuses[bad], statuses[good]), (VALID, INVALID))

    def test_minted_jwt(self) -> None:
        """A revocation that names a minted JWT marks its place, also if it is not the last one."""
        index = self.index(client("a", "t-1"), jti="j-1")
        self.index(client("a", "t-1"), jti="j-2")
        for _ in self.lists.sweep(lambda found: "j-1" in (found.token or none).ancestors):
            pass
        self.assertEqual(self.lists.lists[0].statuses[index], INVALID)

    def test_many_jwts(self) -> None:
        """Of one credential the latest 128 JWTs are remembered."""
        for number in range(200):
            self.index(client("a"), jti=f"j-{number}")
        [(_, found)] = self.lists.lists[0].places()
        assert found.token is not None
        self.assertEqual(found.token.ancestors, tuple(f"j-{each}" for each in range(72, 200)))

    def test_new_place_after_revocation(self) -> None:
        """A credential that counts again gets another place than its revoked JWTs."""
        before = self.index(client("a"))
        self.sweep("a")
        self.assertNotEqual(self.index(client("a")), before)
        self.assertEqual(self.lists.lists[0].statuses[before], INVALID)

    def test_reuse_S_STATUS(self) -> None:
        """A place is given away only after the last JWT that refers to it has expired."""
        for number in range(8):
            self.index(client(str(number)), 1100 + number)
        self.sweep("0")
        self.now = 1300.0
        self.index(client("new"))
        self.assertEqual(len(self.lists.lists), 1)
        self.assertEqual(bytes(self.lists.lists[0].statuses.packed), b"\0")

    def test_full_S_STATUS(self) -> None:
        """If all places are taken a new list begins; of old lists only one is kept."""
        for number in range(8 * 3):
            self.index(client(str(number)))
        self.assertEqual((len(self.lists.lists), len(self.lists.closed)), (2, 1))
        ids = [each.id for each in (*self.lists.closed, *self.lists.lists)]
        self.assertEqual(len({*ids}), 3)
        self.assertIs(self.lists.of_id(ids[0]), None)
        self.assertIs(self.lists.of_id(ids[1]), self.lists.lists[0])


class StoredStatusListTests(SynchronousTestCase):
    """Lists of other processes."""

    stored = StoredStatusList("id", encoded(b"\x01\x00"), 1000.0, 12)

    def published(self, now: float, *known: Revocation) -> bytes:
        found = self.stored.published(known, now)
        return decompress(decode_base64url(found["lst"]))

    def test_record(self) -> None:
        """A list is the same after it was stored."""
        self.assertEqual(of_record(self.stored.record(5000.0)), self.stored)

    def test_maintained(self) -> None:
        """A list whose process goes on maintaining it is published as it is."""
        late = Revocation("r", realm="a", username="b", created=1010.0)
        self.assertEqual(self.published(1000 + 2 * LEASE, late), b"\x01\x00")

    def test_abandoned(self) -> None:
        """
        If the process has ended, the list stays as it is until there is a further revocation; then
        no credential in it counts as valid, because no process can tell which are revoked.
        """
        now = 1000 + 4 * LEASE
        early = Revocation("r", realm="a", username="b", created=900.0)
        self.assertEqual(self.published(now, early), b"\x01\x00")
        late = Revocation("r", realm="a", username="b", created=1010.0)
        self.assertEqual(self.published(now, early, late), b"\xff\xff")
        later = Revocation("r", realm="a", username="b", created=900.0, active_from=1100.0)
        self.assertEqual(self.published(now, later), b"\xff\xff")

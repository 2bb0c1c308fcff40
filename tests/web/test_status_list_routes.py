"""C{GET /statuslists/ID}: the status lists of all processes, kept up to date."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from authotron.client import InvalidToken, Verifier
from authotron.client import Unavailable as NotAvailable
from authotron.client.testing import SigningKey
from authotron.client.user import User
from authotron.daemon.live_events import LiveEvents
from authotron.gateway.status_lists import StatusLists
from authotron.gateway.stored_status_list import LEASE
from authotron.jose import unverified
from authotron.model.errors import Unavailable
from tests.config.cases import laid_over
from tests.web.conversations import ALICE
from tests.web.event_case import BOB, OVER, EventGatewayCase

URL = "https://gate.example"
LISTS: dict[str, Any] = {"status_list": {"url": URL + "/", "ttl": 60, "size": 1024}}
SECRET = "a secret that is long enough for HS256"


class StatusListCase(EventGatewayCase):
    """A gateway whose JWTs refer to a status list."""

    def setUp(self) -> None:
        super().setUp()
        self.over = laid_over(OVER, {"events": LISTS})
        self.begin()

    def mint(self, authorization: str = BOB) -> str:
        """Return the JWT that the gateway mints for a client."""
        answer = self.gateway.ask("GET /authenticate", Authorization=authorization)
        self.assertEqual(answer.status, 200)
        return answer.headers["authorization"].removeprefix("Bearer ")

    def reference(self, token: str) -> dict[str, Any]:
        found = unverified.parse(token)
        assert found is not None
        reference: dict[str, Any] = found.claims["status"]["status_list"]
        return reference

    def fetch(self, uri: str) -> str:
        """Fetch a list from the gateway."""
        answer = self.gateway.ask(f"GET {uri.removeprefix(URL)}")
        if answer.status != 200:
            raise Unavailable(str(answer.status))
        self.assertEqual(answer.headers["content-type"], "application/statuslist+jwt")
        self.assertEqual(answer.headers["cache-control"], "public, max-age=30")
        return answer.body.decode()

    def verifier(self) -> Verifier:
        return Verifier(
            "gate",
            secret=SECRET,
            status_lists=f"{URL}/statuslists",
            fetch_list=self.fetch,
            clock=self.gateway.clock.seconds,
        )

    def is_revoked(self, token: str) -> bool:
        try:
            self.assertIsInstance(self.verifier().verify(token), User)
        except InvalidToken as error:
            self.assertEqual(error.code, "revoked")
            return True
        return False

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.gateway.clock.advance(1)


class StatusListTests(StatusListCase):
    """What a backend finds in a list."""

    def test_revoked(self) -> None:
        """After a revocation the JWTs of the user are marked, and those of other users are not."""
        bob, alice = self.mint(), self.mint(ALICE)
        self.assertFalse(self.is_revoked(bob))
        revoked = self.revoke(realm="internal", username="bob")
        self.advance(1)
        self.assertTrue(self.is_revoked(bob))
        self.assertFalse(self.is_revoked(alice))
        self.withdraw(revoked.id)
        self.advance(1)
        self.assertFalse(self.is_revoked(bob))

    def test_expression(self) -> None:
        """A revocation by an expression, and one that counts later, mark JWTs as well."""
        bob, alice = self.mint(), self.mint(ALICE)
        later = self.gateway.clock.seconds() + 100
        self.revoke(claims='"auditor" in claims.role', active_from=later)
        self.advance(2)
        self.assertFalse(self.is_revoked(alice))
        self.advance(100 + LEASE)
        self.assertTrue(self.is_revoked(alice))
        self.assertFalse(self.is_revoked(bob))

    def test_other_process(self) -> None:
        """The list of another process comes from the token store, with what it has revoked."""
        token = self.mint()
        uri = self.reference(token)["uri"]
        self.advance(LEASE + 1)
        self.forget_own_list()
        self.assertFalse(self.is_revoked(token))
        self.assertNotEqual(self.reference(self.mint(ALICE))["uri"], uri)

    def test_reload(self) -> None:
        """After a reload the list is still stored with each further revocation."""
        token = self.mint()
        self.advance(LEASE + 1)
        self.events.replace()
        self.revoke(realm="internal", username="bob")
        self.advance(2)
        self.forget_own_list()
        self.assertTrue(self.is_revoked(token))

    def test_abandoned_S_STATUS(self) -> None:
        """After the end of a process, its whole list is revoked by the next revocation."""
        token = self.mint()
        self.advance(LEASE + 1)
        self.forget_own_list()
        self.advance(5 * LEASE)
        self.assertFalse(self.is_revoked(token))
        self.revoke(realm="internal", username="carol")
        self.assertTrue(self.is_revoked(token))

    def forget_own_list(self) -> None:
        """Begin with new lists, as another process does."""
        self.events.stop()
        gateway = self.serving.gateway
        lists = StatusLists(URL, 1024, self.gateway.clock.seconds)
        gateway.decisions._minter = gateway.minter.referring(lists.reference)
        self.serving.gateway = evolve(gateway, status_lists=lists)
        self.events = LiveEvents(self.serving, self.gateway.clock)  # type: ignore[arg-type] # needs only the clock of a reactor
        self.events.start()

    def test_unknown_S_STATUS(self) -> None:
        """There is no list with another id."""
        for id_ in ("x", "A" * 16, "A" * 17, "..%2f", "A" * 15 + "."):
            self.assertEqual(self.gateway.ask(f"GET /statuslists/{id_}").status, 404)

    def test_outage_S_STATUS(self) -> None:
        """While it is not known what is revoked, there is no list."""
        token = self.mint()
        revocations = self.serving.gateway.revocations
        assert revocations is not None
        revocations.index.is_outdated = True
        self.assertRaises(Unavailable, self.fetch, self.reference(token)["uri"])

    def test_signature_S_STATUS(self) -> None:
        """A backend believes only in lists that the gateway has signed."""
        token = self.mint()
        forged = SigningKey.generate("HS256").sign({"sub": "x"}, typ="statuslist+jwt")
        verifier = Verifier(
            "gate", secret=SECRET, status_lists=f"{URL}/statuslists", fetch_list=lambda _: forged,
            clock=self.gateway.clock.seconds,
        )  # fmt: skip
        self.assertRaises(NotAvailable, verifier.verify, token)

    def test_switched_off(self) -> None:
        """Without C{status_list} JWTs have no claim C{status}, and there are no lists."""
        self.begin(events={"status_list": ...})
        found = unverified.parse(self.mint())
        assert found is not None
        self.assertNotIn("status", found.claims)
        self.assertEqual(self.gateway.ask(f"GET /statuslists/{'A' * 16}").status, 404)

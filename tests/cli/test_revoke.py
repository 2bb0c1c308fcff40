"""C{authotron revoke} and C{authotron revocations} on a store in memory."""

from __future__ import annotations

from typing import Any

import click
from click.testing import CliRunner
from twisted.internet.defer import Deferred

from authotron.cli import revocations, revoke
from authotron.cli.revoke import _Wish
from authotron.cli.revoked import check_revoked
from authotron.gateway.records import WITHDRAWN
from authotron.model import revocation
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.errors import Rejected
from authotron.model.identity import Identity
from authotron.model.records import Record
from authotron.model.revocation import Revocation
from authotron.stores.memory import MemoryStore
from authotron.testing.worlds import NOW
from tests.cli.cases import CommandCase
from tests.web.conversations import InMemoryGateway
from tests.web.revoking import ALICE, ROOT, RevokingCase, bearer

NOTHING: dict[str, str | None] = dict.fromkeys(
    ("token", "token_id", "realm", "username", "claims", "issued_before", "active_from", "until")
)


class RevokeTests(RevokingCase):
    """What the command stores, which gateways then apply."""

    def work(self, **wish: str) -> Deferred[None]:
        given: dict[str, Any] = {**NOTHING, "reason": "", **wish}
        gateway = self.serving.gateway
        assert gateway.tokens is not None
        work = revoke._revoke(_Wish(**given), gateway, gateway.tokens, float(NOW), as_json=False)
        return Deferred.fromCoroutine(work)

    def done(self, **wish: str) -> str:
        """Run the command, let the gateway follow, and return what the command prints."""
        with CliRunner().isolation() as streams:
            self.successResultOf(self.work(**wish))
            printed = streams[0].getvalue().decode()
        self.pass_(1)
        return str(printed)

    def test_owner(self) -> None:
        """All credentials of a user are revoked, or the tokens up to a moment."""
        self.assertIn("alice in realm internal", self.done(realm="internal", username="alice"))
        self.assertEqual(self.ask(ALICE), 401)

    def test_issued_before(self) -> None:
        """Tokens up to a moment are revoked, and passwords are not."""
        self.done(realm="internal", username="alice", issued_before="now")
        self.assertEqual((self.ask(bearer()), self.ask(ALICE)), (401, 200))

    def test_token(self) -> None:
        """A token is revoked by its text, or by its id."""
        printed = self.done(token=bearer().removeprefix("Bearer "))
        self.assertNotIn(bearer().rpartition(".")[2], printed)
        self.assertEqual(self.ask(bearer()), 401)
        self.done(token_id="two")
        self.assertEqual(self.ask(bearer(jti="two")), 401)

    def test_api_token(self) -> None:
        """An API token is deleted, and refused at once by the gateways."""
        made = self.gateway.post("/tokens", {}, Authorization=ALICE).json()
        self.assertEqual(self.ask(f"Bearer {made['token']}"), 200)
        self.assertIn(made["id"], self.done(token=made["token"]))
        self.assertEqual(self.ask(f"Bearer {made['token']}"), 401)

    def test_refused(self) -> None:
        """An unknown realm, an invalid token, and malformed moments or expressions are refused."""
        self.failureResultOf(self.work(realm="interna", username="alice"), Rejected)
        self.failureResultOf(self.work(token="x.y.z"), Rejected)
        for wish in ({"claims": "claims.role =="}, {"token_id": "t", "until": "tomorrow"}):
            self.failureResultOf(self.work(**wish), click.BadParameter)
        self.assertEqual(self.ready()["known"], 0)


class ExplainTests(RevokingCase):
    """C{authotron explain} of a revoked credential."""

    def test_revoked(self) -> None:
        """The revocations in the token store are applied, without those that were withdrawn."""
        self.made(token_id="alice-1")
        withdrawn = self.made(realm="internal", username="root")
        self.gateway.ask(f"DELETE /revocations/{withdrawn}", Authorization=ROOT)
        other = InMemoryGateway(self.gateway.over).serving.gateway
        assert other.tokens is not None
        other.tokens.store.backend = self.store
        self.patch(MemoryStore, "type", "sqlite")
        for token, is_good in ((PresentedToken("alice-1"), False), (PresentedToken("2"), True)):
            found = Authentication(Identity("internal", "alice"), "sso", token=token)
            work = Deferred.fromCoroutine(check_revoked(other, found, float(NOW)))
            if is_good:
                self.successResultOf(work)
            else:
                self.failureResultOf(work, Rejected)


class UsageTests(CommandCase):
    """Command lines that make no sense."""

    def test_ways(self) -> None:
        """The command line names credentials in exactly one way."""
        file = self.file(store={"type": "sqlite", "path": "tokens.db"})
        for words in (
            (),
            ("--token-id", "a", "--claims", "true"),
            ("--realm", "here"),
            ("--username", "alice"),
            ("--token", "a", "--realm", "here", "--username", "alice"),
            ("--token-id", "a", "--issued-before", "now"),
        ):
            found = self.run_command("revoke", *words, "--config", file)
            self.assertEqual(found.exit_code, 2, (words, found.output))


class ListTests(CommandCase):
    """What the list shows."""

    def test_lines(self) -> None:
        """Each revocation is one line, without the withdrawn and with the damaged ones named."""
        mine = Revocation("a", "t", created=NOW, until=NOW + 60.0, reason="leaked")
        stored = [
            mine.record(),
            Record(revocation.KIND, "b", WITHDRAWN),
            Record(revocation.KIND, "c", "{}"),
        ]
        found, damaged = revocations._read(stored)
        self.assertEqual((found, damaged), ([mine], ["c"]))
        [line] = revocations._lines(found)
        self.assertEqual(
            line,
            "a  token t (made 2027-01-15 08:00:00, until 2027-01-15 08:01:00): leaked",
        )

"""The HTTP interface of revocations, and logging out."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from authotron.gateway import revoking
from authotron.model.errors import Unavailable
from authotron.testing.worlds import NOW
from tests.web.conversations import InMemoryGateway, basic
from tests.web.revoking import ALICE, ROOT, SECRET, SSO, STAFF, RevokingCase, bearer


class RevokeTests(RevokingCase):
    """What is revoked, and for whom."""

    def test_token_id_T42(self) -> None:
        """A token that is revoked by its id is refused from the acknowledgement on."""
        mine, other = bearer(), bearer(jti="alice-2")
        self.assertEqual((self.ask(mine), self.ask(other)), (200, 200))
        answer = self.revoke(token_id="alice-1", reason="leaked")
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.headers["location"], f"/revocations/{answer.json()['id']}")
        self.assertEqual((self.ask(mine), self.ask(other)), (401, 200))

    def test_token_T42(self) -> None:
        """A token can be named by its text; then only a token of the same owner is revoked."""
        self.assertEqual(self.ask(bearer("bob", jti="alice-1")), 200)
        self.made(token=bearer().removeprefix("Bearer "))
        self.assertEqual(self.ask(bearer()), 401)
        self.assertEqual(self.ask(bearer("bob", jti="alice-1")), 200)

    def test_token_without_an_id(self) -> None:
        """A token without C{jti} is revoked by its hash."""
        mine, other = bearer(jti=None), bearer(jti=None, iat=NOW - 11)
        self.assertEqual((self.ask(mine), self.ask(other)), (200, 200))
        self.made(token=mine.removeprefix("Bearer "))
        self.assertEqual((self.ask(mine), self.ask(other)), (401, 200))

    def test_owner(self) -> None:
        """All credentials of an owner are refused, passwords included."""
        self.assertEqual((self.ask(ALICE), self.ask(bearer())), (200, 200))
        self.made(realm="internal", username="alice")
        self.assertEqual((self.ask(ALICE), self.ask(bearer())), (401, 401))
        self.assertEqual(self.ask(ROOT), 200)

    def test_login_again(self) -> None:
        """With C{issued_before} the owner may use a password or a newer token."""
        self.made(realm="internal", username="alice", issued_before="now")
        self.assertEqual((self.ask(bearer()), self.ask(bearer(iat=None))), (401, 401))
        self.assertEqual((self.ask(ALICE), self.ask(bearer(iat=NOW))), (200, 200))

    def test_claims(self) -> None:
        """Identities for which an expression is true are refused."""
        self.assertEqual(self.ask(ALICE), 200)
        self.made(claims='"reader" in claims.role')
        self.assertEqual((self.ask(ALICE), self.ask(ROOT)), (401, 200))

    def test_later(self) -> None:
        """A revocation counts from its moment on, also for cached decisions."""
        self.assertEqual(self.ask(bearer()), 200)
        self.made(token_id="alice-1", active_from="+5s", until="+20s")
        self.assertEqual(self.ask(bearer()), 200)
        self.pass_(5)
        self.assertEqual(self.ask(bearer()), 401)
        self.pass_(20)
        self.assertEqual(self.ask(bearer()), 200)

    def test_api_token(self) -> None:
        """An API token that is revoked by its text is deleted."""
        made = self.gateway.post("/tokens", {}, Authorization=ALICE).json()
        token = f"Bearer {made['token']}"
        self.assertEqual(self.ask(token), 200)
        self.assertEqual(self.revoke(token=made["token"]).status, 204)
        self.assertEqual(self.ask(token), 401)
        listed = self.gateway.ask("GET /tokens", Authorization=ALICE).json()["tokens"]
        self.assertEqual(listed, [])

    def test_deleted_api_token_is_revoked_for_others(self) -> None:
        """A deleted API token is refused by other machines, and if the store loses the deletion."""
        made = self.gateway.post("/tokens", {}, Authorization=ALICE).json()
        stored = {**self.store._rows}
        self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.pass_(1)
        self.store._rows.update(stored)
        self.serving.gateway.decisions.invalidate()
        self.assertEqual(self.ask(f"Bearer {made['token']}"), 401)

    def test_error_of_the_challenge(self) -> None:
        """The challenge of a revoked token names the error C{invalid_token}."""
        self.made(token_id="alice-1")
        answer = self.gateway.ask("GET /authenticate", Authorization=bearer())
        self.assertIn('error="invalid_token"', answer.headers["www-authenticate"])

    def test_malformed(self) -> None:
        """A body that names no credentials, or in two ways, is refused with the reason."""
        owner = {"realm": "internal", "username": "alice"}
        for content, reason in (
            ({}, "name a token"),
            ({"token_id": "a", "claims": "true"}, "name a token"),
            ({"token": "a", **owner}, "name a token"),
            ({"realm": "internal"}, "both realm and username"),
            ({"token_id": ""}, "is empty"),
            ({"token_id": 1}, "must be a string"),
            ({"token_id": "a\n"}, "must be a string"),
            ({"token_id": "a" * 257}, "longer than 256"),
            ({"token_id": "a", "color": "red"}, "unknown key"),
            ({"token_id": "a", "issued_before": "now"}, "cannot be given for one token"),
            ({**owner, "until": "-1h"}, "not in the future"),
            ({**owner, "until": "+1h", "active_from": "+2h"}, "not after active_from"),
            ({**owner, "until": "tomorrow"}, "not a moment"),
            ({"claims": "claims.role =="}, "line 1"),
            ({"claims": 'request.path == "/"'}, "reads `request` or `now`"),
            ({"claims": 'now > timestamp("2026-01-01T00:00:00Z")'}, "reads `request` or `now`"),
            ({"token": "no.valid.token"}, "is not valid"),
        ):
            answer = self.revoke(**content)
            self.assertEqual(answer.status, 422, content)
            self.assertIn(reason, str(answer.json()["problems"]), content)
        self.assertEqual(self.ready()["known"], 0)

    def test_off(self) -> None:
        """Without the section C{revocation} there are no such routes."""
        gateway = InMemoryGateway({"providers": [STAFF], "store": {"type": "memory"}})
        for line in ("GET /revocations", "POST /logout", "DELETE /revocations/x"):
            self.assertEqual(gateway.ask(line, Authorization=ROOT).status, 404)

    def test_audit_S_AUDIT(self) -> None:
        """Each revocation and each withdrawal is logged with its actor, and without a token."""
        text = bearer().removeprefix("Bearer ")
        with capturedLogs() as events:
            id_ = self.made(token=text, reason="leaked")
            self.gateway.ask(f"DELETE /revocations/{id_}", Authorization=ROOT)
        audited = [each for each in events if str(each.get("event")).startswith("revocations.m")]
        [made] = audited
        self.assertEqual((made["id"], made["by_username"], made["reason"]), (id_, "root", "leaked"))
        names = [each["event"] for each in events if "revocations" in str(each.get("event"))]
        self.assertEqual(names, ["revocations.made", "revocations.withdrawn"])
        self.assertNotIn(text, str(events))


class ConfirmationTests(RevokingCase):
    """When a revocation is acknowledged."""

    def test_other_workers_T42(self) -> None:
        """A revocation is acknowledged after all workers have applied it."""
        confirmed: Deferred[None] = Deferred()

        async def ask_others(_word: str, _content: object) -> None:
            await confirmed

        self.records._current.records._share = ask_others  # type: ignore[union-attr] # it is there
        channel, wire = self.gateway.connect(self.gateway.public)
        line = f"POST /logout HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer()}\r\n"
        channel.dataReceived(f"{line}Content-Length: 0\r\n\r\n".encode())
        self.assertEqual(wire.value(), b"")
        confirmed.callback(None)
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 204 "))

    def test_unconfirmed_T42(self) -> None:
        """If the store or a worker does not confirm, the answer is a 503, and it is logged."""

        async def ask_others(_word: str, _content: object) -> None:
            raise Unavailable("a worker has not confirmed")

        self.records._current.records._share = ask_others  # type: ignore[union-attr] # it is there
        with capturedLogs() as events:
            self.assertEqual(self.revoke(token_id="alice-1").status, 503)
        self.assertIn("revocations.unconfirmed", [each.get("event") for each in events])
        self.assertEqual(self.ask(bearer()), 401)

    def test_store_that_is_down(self) -> None:
        """A revocation that cannot be stored is not acknowledged."""
        self.store.is_down = True
        self.assertEqual(self.revoke(token_id="alice-1").status, 503)


class WhoTests(RevokingCase):
    """Who may revoke what."""

    def test_own_tokens(self) -> None:
        """Each client may revoke its own tokens by id, and those of the same id of no other."""
        self.made(ALICE, token_id="shared")
        self.assertEqual(self.ask(bearer(jti="shared")), 401)
        self.assertEqual(self.ask(bearer("bob", jti="shared")), 200)

    def test_own_token_by_text(self) -> None:
        """Each client may revoke its own tokens by their text, and no others."""
        self.made(ALICE, token=bearer().removeprefix("Bearer "))
        other = self.revoke(ALICE, token=bearer("bob").removeprefix("Bearer "))
        self.assertEqual((other.status, self.ask(bearer("bob"))), (403, 200))

    def test_all_own_tokens(self) -> None:
        """A client may revoke all its tokens that were issued before now, and nothing else."""
        found = self.revoke(
            ALICE, realm="internal", username="alice", issued_before="+1000d", until="+2000d"
        ).json()
        self.assertEqual((found["issued_before"], found["until"]), (NOW, None))
        self.assertEqual((self.ask(bearer()), self.ask(bearer(iat=NOW))), (401, 200))
        self.assertEqual(self.ask(ALICE), 200)

    def test_not_of_others_S_A3SPUBLIC(self) -> None:
        """A client that is no administrator may not revoke others, nor by an expression."""
        for content in (
            {"realm": "internal", "username": "bob"},
            {"realm": "internal", "username": "bob", "token_id": "t"},
            {"claims": "true"},
            {"claims": "malformed ("},
        ):
            self.assertEqual(self.revoke(ALICE, **content).status, 403, content)

    def test_restricted_token(self) -> None:
        """A restricted API token can revoke itself alone."""
        made = self.gateway.post("/tokens", {"roles": []}, Authorization=ALICE).json()
        token = f"Bearer {made['token']}"
        for content in (
            {"token_id": "alice-1"},
            {"realm": "internal", "username": "alice"},
            {"token": bearer().removeprefix("Bearer ")},
        ):
            self.assertEqual(self.revoke(token, **content).status, 403, content)
        answer = self.gateway.post("/logout", {"everywhere": True}, Authorization=token)
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.gateway.ask("POST /logout", Authorization=token).status, 204)
        self.assertEqual(self.ask(token), 401)

    def test_own_revocations_are_listed(self) -> None:
        """A client sees the revocations that name it, and not why an administrator made them."""
        mine = self.made(ALICE, token_id="a")
        self.gateway.clock.advance(1)
        theirs = self.made(realm="internal", username="alice", issued_before=1, reason="spying")
        hidden = self.made(realm="internal", username="bob")
        listed = self.gateway.ask("GET /revocations", Authorization=ALICE).json()["revocations"]
        self.assertEqual([each["id"] for each in listed], [mine, theirs])
        self.assertNotIn("spying", str(listed))
        for id_, status in ((mine, 200), (theirs, 200), (hidden, 404), ("unknown", 404)):
            answer = self.gateway.ask(f"GET /revocations/{id_}", Authorization=ALICE)
            self.assertEqual(answer.status, status)

    def test_pages(self) -> None:
        """An administrator lists all revocations, page by page, or those of one owner."""
        made = [self.made(token_id=f"t{n}") for n in range(3)]
        made.append(self.made(realm="internal", username="bob"))
        first = self.gateway.ask("GET /revocations?limit=3", Authorization=ROOT).json()
        self.assertEqual([each["id"] for each in first["revocations"]], sorted(made)[:3])
        rest = f"GET /revocations?after={first['next']}"
        following = self.gateway.ask(rest, Authorization=ROOT).json()
        self.assertEqual([each["id"] for each in following["revocations"]], sorted(made)[3:])
        self.assertNotIn("next", following)
        line = "GET /revocations?realm=internal&username=bob"
        of_bob = self.gateway.ask(line, Authorization=ROOT).json()["revocations"]
        self.assertEqual([each["id"] for each in of_bob], made[3:])

    def test_withdrawn_by_administrators(self) -> None:
        """Only an administrator may withdraw a revocation; then the credential counts again."""
        id_ = self.made(ALICE, token_id="alice-1")
        line = f"DELETE /revocations/{id_}"
        self.assertEqual(self.gateway.ask(line, Authorization=ALICE).status, 403)
        self.assertEqual(self.ask(bearer()), 401)
        self.assertEqual(self.gateway.ask(line, Authorization=ROOT).status, 204)
        self.assertEqual(self.ask(bearer()), 200)
        self.assertEqual(self.gateway.ask(line, Authorization=ROOT).status, 404)

    def test_too_many(self) -> None:
        """An owner cannot fill the list of revocations; an administrator still can revoke."""
        self.patch(revoking, "MOST_OF_OWNER", 2)
        self.patch(revoking, "MOST_EXPRESSIONS", 1)
        for number in range(2):
            self.made(ALICE, token_id=f"t{number}")
        self.assertEqual(self.revoke(ALICE, token_id="t2").status, 403)
        self.assertEqual(self.gateway.ask("POST /logout", Authorization=bearer()).status, 403)
        self.made(realm="internal", username="alice", token_id="t2")
        self.made(claims="false")
        self.assertEqual(self.revoke(claims="false").status, 403)

    def test_thief_cannot_prevent_a_logout(self) -> None:
        """The owner of a stolen token can revoke all tokens, whatever its bearer has revoked."""
        self.patch(revoking, "MOST_OF_OWNER", 2)
        thief = bearer(jti="stolen")
        for number in range(2):
            self.made(thief, token_id=f"t{number}")
        for _ in range(3):
            self.gateway.clock.advance(1)
            answer = self.gateway.post("/logout", {"everywhere": True}, Authorization=ALICE)
            self.assertEqual(answer.status, 204)
        self.assertEqual((self.ask(thief), self.ready()["known"]), (401, 3))
        listed = self.gateway.ask("GET /revocations", Authorization=ROOT).json()["revocations"]
        self.assertEqual(listed[-1]["issued_before"], NOW + 3)

    def test_moves_on_after_a_withdrawal(self) -> None:
        """After the revocation of all tokens was withdrawn, the owner can make another one."""
        owner = {"realm": "internal", "username": "alice"}
        first = self.made(ALICE, **owner)
        self.gateway.ask(f"DELETE /revocations/{first}", Authorization=ROOT)
        self.assertEqual(self.ask(bearer()), 200)
        self.assertNotEqual(self.made(ALICE, **owner), first)
        self.assertEqual(self.ask(bearer()), 401)


class LogoutTests(RevokingCase):
    """Logging out."""

    def logout(self, credential: str, content: Any = None, **headers: Any) -> int:
        if content is None:
            answer = self.gateway.ask("POST /logout", Authorization=credential, **headers)
        else:
            answer = self.gateway.post("/logout", content, Authorization=credential, **headers)
        return answer.status

    def test_token_T42(self) -> None:
        """The presented token is refused from the answer on, until it has expired."""
        self.assertEqual(self.ask(bearer()), 200)
        self.assertEqual(self.logout(bearer()), 204)
        self.assertEqual((self.ask(bearer()), self.ask(bearer(jti="2"))), (401, 200))
        [listed] = self.gateway.ask("GET /revocations", Authorization=ROOT).json()["revocations"]
        self.assertGreater(listed["until"], NOW + 3_600)
        self.assertLess(listed["until"], NOW + 3_900)

    def test_only_valid_tokens_S_A3SPUBLIC(self) -> None:
        """A client cannot revoke a token that it does not have, by a made-up one with its id."""
        forged = bearer()[:-4] + "AAAA"
        self.assertEqual(self.logout(forged), 401)
        self.assertEqual(self.gateway.ask("POST /logout").status, 401)
        self.assertEqual(self.ask(bearer()), 200)

    def test_everywhere(self) -> None:
        """All tokens that were issued before are refused; the user may log in again."""
        self.assertEqual(self.logout(ALICE, {"everywhere": True}), 204)
        self.assertEqual((self.ask(bearer()), self.ask(bearer(jti="2"))), (401, 401))
        self.assertEqual((self.ask(ALICE), self.ask(bearer("bob"))), (200, 200))

    def test_password(self) -> None:
        """A password cannot be logged out, and the answer says so."""
        self.assertEqual(self.logout(ALICE), 400)
        self.assertEqual(self.ask(ALICE), 200)

    def test_api_token(self) -> None:
        """An API token that logs out is deleted, with the tokens that were created with it."""
        made = self.gateway.post("/tokens", {}, Authorization=ALICE).json()
        first = f"Bearer {made['token']}"
        child = f"Bearer {self.gateway.post('/tokens', {}, Authorization=first).json()['token']}"
        self.assertEqual((self.ask(first), self.ask(child)), (200, 200))
        self.assertEqual(self.logout(first), 204)
        self.assertEqual((self.ask(first), self.ask(child)), (401, 401))

    def test_odd_bodies(self) -> None:
        """A body with another key, or of another type, logs no client out."""
        for content in ({"everywhere": 1}, {"all": True}, {"everywhere": True, "x": 1}):
            self.assertEqual(self.logout(bearer(), content), 422, content)
        self.assertEqual(self.logout(bearer(), []), 400)
        self.assertEqual(self.ask(bearer()), 200)

    def test_other_sites(self) -> None:
        """A page of another site cannot log a user out."""
        self.assertEqual(self.logout(bearer(), Sec_Fetch_Site="cross-site"), 403)
        self.assertEqual(self.logout(bearer(), Sec_Fetch_Site="same-site"), 403)
        self.assertEqual(self.ask(bearer()), 200)
        self.assertEqual(self.logout(bearer(), Sec_Fetch_Site="same-origin"), 204)

    def test_cookie(self) -> None:
        """A cookie that can carry credentials is deleted."""
        sso = {**SSO, "credentials": [{"header": "Authorization"}, {"cookie": "session"}]}
        self.start(providers=[STAFF, sso])
        answer = self.gateway.ask("POST /logout", Authorization=bearer(), Cookie="session=x; a=b")
        self.assertEqual(answer.status, 204)
        self.assertTrue(answer.headers["set-cookie"].startswith("session=; Path=/; Max-Age=0"))
        other = self.gateway.ask("POST /logout", Authorization=bearer(jti="2"), Cookie="a=b")
        self.assertNotIn("set-cookie", other.headers)

    def test_secret_is_not_shown(self) -> None:
        """What revocations show contains no token."""
        self.logout(bearer(jti=None))
        shown = self.gateway.ask("GET /revocations", Authorization=ROOT).body.decode()
        self.assertIn("sha256:", shown)
        self.assertNotIn(bearer(jti=None).split(".")[1], shown)
        self.assertNotIn(SECRET, shown)
        self.assertEqual(self.ask(basic("alice", "wonder")), 200)

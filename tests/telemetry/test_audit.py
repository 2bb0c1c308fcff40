"""Audit events of API tokens."""

from __future__ import annotations

import io
import json
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import provider

from authotron.config import schema
from authotron.model.authentication import Authentication
from authotron.model.identity import Identity
from authotron.model.token import TERMINAL, Grant, checksum
from authotron.plugin.interfaces import ITokenStore
from authotron.telemetry import audit, logs
from authotron.testing.worlds import NOW
from authotron.tokens import imported
from authotron.tokens.grants import TokenRequest
from authotron.tokens.imported import ForeignToken
from tests.web.conversations import ALICE
from tests.web.test_token_routes import PROXIED, ROOT, SAID, TokenCase


class Slow:
    """A store that changes tokens at once, and confirms later."""

    def __init__(self, store: ITokenStore) -> None:
        self._store = store
        self._waiting: list[Deferred[None]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("add", "change", "remove"):
            return found

        async def slowly(*given: Any) -> Any:
            outcome = await found(*given)
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
            return outcome

        return slowly

    def answer(self) -> None:
        while self._waiting:
            waiting = self._waiting.pop()
            if not waiting.called:
                waiting.callback(None)


class AuditCase(TokenCase):
    """A gateway that logs no requests, only audit events."""

    def setUp(self) -> None:
        self.gateway = self.make(server=PROXIED, logging={"access": "none"})
        self.events: list[LogEvent] = []

        @provider(ILogObserver)
        def note(event: LogEvent) -> None:
            if str(event.get("event", "")).startswith("tokens."):
                self.events.append(event)

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def logged(self, name: str) -> list[dict[str, Any]]:
        """Return the JSON attributes of all events of one name."""
        return [each["attributes"] for each in self.written() if self.is_named(each, name)]

    def is_named(self, line: dict[str, Any], name: str) -> bool:
        return bool(line["attributes"]["event.name"] == name)

    def written(self) -> list[dict[str, Any]]:
        """Return all log lines."""
        stream = io.StringIO()
        log = logs.Log(schema.LoggingConfig(format="json"), stream)
        for event in self.events:
            log(event)
        return [json.loads(line) for line in stream.getvalue().splitlines()]


class HttpTests(AuditCase):
    """Changes over HTTP."""

    def test_new_token_is_logged_S_AUDIT(self) -> None:
        """A new token is logged with its limits, owner, creator and the client's address."""
        made = self.new(roles=["reader"], hosts=["*.a.org"], networks=["10.0.0.0/8"], ttl=60)
        child = self.send("POST /tokens", {"name": "x"}, f"Bearer {made['token']}", **SAID).json()
        simple = self.gateway.ask("GET /token", Authorization=ALICE).json()["token"]
        first, second, third = self.logged("tokens.created")
        expected = {
            "id": made["id"],
            "parent": None,
            "realm": "internal",
            "username": "alice",
            "roles": "['reader']",
            "scopes": None,
            "hosts": "['*.a.org']",
            "networks": "['10.0.0.0/8']",
            "expires": NOW + 60,
            "by_realm": "internal",
            "by_username": "alice",
            "credential": "provider staff",
            "client": "192.0.2.7",
        }
        self.assertEqual({name: first[name] for name in expected}, expected)
        self.assertEqual((second["id"], second["parent"]), (child["id"], made["id"]))
        self.assertEqual(second["credential"], f"token {made['id']}")
        self.assertEqual(second["client"], "10.1.2.3")
        self.assertEqual(third["id"], simple[4:16])

    def test_changed_token_is_logged_S_AUDIT(self) -> None:
        """A change is logged with the changed fields, also for descendants it affects."""
        made = self.new(ttl=600)
        child = self.new(f"Bearer {made['token']}")
        self.send(f"PATCH /tokens/{made['id']}", {"name": "n"}, ROOT)
        self.send(f"PATCH /tokens/{made['id']}", {"ttl": 60, "comment": "c"})
        self.send(f"PATCH /tokens/{made['id']}", {})
        logged = self.logged("tokens.changed")
        self.assertEqual([each["id"] for each in logged], [made["id"], made["id"], child["id"]])
        self.assertEqual(
            [each["changed"] for each in logged], ["name", "comment, expires", "expires"]
        )
        self.assertEqual([each["by_username"] for each in logged], ["root", "alice", "alice"])
        self.assertEqual([each["expires"] for each in logged], [NOW + 600, NOW + 60, NOW + 60])

    def test_revoked_token_is_logged_S_AUDIT(self) -> None:
        """Every route logs each revoked token, with the token that the request named."""
        for line in ("DELETE /tokens/{id}", "DELETE /token/{token}", ""):
            made = self.new()
            child = self.new(f"Bearer {made['token']}")
            self.events.clear()
            if line:
                self.gateway.ask(line.format(**made), Authorization=ROOT)
            else:
                self.send("POST /tokens/revoke", {"token": made["token"]}, "")
            logged = self.logged("tokens.revoked")
            self.assertEqual([each["id"] for each in logged], [made["id"], child["id"]])
            self.assertEqual({each["root"] for each in logged}, {made["id"]})
            self.assertEqual({each["by_username"] for each in logged}, {"root" if line else ""})
            self.assertEqual({each["client"] for each in logged}, {"192.0.2.7"})

    def test_refused_request_is_not_logged_S_AUDIT(self) -> None:
        """A request that is refused, or changes nothing, is not logged."""
        made = self.new()
        self.events.clear()
        self.send("POST /tokens", {"roles": ["admin"]})
        self.send("POST /tokens/revoke", {"token": "aot_x"}, "")
        self.gateway.ask("DELETE /tokens/000000000000", Authorization=ALICE)
        self.gateway.ask(f"GET /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(self.events, [])

    def test_use_after_revocation_is_logged_S_AUDIT(self) -> None:
        """A client that presents a revoked token is logged by its id, once a minute."""
        made = self.new()
        child = self.new(f"Bearer {made['token']}")
        self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.events.clear()
        for _ in range(3):
            self.gateway.clock.advance(6)
            for each in (made, child):
                self.assertEqual(self.whoami(each["token"]).status, 401)
        logged = self.logged("tokens.used_after_revocation")
        self.assertEqual([each["id"] for each in logged], [made["id"], child["id"]])
        self.assertEqual({each["username"] for each in logged}, {"alice"})
        self.gateway.clock.advance(60)
        self.send("POST /tokens/revoke", {"token": made["token"]}, "")
        self.assertEqual(len(self.logged("tokens.used_after_revocation")), 3)

    def test_use_after_revocation_names_the_client_S_AUDIT(self) -> None:
        """Use of a revoked token is logged with the client's address, by every route."""
        for line in ("GET /authenticate", "GET /whoami", ""):
            made = self.new()
            self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
            self.events.clear()
            if line:
                bearer, address = f"Bearer {made['token']}", SAID["X_Forwarded_For"]
                self.gateway.ask(line, Authorization=bearer, X_Forwarded_For=address)
            else:
                self.send("POST /tokens/revoke", {"token": made["token"]}, "", **SAID)
            [logged] = self.logged("tokens.used_after_revocation")
            self.assertEqual((logged["id"], logged["client"]), (made["id"], "10.1.2.3"))

    def test_omitted_attributes_are_logged_S_AUDIT(self) -> None:
        """Attributes of the owner that are not stored, to limit the size of a token, are logged."""
        owner = Authentication(Identity("m", "bo", attributes={"long": "x" * 5_000, "short": "y"}))
        making = self.tokens.make(owner, TokenRequest(), can_look_up=False)
        _, token = self.successResultOf(Deferred.fromCoroutine(making))
        self.assertEqual(dict(token.owner.attributes), {"short": "y"})
        [logged] = self.logged("tokens.left_out")
        self.assertEqual(
            (logged["id"], logged["count"], logged["example"]), (token.id, 1, "'long'")
        )

    def test_change_is_logged_if_the_client_disconnects_S_AUDIT(self) -> None:
        """A change after the client disconnects is logged and invalidates decisions."""
        made, other = self.new(ttl=600), self.new()
        self.assertEqual(self.whoami(other["token"]).status, 200)
        self.events.clear()
        slow = self.slow()
        path = f"/tokens/{made['id']}"
        for line, content in (
            ("POST /tokens", {}),
            (f"PATCH {path}", {"name": "n"}),
            (f"PATCH {path}", {"ttl": 60}),
            (f"DELETE {path}", {}),
            ("POST /tokens/revoke", {"token": other["token"]}),
        ):
            self.leave(line, content)
            slow.answer()
        names = [each["attributes"]["event.name"] for each in self.written()]
        changed = ["tokens.changed"] * 2
        self.assertEqual(names, ["tokens.created", *changed, *["tokens.revoked"] * 2])
        self.assertEqual(self.whoami(other["token"]).status, 401)

    def slow(self) -> Slow:
        """Replace the store in use by a slow one."""
        store = self.tokens.store
        slow: Any = Slow(store.backend)
        store.backend = slow
        return cast("Slow", slow)

    def leave(self, line: str, content: dict[str, Any]) -> None:
        """Send a request, and close the connection before the answer."""
        body = json.dumps(content).encode()
        head = f"{line} HTTP/1.1\r\nHost: gate\r\nAuthorization: {ALICE}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        channel, wire = self.gateway.connect()
        channel.dataReceived(head.encode() + body)
        self.assertEqual(wire.value(), b"")
        channel.connectionLost(Failure(ConnectionDone()))

    def test_unconfirmed_change_is_logged_S_AUDIT(self) -> None:
        """A change that the store does not confirm in time is logged, as it may have been made."""
        made = self.new()
        self.events.clear()
        self.slow()
        path = f"/tokens/{made['id']}"
        for line in ("POST /tokens", f"PATCH {path}", f"DELETE {path}"):
            self.leave(line, {} if line.startswith("POST") else {"name": "n"})
            self.gateway.clock.advance(4)
        logged = self.logged("tokens.unconfirmed")
        self.assertEqual([each["what"] for each in logged], ["created", "changed", "revoked"])
        self.assertEqual([each["id"] for each in logged[1:]], [made["id"]] * 2)
        self.assertEqual({each["by_username"] for each in logged}, {"alice"})
        self.assertEqual(len(self.events), 3)

    def test_forged_token_is_not_logged_as_revoked_S_AUDIT(self) -> None:
        """A client that knows only the id of a revoked token is not logged as its user."""
        made = self.new()
        self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        text = made["token"][:17] + "0" * 43
        self.whoami(text + checksum(text))
        self.assertEqual(self.logged("tokens.used_after_revocation"), [])

    def test_events_contain_no_secrets_S_AUDIT(self) -> None:
        """No event contains a token, a hash, or a control character that ends its line."""
        made = self.new(name="n")
        self.send(f"PATCH /tokens/{made['id']}", {"name": "m"})
        self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.whoami(made["token"])
        lines = [json.dumps(each) for each in self.written()]
        self.assertEqual(len(lines), 4)
        for line in lines:
            self.assertNotIn(made["token"][17:], line)
            self.assertNotIn("hs256", line)


class OtherTests(AuditCase):
    """Changes at a terminal."""

    def done(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def test_command_is_logged_with_the_user_S_AUDIT(self) -> None:
        """A change at a terminal is logged with the user of the operating system."""
        by = audit.at_terminal()
        self.assertTrue(by.username)
        owner = Authentication(Identity("internal", "alice"), "staff")
        making = self.tokens.make(owner, TokenRequest(), can_look_up=True, origin=TERMINAL, by=by)
        _, token = self.done(making)
        self.done(self.tokens.end(token.id, by))
        for name in ("tokens.created", "tokens.revoked"):
            [logged] = self.logged(name)
            self.assertEqual(
                (logged["credential"], logged["by_username"]), ("terminal", by.username)
            )

    def test_imported_token_is_logged_S_AUDIT(self) -> None:
        """An imported token is logged once, with its owner and its limits."""
        source = ForeignToken(Identity("m", "ali\nce"), Grant(hosts=("a.org",)))
        copying = imported.of_auth_o_tron("a-token-of-another-service")
        for _ in range(2):
            self.done(self.tokens.imported.copy(copying, source))
        [logged] = self.logged("tokens.imported")
        self.assertEqual((logged["realm"], logged["hosts"]), ("m", "['a.org']"))
        stream = io.StringIO()
        logs.Log(schema.LoggingConfig(), stream)(self.events[0])
        self.assertEqual(stream.getvalue().count("\n"), 1)
        self.assertNotIn("another-service", stream.getvalue())

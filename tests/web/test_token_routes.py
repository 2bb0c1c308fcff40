"""The HTTP interface of API tokens."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jwt
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency import pieces
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.identity import Identity
from authotron.model.token import (
    PATTERN,
    Grant,
    Token,
    generate,
)
from authotron.plugin.interfaces import TokenQuery
from authotron.stores import memory
from authotron.testing.worlds import NOW
from authotron.tokens.service import TokenService
from authotron.web import token_bodies
from tests.web.conversations import ALICE, Answer, InMemoryGateway, basic

USERS = [
    {"username": "alice", "password": "wonder", "roles": ["reader", "writer"]},
    {"username": "bob", "password": "builder", "roles": ["reader"]},
    {"username": "root", "password": "toor", "roles": ["keeper"]},
]
STAFF = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
BOB = basic("bob", "builder")
ROOT = basic("root", "toor")
PROXIED = {"trusted_proxies": ["192.0.2.0/24"]}
"""The clients of these tests are all at 192.0.2.7."""

SAID = {"X_Forwarded_Host": "x.a.org", "X_Forwarded_For": "10.1.2.3"}


class TokenCase(SynchronousTestCase):
    """A gateway with a token store."""

    def setUp(self) -> None:
        self.gateway = self.make()

    def make(self, **over: Any) -> InMemoryGateway:
        usual = {"store": {"type": "memory", "admins": {"internal": ["keeper"]}}}
        return InMemoryGateway({"providers": [STAFF], **usual, **over})

    def send(self, line: str, content: Any, authorization: str = ALICE, **headers: str) -> Answer:
        """Return the answer to a request with a JSON body."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        fields = {"Authorization": authorization, "Content_Type": "application/json", **headers}
        fields["Content_Length"] = str(len(body))
        lines = [f"{line} HTTP/1.1", "Host: gate"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
        [answer] = self.gateway.say("\r\n".join([*lines, "", ""]).encode() + body)
        return answer

    def new(self, authorization: str = ALICE, **wish: Any) -> dict[str, Any]:
        answer = self.send("POST /tokens", wish, authorization)
        self.assertEqual(answer.status, 201, answer.body)
        made: dict[str, Any] = answer.json()
        return made

    def whoami(self, token: str, realm: str = "internal") -> Answer:
        bearer = f"Bearer {token}"
        return self.gateway.ask("GET /whoami", Authorization=bearer, X_Auth_Realm=realm)

    @property
    def tokens(self) -> TokenService:
        found = self.gateway.serving.gateway.tokens
        assert found is not None
        return found

    def listed(self, authorization: str = ALICE, query: str = "") -> list[str]:
        answer = self.gateway.ask(f"GET /tokens{query}", Authorization=authorization)
        return [each["id"] for each in answer.json()["tokens"]]


class MakeTests(TokenCase):
    """C{POST /tokens}."""

    def test_created(self) -> None:
        """A new API token is shown once, with C{Location}, and the answer must not be cached."""
        answer = self.send("POST /tokens", {"name": "ci", "ttl": "1h", "email": "a@b.org"})
        made = answer.json()
        self.assertRegex(made["token"], rf"\A{PATTERN}\Z")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.headers["location"], f"/tokens/{made['id']}")
        shown = self.gateway.ask(f"GET /tokens/{made['id']}", Authorization=ALICE)
        self.assertNotIn(made["token"].encode(), shown.body)
        expected = {"name": "ci", "email": "a@b.org", "created": NOW, "expires": NOW + 3600}
        self.assertEqual({key: shown.json()[key] for key in expected}, expected)

    def test_used(self) -> None:
        """An API token authenticates its owner, with the owner's roles, in the owner's realm."""
        token = self.new()["token"]
        identity = self.whoami(token).json()
        self.assertEqual((identity["username"], identity["realm"]), ("alice", "internal"))
        self.assertEqual(identity["roles"], ["reader", "writer"])
        self.assertEqual(self.whoami(token, "Internal").status, 200)
        self.assertEqual(self.whoami(token, "elsewhere").status, 401)

    def test_jwt_exp(self) -> None:
        """A JWT for an API token expires after C{jwt_exp}, and no later than the API token."""
        for ttl, life in ((7200, 300), (60, 60)):
            token = self.new(ttl=ttl)["token"]
            answer = self.gateway.ask("GET /authenticate", Authorization=f"Bearer {token}")
            minted = answer.headers["authorization"].split()[1]
            claims = jwt.decode(minted, options={"verify_signature": False})
            self.assertEqual(claims["exp"], NOW + life)

    def test_augmented_at_use(self) -> None:
        """Augmenters run when an API token is used; their roles are not stored with it."""
        giver = {"type": "plain", "name": "g", "realm": "internal", "roles": {"given": ["alice"]}}
        self.gateway = self.make(augmenters=[giver])
        roles = self.whoami(self.new()["token"]).json()["roles"]
        self.assertEqual(roles, ["reader", "writer", "given"])
        roles = self.whoami(self.new(roles=["given"])["token"]).json()["roles"]
        self.assertEqual(roles, ["given"])

    def test_broader_than_the_token_in_use_T52(self) -> None:
        """An API token cannot create a broader one; what is left out is inherited."""
        self.gateway = self.make(server=PROXIED)
        parent = self.new(roles=["reader"], hosts=["*.a.org"], networks=["10.0.0.0/8"], ttl=600)

        def ask(**wish: Any) -> Answer:
            return self.send("POST /tokens", wish, f"Bearer {parent['token']}", **SAID)

        for wish in (
            {"roles": ["writer"]},
            {"roles": ["reader", "writer"]},
            {"scopes": {"data": ["get"]}},
            {"hosts": ["b.org"]},
            {"hosts": ["*"]},
            {"networks": ["0.0.0.0/0"]},
            {"networks": ["10.0.0.0/7"]},
            {"ttl": 601},
        ):
            with self.subTest(str(wish)):
                self.assertEqual(ask(**wish).status, 403)
        child = ask().json()
        kept = ("roles", "hosts", "networks", "expires")
        self.assertEqual([child[key] for key in kept], [parent[key] for key in kept])
        narrower = ask(hosts=["x.a.org"], networks=["10.1.0.0/16"], ttl=60).json()
        self.assertEqual(narrower["hosts"], ["x.a.org"])

    def test_role_of_others_T52(self) -> None:
        """A role that the requester does not have is refused."""
        answer = self.send("POST /tokens", {"roles": ["reader", "writer", "admin"]})
        self.assertEqual(answer.status, 403)
        self.assertEqual(
            answer.json()["problems"],
            ["roles[2]: alice does not have the role 'admin' (has: reader, writer)"],
        )

    def test_too_long(self) -> None:
        """The lifetime has a maximum, and a default."""
        self.gateway = self.make(tokens={"ttl": 60, "max_ttl": 120})
        self.assertEqual(self.send("POST /tokens", {"ttl": 121}).status, 403)
        self.assertEqual(self.new()["expires"], NOW + 60)

    def test_strict_body_T94(self) -> None:
        """A body that two parsers could read differently is a 400."""
        bodies = [
            b'{"name": "x"}'.decode().encode(each) for each in ("utf-8-sig", "utf-16", "utf-32")
        ]
        bodies += [b'{"name": "a", "name": "b"}', rb'{"\udc00": 1}', rb'{"name": "\uDBFF\uDBFF"}']
        bodies += [b'{"ttl": NaN}', b'{"ttl": 1e999}', b'{"ttl": %b}' % (b"1" * 4000), b"{} {}"]
        bodies += [b'{"scopes":' * 65 + b"1" + b"}" * 65]
        for line in ("POST /tokens", "PATCH /tokens/x", "POST /tokens/revoke"):
            for body in bodies:
                with self.subTest(f"{line} {body[:20]!r}"):
                    self.assertEqual(self.send(line, body).status, 400)

    def test_malformed_T54(self) -> None:
        """A malformed body is a 400 that names the place of each mistake."""
        contents: tuple[Any, ...] = (
            b"", b"{", b"[]", b'"x"', b"null", b"\xff", b'{"name": "\\ud800"}', b"[" * 60000,
            b'{"name": "a", "name": "b"}', b'{"ttl": NaN}', b'{"ttl": 1e400}',
            {"name": {"$ne": None}}, {"name": ["x"]}, {"name": 1}, {"name": None, "$where": "1"},
            {"roles": "reader"}, {"roles": [1]}, {"roles": [""]}, {"roles": ["a\u0000"]},
            {"scopes": []}, {"scopes": {"a": "b"}}, {"ttl": 0}, {"ttl": -1}, {"ttl": True},
            {"ttl": "soon"}, {"ttl": 1.5}, {"hosts": ["*.*.x"]}, {"hosts": ["a:0"]},
            {"networks": ["10.0.0.1/8"]}, {"email": "nobody"}, {"name": "x" * 257},
            {"name": "a\nb"}, {"hosts": ["a.org"] * 101}, {"realm": "other"}, {"username": "bob"},
        )  # fmt: skip
        for content in contents:
            with self.subTest(str(content)[:60]):
                answer = self.send("POST /tokens", content)
                self.assertEqual(answer.status, 400, answer.body)
                self.assertTrue(answer.json()["problems"])
        self.assertEqual(self.listed(), [])

    def test_large_T54(self) -> None:
        """A body of more than 64 KiB is refused before it is read."""
        self.assertEqual(self.send("POST /tokens", {"name": "x" * 100_000}).status, 413)

    def test_endless_T54(self) -> None:
        """Huge numbers are refused as durations and limits."""
        self.assertEqual(self.send("POST /tokens", {"ttl": 10**400}).status, 400)
        made = self.new()
        answer = self.send(f"PATCH /tokens/{made['id']}", {"ttl": 10**400})
        self.assertEqual(answer.status, 400)
        for limit in ("000019999999999", "00001" + "9" * 5000):
            answer = self.send(f"GET /tokens?limit={limit}", {})
            self.assertEqual(answer.status, 400)

    def test_not_a_form_T53(self) -> None:
        """A body that a form on a page of another site can send is a 415."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = self.send("POST /tokens", {}, Content_Type=kind)
            self.assertEqual(answer.status, 415)
        answer = self.send("POST /tokens", {}, Content_Type="Application/JSON; charset=utf-8")
        self.assertEqual(answer.status, 201)

    def test_shown_as_sent_T57(self) -> None:
        """Names are returned as sent, as JSON strings, whatever they contain."""
        name = '<script>alert(1)</script>"; =cmd()'
        made = self.new(name=name)
        answer = self.gateway.ask(f"GET /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(answer.json()["name"], name)
        self.assertEqual(answer.headers["content-type"], "application/json")

    def test_not_authenticated(self) -> None:
        """A client that is not authenticated gets a 401."""
        self.assertEqual(self.send("POST /tokens", {}, "").status, 401)
        self.assertEqual(self.send("POST /tokens", {}, basic("alice", "guess")).status, 401)


EMPTY: dict[str, list[str]] = {f"service-{number}": [] for number in range(3000)}
"""Scopes of 50 kB that allow nothing."""


SIGNED_WITH = "a secret that an identity provider and the gateway share"


class BoundsTests(TokenCase):
    """Limits of requests about API tokens, and of their size in the store."""

    def kept(self) -> list[int]:
        """Return the bytes that are stored of each API token."""
        stored = Deferred.fromCoroutine(self.tokens.store.list_tokens(TokenQuery(most=1000)))
        self.gateway.clock.pump([0] * 1000)
        return [token.size for token in self.successResultOf(stored)]

    def test_refuse_many_scopes_T84a(self) -> None:
        """A request cannot name more than 100 services, or 256 scopes together."""
        for scopes in (EMPTY, {str(number): ["a", "b"] * 2 for number in range(100)}):
            answer = self.send("POST /tokens", {"scopes": scopes})
            self.assertEqual(answer.status, 400)
            self.assertLess(len(answer.body), 200)
        self.assertEqual(self.kept(), [])

    def test_refuse_large_token_T84a(self) -> None:
        """A client cannot create an API token of more than 4096 bytes, whichever key is large."""
        wishes: tuple[dict[str, Any], ...] = (
            {"roles": ["reader" + "x" * 250] * 100},
            {"hosts": ["a" * 60 + f".{number}.org" for number in range(100)]},
            {"networks": [f"2001:db8:1234:5678:{number}::/80" for number in range(100, 200)] * 2},
            {"scopes": {"x" * 250 + str(number): [] for number in range(100)}},
            {"name": "x" * 200, "comment": "x" * 200, "hosts": ["a" * 37 + ".org"] * 98},
        )
        for wish in wishes:
            with self.subTest(str(wish)[:40]):
                self.assertEqual(self.send("POST /tokens", wish).status, 400)
        self.assertEqual(self.kept(), [])

    def test_keep_little_of_owner_T84a(self) -> None:
        """Of an owner with thousands of roles at most 4096 bytes are stored with a token."""
        roles = [f"role-{number}" for number in range(3500)]
        alice = {"username": "alice", "password": "wonder", "roles": roles}
        self.gateway = self.make(providers=[{**STAFF, "users": [alice]}])
        whole, narrow = self.new()["token"], self.new(roles=["role-7"])["token"]
        simple = self.gateway.ask("GET /token", Authorization=ALICE).json()["token"]
        self.assertLessEqual(max(self.kept()), 4096)
        self.assertEqual(self.whoami(narrow).json()["roles"], ["role-7"])
        for token in (whole, simple):
            self.assertEqual(self.whoami(token).json()["roles"], roles)

    def test_many_groups_T84a(self) -> None:
        """A user with hundreds of roles and groups can create API tokens with some roles."""
        roles = [f"role-number-{number:04}-of-some" for number in range(150)]
        claims = {"sub": "dora", "exp": NOW + 60, "roles": roles, "groups": roles, "unit": "a"}
        dora = f"Bearer {jwt.encode(claims, SIGNED_WITH, 'HS256')}"
        sso = {"type": "jwt", "name": "sso", "realm": "internal", "secret": SIGNED_WITH}
        self.gateway = self.make(providers=[{**sso, "roles_claims": ["roles"]}])
        answer = self.send("POST /tokens", {}, dora)
        self.assertEqual((answer.status, b"name fewer roles" in answer.body), (403, True))
        for wanted in (roles[:30], roles[-1:], []):
            made = self.new(dora, roles=wanted)
            self.assertEqual(self.whoami(made["token"]).json()["roles"], wanted)
            attributes = self.whoami(made["token"]).json()["attributes"]
            self.assertEqual(attributes.get("unit"), "a")
            self.assertEqual(attributes.keys() & {"groups"}, set())
        self.assertLessEqual(max(self.kept()), 4096)

    def test_rename_little_T84a(self) -> None:
        """A new name or comment cannot make an API token larger than 4096 bytes."""
        made = self.new(hosts=["a" * 30 + f".{number}.org" for number in range(70)])
        line = f"PATCH /tokens/{made['id']}"
        self.assertEqual(self.send(line, {"name": "\u2603" * 256}).status, 200)
        answer = self.send(line, {"comment": "\u2603" * 256})
        self.assertEqual(answer.status, 403)
        self.assertLessEqual(max(self.kept()), 4096)
        self.assertEqual(self.send(line, {"name": "", "comment": "\u2603" * 256}).status, 200)

    def test_cut_pages_T84a(self) -> None:
        """A page has at most 100 API tokens, even if the client asks for up to 1000."""
        made = [self.keep().id for _ in range(120)]
        for query in ("", "?limit=100", "?limit=1000"):
            answer = self.gateway.ask(f"GET /tokens{query}", Authorization=ALICE).json()
            self.assertEqual([each["id"] for each in answer["tokens"]], sorted(made)[:100])
            self.assertEqual(self.listed(query=f"?after={answer['next']}"), sorted(made)[100:])

    def keep(self, **scopes: tuple[str, ...]) -> Token:
        """Store an API token of alice as an earlier version did, with so many scopes."""
        owner = Identity("internal", "alice")
        only, presented = Grant(scopes=scopes or None), generate(NOW)
        token = Token(presented.id, f"hash of {presented.id}", owner, NOW, only, provider="staff")
        self.successResultOf(Deferred.fromCoroutine(self.tokens.store.add(token)))
        return token

    def test_list_in_pieces_T84b(self) -> None:
        """Stored API tokens of 50 kB are listed, one or two in each reactor turn."""
        made = sorted(self.keep(**dict.fromkeys(EMPTY, ())).id for _ in range(20))
        turns: list[float] = []

        def turn(clock: Clock, delay: float, work: Callable[[], None]) -> Deferred[None]:
            turns.append(delay)
            return deferLater(clock, delay, work)

        self.patch(pieces, "deferLater", turn)
        first = self.gateway.ask("GET /tokens", Authorization=ALICE)
        self.assertEqual([each["id"] for each in first.json()["tokens"]], made[:16])
        self.assertGreaterEqual(len(turns), 16)
        self.assertLess(len(first.body), 2**20)
        self.assertEqual(self.listed(query=f"?after={first.json()['next']}"), made[16:])

    def test_show_large_token_T84a(self) -> None:
        """A large stored API token can be shown, used, changed and revoked."""
        kept = self.keep(**dict.fromkeys(EMPTY, ()))
        answer = self.gateway.ask(f"GET /tokens/{kept.id}", Authorization=ALICE)
        self.assertEqual(len(answer.json()["scopes"]), len(EMPTY))
        self.assertEqual(self.send(f"PATCH /tokens/{kept.id}", {"name": "n"}).status, 200)
        answer = self.gateway.ask(f"DELETE /tokens/{kept.id}", Authorization=ALICE)
        self.assertEqual(answer.status, 204)

    def test_search_no_suggestions_T84c(self) -> None:
        """No similar key is searched for an unknown key of a body; ten at most are listed."""
        self.patch(difflib, "get_close_matches", self.fail)
        made = self.new()
        content = {f"name{number}": 0 for number in range(4000)}
        for line, authorization in (
            ("POST /tokens", ALICE),
            (f"PATCH /tokens/{made['id']}", ALICE),
            ("POST /tokens/revoke", ""),
        ):
            answer = self.send(line, content, authorization)
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.json()["problems"][1], "name1: unknown key")
            self.assertEqual(len(answer.json()["problems"]), 10)

    def test_validate_no_excess_T84c(self) -> None:
        """A list with too many entries is refused without validating its entries."""
        looked_at: list[object] = []
        self.patch(token_bodies, "check_host_pattern", looked_at.append)
        for name in ("roles", "hosts", "networks", "scopes"):
            for many in ([1] * 20_000, {str(number): 1 for number in range(5000)}):
                answer = self.send("POST /tokens", {name: many})
                self.assertEqual(answer.json()["problems"], [f"{name}: has more than 100 entries"])
        self.assertEqual(looked_at, [])

    def test_name_ten_problems_T84c(self) -> None:
        """An answer lists at most ten problems, and shortens what it repeats of the request."""
        for content in (
            {"roles": [1] * 100},
            {"scopes": {"x" * 500 + str(number): [1] for number in range(100)}},
            {"hosts": ["*.*"] * 100, "networks": ["x"] * 100},
            {"x" * 60_000: 1},
        ):
            answer = self.send("POST /tokens", content)
            self.assertEqual(answer.status, 400)
            self.assertLessEqual(len(answer.json()["problems"]), 10)
            self.assertLess(len(answer.body), 4000)
        answer = self.send("POST /tokens", {"roles": [f"role{number}" for number in range(100)]})
        self.assertEqual((answer.status, len(answer.json()["problems"])), (403, 10))


class SimpleTests(TokenCase):
    """The routes of auth-o-tron: C{/token}."""

    def test_create_by_get_and_delete(self) -> None:
        """C{GET /token} creates an API token, and C{DELETE} revokes it by itself or by its id."""
        for part in (slice(None), slice(4, 16), slice(16)):
            token = self.gateway.ask("GET /token", Authorization=ALICE).json()["token"]
            self.assertEqual(self.whoami(token).status, 200)
            answer = self.gateway.ask(f"DELETE /token/{token[part]}", Authorization=ALICE)
            self.assertEqual((answer.status, answer.body), (204, b""))
            self.assertNotIn("content-length", answer.headers)
            self.assertEqual(self.whoami(token).status, 401)

    def test_head_T53(self) -> None:
        """C{HEAD /token} creates no API token."""
        answer = self.gateway.ask("HEAD /token", Authorization=ALICE)
        self.assertEqual((answer.status, self.listed()), (405, []))

    def test_cross_site_or_prefetch_T86d(self) -> None:
        """C{GET /token} for a page of another site, or as a prefetch, is a 403."""
        for name, values in {
            "Sec_Fetch_Site": ("cross-site", "same-site", "Cross-Site", "cross-site, none", ""),
            "Purpose": ("prefetch", "preview", "Prefetch"),
            "Sec_Purpose": ("prefetch", "prefetch;prerender", "prerender", "prefetch;anonymous"),
            "X_Purpose": ("preview", "prefetch"),
            "X_Moz": ("prefetch",),
        }.items():
            for value in values:
                with self.subTest(f"{name}: {value}"):
                    given = {"Authorization": ALICE, name: value}
                    self.assertEqual(self.gateway.ask("GET /token", None, **given).status, 403)
                    self.assertEqual(self.gateway.ask("HEAD /token", None, **given).status, 405)
        lines = "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site"
        text = f"GET /token HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE}\r\n{lines}\r\n\r\n"
        self.assertEqual([each.status for each in self.gateway.say(text.encode())], [403])
        self.assertEqual(self.listed(), [])

    def test_same_site_or_program_T86d(self) -> None:
        """C{GET /token} works for a program, the address bar and a page of the gateway."""
        for given in ({}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin"}):
            answer = self.gateway.ask("GET /token", None, Authorization=ALICE, **given)
            self.assertEqual(answer.status, 200)

    def test_switched_off_T53(self) -> None:
        """C{store.compat: false} disables C{GET /token}, but not C{POST /tokens}."""
        self.gateway = self.make(store={"type": "memory", "compat": False})
        self.assertEqual(self.gateway.ask("GET /token", Authorization=ALICE).status, 405)
        self.new()

    def test_unknown(self) -> None:
        """Deleting an API token that never existed is a 404."""
        for text in ("never", "aot_", "0" * 12):
            answer = self.gateway.ask(f"DELETE /token/{text}", Authorization=ALICE)
            self.assertEqual(answer.status, 404)


class OwnTests(TokenCase):
    """The API tokens of the requester, and those of other owners."""

    def test_others_T51(self) -> None:
        """An API token of another owner is a 404, like one that does not exist."""
        made = self.new()
        for path in (f"/tokens/{made['id']}", f"/token/{made['token']}", f"/token/{made['id']}"):
            with self.subTest(path):
                answer = self.gateway.ask(f"DELETE {path}", Authorization=BOB)
                self.assertEqual(answer.status, 404)
        path = f"/tokens/{made['id']}"
        self.assertEqual(self.gateway.ask(f"GET {path}", Authorization=BOB).status, 404)
        self.assertEqual(self.send(f"PATCH {path}", {"name": "x"}, BOB).status, 404)
        self.assertEqual(self.listed(BOB), [])
        self.assertEqual(self.listed(BOB, "?realm=internal&username=alice&all=1"), [])
        self.assertEqual(self.whoami(made["token"]).status, 200)

    def test_ids_only_T51(self) -> None:
        """A list has ids, which cannot be used as credentials."""
        made = self.new()
        answer = self.gateway.ask("GET /tokens", Authorization=ALICE)
        self.assertNotIn(made["token"].encode(), answer.body)
        [listed] = answer.json()["tokens"]
        for text in (listed["id"], listed["token_string"]):
            self.assertEqual(self.whoami(text).status, 401)

    def test_pages(self) -> None:
        """A long list is returned in pages, oldest first."""
        made = []
        for _ in range(5):
            made.append(self.new()["id"])
            self.gateway.clock.advance(1)
        answer = self.gateway.ask("GET /tokens?limit=2", Authorization=ALICE).json()
        self.assertEqual([each["id"] for each in answer["tokens"]], made[:2])
        self.assertEqual(self.listed(query=f"?limit=9&after={answer['next']}"), made[2:])
        for query in ("?limit=0", "?limit=x", "?limit=1001", "?limit=1&limit=2", "?x=1", "?limit="):
            answer = self.gateway.ask(f"GET /tokens{query}", Authorization=ALICE)
            self.assertEqual(answer.status, 400)

    def test_changed(self) -> None:
        """Name and comment can be changed, and the lifetime can be shortened only."""
        made = self.new(ttl=600)
        path = f"PATCH /tokens/{made['id']}"
        changed = self.send(path, {"name": "n", "comment": "c", "ttl": 60}).json()
        shown = [changed[key] for key in ("name", "comment", "expires")]
        self.assertEqual(shown, ["n", "c", NOW + 60])
        self.assertEqual(self.send(path, {"ttl": 61}).status, 403)
        self.assertEqual(self.send(path, {"roles": []}).status, 400)
        self.gateway.clock.advance(60)
        self.assertEqual(self.whoami(made["token"]).status, 401)

    def test_administrator(self) -> None:
        """An administrator lists, shows and revokes API tokens of all owners."""
        mine, bobs = self.new()["id"], self.new(BOB)["id"]
        self.assertEqual(self.listed(ROOT), [])
        self.assertEqual(sorted(self.listed(ROOT, "?all=true")), sorted([mine, bobs]))
        self.assertEqual(self.listed(ROOT, "?realm=internal&username=bob"), [bobs])
        answer = self.gateway.ask(f"DELETE /tokens/{bobs}", Authorization=ROOT)
        self.assertEqual(answer.status, 204)

    def test_one_spelling_T82(self) -> None:
        """Owners and roles are compared after normalization."""
        zoe = {"username": "zoe\u0308", "password": "p", "roles": ["le\u0301ger"]}
        users = [*USERS, zoe]
        self.gateway = self.make(providers=[{**STAFF, "users": users}])
        made = [self.new(basic(name, "p"))["id"] for name in ("zoe\u0308", "zo\xeb")]
        for spelled in ("zo%C3%AB", "zoe%CC%88"):
            query = f"?realm=internal&username={spelled}"
            self.assertEqual(sorted(self.listed(ROOT, query)), sorted(made))
        token = self.new(basic("zo\xeb", "p"), roles=["le\u0301ger"])["token"]
        self.assertEqual(self.whoami(token).json()["roles"], ["l\xe9ger"])

    def test_admin_role_of_another_realm(self) -> None:
        """A role of the same name in another realm does not make an administrator."""
        other = {"username": "far", "password": "away", "roles": ["keeper"]}
        elsewhere = {"type": "plain", "name": "e", "realm": "elsewhere", "users": [other]}
        self.gateway = self.make(providers=[STAFF, elsewhere])
        made = self.new()
        far = basic("far", "away")
        self.assertEqual(self.listed(far, "?all=true"), [])
        answer = self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=far)
        self.assertEqual(answer.status, 404)

    def test_restricted_administrator_T52(self) -> None:
        """An API token of an administrator without the role is not one of an administrator."""
        self.new()
        token = self.new(ROOT, roles=[])["token"]
        self.assertEqual(len(self.listed(f"Bearer {token}", "?all=true")), 1)


class RevokeTests(TokenCase):
    """Revoking API tokens."""

    def test_at_once_T42(self) -> None:
        """A revoked API token is refused at once, although its decision was cached."""
        made = self.new()
        self.assertEqual(self.whoami(made["token"]).status, 200)
        answer = self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(answer.status, 204)
        self.assertEqual(self.whoami(made["token"]).status, 401)

    def test_elsewhere_T42(self) -> None:
        """An API token that another process revoked is accepted for five seconds at most."""
        made = self.new()
        self.assertEqual(self.whoami(made["token"]).status, 200)
        self.successResultOf(
            Deferred.fromCoroutine(self.tokens.store.backend.remove(made["id"], NOW))
        )
        self.gateway.clock.advance(5)
        self.assertEqual(self.whoami(made["token"]).status, 401)

    def test_other_workers_T42(self) -> None:
        """A revocation is acknowledged after all workers have invalidated their caches."""
        made = self.new()
        forgotten: Deferred[None] = Deferred()

        async def invalidate_others(_tokens: object) -> None:
            await forgotten

        self.patch(self.gateway.serving.peers, "invalidate_others", invalidate_others)
        channel, wire = self.gateway.connect(self.gateway.public)
        line = f"DELETE /tokens/{made['id']} HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE}\r\n\r\n"
        channel.dataReceived(line.encode())
        self.assertEqual(wire.value(), b"")
        forgotten.callback(None)
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 204 "))

    def test_other_workers_do_not_confirm_T42(self) -> None:
        """If a worker does not confirm that it invalidated its cache, the answer is a 503."""

        async def invalidate_others(_tokens: object) -> None:
            raise Unavailable("a worker has not confirmed")

        made = self.new()
        self.patch(self.gateway.serving.peers, "invalidate_others", invalidate_others)
        answer = self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(answer.status, 503)
        self.assertEqual(self.whoami(made["token"]).status, 401)

    def test_reload_meanwhile_T42(self) -> None:
        """A configuration that is loaded during a revocation does not cache the API token."""
        made = self.new()
        gone: Deferred[None] = Deferred()
        remove = memory.MemoryStore.remove

        async def slow(store: memory.MemoryStore, id_: str, now: float) -> Sequence[str]:
            await gone
            return await remove(store, id_, now)

        self.patch(memory.MemoryStore, "remove", slow)
        channel, wire = self.gateway.connect(self.gateway.public)
        line = f"DELETE /tokens/{made['id']} HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE}\r\n\r\n"
        channel.dataReceived(line.encode())
        self.gateway.reload()
        self.assertEqual(self.whoami(made["token"]).status, 200)
        gone.callback(None)
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 204 "))
        self.assertEqual(self.whoami(made["token"]).status, 401)

    def test_leaked(self) -> None:
        """Knowing an API token is enough to revoke it; the answer hides whether it was valid."""
        made = self.new()
        for _ in range(2):
            answer = self.send("POST /tokens/revoke", {"token": made["token"]}, "")
            self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(self.whoami(made["token"]).status, 401)
        for text in ("never", f"aot_{made['id']}", ""):
            self.assertEqual(self.send("POST /tokens/revoke", {"token": text}, "").status, 204)

    def test_invalid_token_invalidates_nothing_T43(self) -> None:
        """Revoking a token that is not valid does not invalidate any decision."""
        self.gateway.ask("GET /whoami", Authorization=ALICE)
        remembered = self.gateway.serving.gateway.decisions.remembered
        self.assertEqual(remembered(), 1)
        self.send("POST /tokens/revoke", {"token": "aot_x"}, "")
        self.assertEqual(remembered(), 1)
        self.assertEqual(self.send("DELETE /tokens/000000000000", {}).status, 404)
        self.assertEqual(remembered(), 1)

    def test_only_this_token_is_invalidated_T83d(self) -> None:
        """A shorter life or a revocation invalidates decisions of this API token; a name none."""
        made, other = self.new(), self.new(BOB)
        decisions = self.gateway.serving.gateway.decisions
        path = f"/tokens/{made['id']}"
        for each in (made, other):
            self.assertEqual(self.whoami(each["token"]).status, 200)
        kept = decisions.remembered()
        self.assertEqual(self.send(f"PATCH {path}", {"name": "n", "comment": "c"}).status, 200)
        self.assertEqual(decisions.remembered(), kept)
        self.assertEqual(self.send(f"PATCH {path}", {"ttl": "1h"}).status, 200)
        self.assertEqual(decisions.remembered(), kept - 1)
        self.assertEqual(self.whoami(made["token"]).status, 200)
        self.assertEqual(self.send(f"DELETE {path}", {}).status, 204)
        self.assertEqual(decisions.remembered(), kept - 1)
        self.assertEqual(self.whoami(made["token"]).status, 401)
        self.assertEqual(self.whoami(other["token"]).status, 200)

    def test_elsewhere_by_id_T83d(self) -> None:
        """The other workers receive the id of the changed API token."""
        invalidated: list[object] = []

        async def invalidate_others(tokens: object) -> None:
            invalidated.append(tokens)

        self.patch(self.gateway.serving.peers, "invalidate_others", invalidate_others)
        made, surrendered = self.new(), self.new()
        self.send(f"PATCH /tokens/{made['id']}", {"name": "n"})
        self.send(f"PATCH /tokens/{made['id']}", {"ttl": "1h"})
        self.send(f"DELETE /tokens/aot_{made['id']}", {})
        self.send("POST /tokens/revoke", {"token": surrendered["token"]}, "")
        self.assertEqual(invalidated, [[made["id"]], [made["id"]], [surrendered["id"]]])

    def test_leak_of_an_id_T51(self) -> None:
        """An id, or a token with a wrong secret, is not enough to revoke a leaked API token."""
        made, other = self.new(), self.new(BOB)
        for text in (made["id"], f"aot_{made['id']}", f"aot_{made['id']}{other['token'][16:]}"):
            self.send("POST /tokens/revoke", {"token": text}, "")
        self.assertEqual(self.whoami(made["token"]).status, 200)

    def test_expired_T55(self) -> None:
        """An expired API token is refused, even before it is deleted from the store."""
        made = self.new(ttl=60)
        self.gateway.clock.advance(59)
        self.assertEqual(self.whoami(made["token"]).status, 200)
        self.gateway.clock.advance(1)
        self.assertEqual(self.whoami(made["token"]).status, 401)
        self.assertEqual(self.listed(), [made["id"]])

    def test_after_a_miss_T43(self) -> None:
        """A new API token is accepted at once, whatever was refused before."""
        for text in ("aot_nonsense", "nonsense"):
            self.assertEqual(self.whoami(text).status, 401)
        self.assertEqual(self.whoami(self.new()["token"]).status, 200)


class LineageTests(TokenCase):
    """API tokens that were created with API tokens."""

    def family(self, **wish: Any) -> list[dict[str, Any]]:
        """Return an API token, one created with it, and one created with that one."""
        made = [self.new(**wish)]
        for _ in range(2):
            made.append(self.new(f"Bearer {made[-1]['token']}"))
        return made

    def statuses(self, made: Sequence[dict[str, Any]]) -> list[int]:
        return [self.whoami(each["token"]).status for each in made]

    def test_revoke_tree_T86a(self) -> None:
        """Every way to revoke an API token revokes all its descendants at once."""
        for line in ("DELETE /tokens/{id}", "DELETE /token/{token}", "DELETE /token/{id}", ""):
            with self.subTest(line):
                made, other = self.family(), self.new()
                bearer = f"Bearer {made[2]['token']}"
                made.append(self.gateway.ask("GET /token", Authorization=bearer).json())
                self.assertEqual(self.statuses([*made, other]), [200] * 5)
                if line:
                    answer = self.gateway.ask(line.format(**made[0]), Authorization=ALICE)
                else:
                    answer = self.send("POST /tokens/revoke", {"token": made[0]["token"]}, "")
                self.assertEqual(answer.status, 204)
                self.assertEqual(self.statuses([*made, other]), [401] * 4 + [200])
        self.assertEqual(len(self.listed()), 4)

    def test_revoke_branch_T86a(self) -> None:
        """Revoking a child does not revoke its parent, but a child may revoke its parent."""
        made = self.family()
        bearer = f"Bearer {made[2]['token']}"
        self.gateway.ask(f"DELETE /tokens/{made[2]['id']}", Authorization=bearer)
        self.assertEqual(self.statuses(made), [200, 200, 401])
        bearer = f"Bearer {made[1]['token']}"
        self.gateway.ask(f"DELETE /tokens/{made[0]['id']}", Authorization=bearer)
        self.assertEqual(self.statuses(made), [401] * 3)

    def test_revoke_elsewhere_T86a(self) -> None:
        """If the parent is gone from the store, a child is refused within five seconds."""
        made = self.family()
        self.assertEqual(self.statuses(made), [200] * 3)
        backend = self.tokens.store.backend
        assert isinstance(backend, memory.MemoryStore)
        del backend._rows[made[0]["id"]]
        self.gateway.clock.advance(5)
        self.assertEqual(self.statuses(made), [401] * 3)

    def test_show_parent_T86a(self) -> None:
        """An API token shows the id of its parent."""
        made = self.family()
        parents = [None, made[0]["id"], made[1]["id"]]
        self.assertEqual([each["parent"] for each in made], parents)

    def test_shorten_parent_T86a(self) -> None:
        """Shortening the lifetime of an API token shortens that of its descendants."""
        made = self.family(ttl=600)
        self.assertEqual(self.statuses(made), [200] * 3)
        self.send(f"PATCH /tokens/{made[0]['id']}", {"ttl": 60})
        for each in made:
            shown = self.gateway.ask(f"GET /tokens/{each['id']}", Authorization=ALICE).json()
            self.assertEqual(shown["expires"], NOW + 60)
        self.gateway.clock.advance(60)
        self.assertEqual(self.statuses(made), [401] * 3)

    def test_shortened_elsewhere_T86a(self) -> None:
        """An API token and its JWT expire with the parent, even if the store has a later expiry."""
        made = self.family(ttl=600)
        backend = self.tokens.store.backend
        changing = backend.change(made[0]["id"], {"expires": NOW + 60})
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(changing)))
        bearer = f"Bearer {made[2]['token']}"
        answer = self.gateway.ask("GET /authenticate", Authorization=bearer)
        minted = answer.headers["authorization"].split()[1]
        claims = jwt.decode(minted, options={"verify_signature": False})
        self.assertEqual(claims["exp"], NOW + 60)
        self.gateway.clock.advance(60)
        self.assertEqual(self.statuses(made), [401] * 3)

    def test_made_with_revoked_T86a(self) -> None:
        """An API token that was just revoked elsewhere cannot create another one."""
        made = self.new()
        self.gateway.ask("GET /whoami", Authorization=f"Bearer {made['token']}")
        removing = self.tokens.store.backend.remove(made["id"], NOW)
        self.successResultOf(Deferred.fromCoroutine(removing))
        answer = self.send("POST /tokens", {}, f"Bearer {made['token']}")
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.listed(), [])

    def test_limit_generations_T86a(self) -> None:
        """There are at most 16 generations of descendants."""
        made = self.new()
        for _ in range(16):
            made = self.new(f"Bearer {made['token']}")
        self.assertEqual(self.whoami(made["token"]).status, 200)
        self.assertEqual(self.send("POST /tokens", {}, f"Bearer {made['token']}").status, 403)

    def test_stored_before_T86a(self) -> None:
        """An API token of an earlier version has no parent, is valid, and can be a parent."""
        made = self.new()
        backend = self.tokens.store.backend
        assert isinstance(backend, memory.MemoryStore)
        row = dict(backend._rows[made["id"]])
        del row["parent"], row["origin"]
        backend._rows[made["id"]] = row
        self.assertEqual(self.whoami(made["token"]).status, 200)
        child = self.new(f"Bearer {made['token']}")
        self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(self.statuses([made, child]), [401, 401])


class RestrictedTests(TokenCase):
    """API tokens that a restricted API token manages."""

    def restricted(self, authorization: str = ALICE) -> Iterator[dict[str, Any]]:
        """Return API tokens that are restricted in one respect each."""
        self.gateway = self.make(server=PROXIED)
        wishes: tuple[dict[str, Any], ...] = (
            {"roles": []},
            {"scopes": {}},
            {"hosts": ["*.a.org"]},
            {"networks": ["::/0"]},
        )
        for wish in wishes:
            yield self.new(authorization, **wish)
        yield self.new(authorization, roles=["keeper" if authorization == ROOT else "reader"])

    def test_manage_itself_T86b(self) -> None:
        """A restricted API token manages itself and its descendants only."""
        said = {**SAID, "X_Forwarded_For": "::1"}
        for authorization, query in ((ALICE, ""), (ROOT, "?all=1"), (ROOT, "?username=alice")):
            for token in self.restricted(authorization):
                bearer = f"Bearer {token['token']}"
                broad, child = (
                    self.new(authorization),
                    self.send("POST /tokens", {}, bearer, **said),
                )
                mine = sorted([token["id"], child.json()["id"]])
                answer = self.gateway.ask(f"GET /tokens{query}", None, Authorization=bearer, **said)
                self.assertEqual([each["id"] for each in answer.json()["tokens"]], mine)
                path = f"/tokens/{broad['id']}"
                for line in (f"GET {path}", f"DELETE {path}", f"DELETE /token/{broad['token']}"):
                    answer = self.gateway.ask(line, None, Authorization=bearer, **said)
                    self.assertEqual(answer.status, 404, line)
                self.assertEqual(self.send(f"PATCH {path}", {"ttl": 1}, bearer, **said).status, 404)
                path = f"/tokens/{child.json()['id']}"
                self.assertEqual(self.send(f"PATCH {path}", {"ttl": 9}, bearer, **said).status, 200)
                for line in (f"GET {path}", f"DELETE {path}", f"DELETE /tokens/{token['id']}"):
                    answer = self.gateway.ask(line, None, Authorization=bearer, **said)
                    self.assertLess(answer.status, 300, line)

    def test_not_its_parent_T86b(self) -> None:
        """A restricted API token cannot revoke its parent, nor a sibling."""
        parent = self.new()
        bearer = f"Bearer {parent['token']}"
        one, other = self.new(bearer, roles=["reader"]), self.new(bearer)
        for each in (parent, other):
            line = f"DELETE /tokens/{each['id']}"
            answer = self.gateway.ask(line, Authorization=f"Bearer {one['token']}")
            self.assertEqual(answer.status, 404)

    def test_broad_T86b(self) -> None:
        """An unrestricted API token manages all API tokens of its owner, as a password does."""
        broad, other = self.new(), self.new(roles=[])
        bearer = f"Bearer {broad['token']}"
        self.assertEqual(self.listed(bearer), sorted([broad["id"], other["id"]]))
        answer = self.gateway.ask(f"DELETE /tokens/{other['id']}", Authorization=bearer)
        self.assertEqual(answer.status, 204)


class LimitTests(TokenCase):
    """The limit of API tokens of one owner."""

    def test_limit_per_owner_T86c(self) -> None:
        """An owner who has C{max_per_owner} valid API tokens gets a 403 on both routes."""
        self.gateway = self.make(tokens={"max_per_owner": 3})
        made = [self.new(), self.new(ttl=60)]
        made.append(self.new(f"Bearer {made[0]['token']}"))
        for authorization in (ALICE, f"Bearer {made[0]['token']}"):
            answers = [
                self.send("POST /tokens", {}, authorization),
                self.gateway.ask("GET /token", Authorization=authorization),
            ]
            for answer in answers:
                self.assertEqual(answer.status, 403)
                self.assertIn("max_per_owner", answer.json()["problems"][0])
        self.new(BOB)
        self.gateway.clock.advance(60)
        self.new()
        self.assertEqual(self.send("POST /tokens", {}).status, 403)
        self.gateway.ask(f"DELETE /tokens/{made[0]['id']}", Authorization=ALICE)
        self.new()

    def test_default_limit_T86c(self) -> None:
        """By default an owner may have 100 API tokens."""
        self.assertEqual(self.tokens.config.max_per_owner, 100)

    def test_above_limit_T86c(self) -> None:
        """Stored API tokens stay valid if their owner has too many."""
        made = [self.new() for _ in range(3)]
        backend = self.tokens.store.backend
        self.gateway = self.make(tokens={"max_per_owner": 2})
        self.tokens.store.backend = backend
        self.assertEqual([self.whoami(each["token"]).status for each in made], [200] * 3)
        self.assertEqual(self.send("POST /tokens", {}).status, 403)
        self.assertEqual(len(self.listed()), 3)


class ConditionTests(TokenCase):
    """API tokens that are restricted to hosts or networks."""

    def status(self, token: str, *headers: str) -> int:
        lines = ["GET /authenticate HTTP/1.1", "Host: gate", f"Authorization: Bearer {token}"]
        [answer] = self.gateway.say("\r\n".join([*lines, *headers, "", ""]).encode())
        return answer.status

    def test_host(self) -> None:
        """The requested host is checked for each request, even if the decision is cached."""
        self.gateway = self.make(server=PROXIED)
        token = self.new(hosts=["*.example.org"])["token"]
        for _ in range(2):
            self.assertEqual(self.status(token, "X-Forwarded-Host: a.example.org"), 200)
            self.assertEqual(self.status(token, "X-Forwarded-Host: a.example.com"), 403)
            self.assertEqual(self.status(token), 400)

    def test_host_T04(self) -> None:
        """The C{Host} of the subrequest is not used as the requested host."""
        self.gateway = self.make(server=PROXIED)
        self.assertEqual(self.status(self.new(hosts=["gate"])["token"]), 400)

    def test_twice_T07(self) -> None:
        """A duplicate header is ignored, and a name with underscores is another header."""
        self.gateway = self.make(server=PROXIED)
        token = self.new(hosts=["a.org"])["token"]
        good = "X-Forwarded-Host: a.org"
        self.assertEqual(self.status(token, good, "X-Forwarded-Host: b.org"), 400)
        self.assertEqual(self.status(token, "X_Forwarded_Host: a.org"), 400)
        self.assertEqual(self.status(token, good, "X_Forwarded_Host: b.org"), 200)

    def test_untrusted_T05(self) -> None:
        """A peer that is not a trusted proxy cannot name the requested host."""
        token = self.new(hosts=["a.org"])["token"]
        self.assertEqual(self.status(token, "X-Forwarded-Host: a.org"), 400)

    def test_other_header_T03(self) -> None:
        """Only the configured header names the requested host."""
        header = {"forwarded": {"host": "X-Original-Host"}}
        self.gateway = self.make(server={**PROXIED, **header})
        token = self.new(hosts=["a.org"])["token"]
        self.assertEqual(self.status(token, "X-Original-Host: a.org"), 200)
        self.assertEqual(self.status(token, "X-Forwarded-Host: a.org"), 400)

    def test_network(self) -> None:
        """Without trusted proxies the address of the peer is the address of the client."""
        near, far = self.new(networks=["192.0.2.7"]), self.new(networks=["10.0.0.0/8"])
        self.assertEqual(self.status(near["token"], "X-Forwarded-For: 10.0.0.1"), 200)
        self.assertEqual(self.status(far["token"], "X-Forwarded-For: 10.0.0.1"), 403)

    def test_network_behind_a_proxy(self) -> None:
        """Behind a trusted proxy the header names the address of the client."""
        self.gateway = self.make(server=PROXIED)
        token = self.new(networks=["10.0.0.0/8"])["token"]
        self.assertEqual(self.status(token, "X-Forwarded-For: 8.8.8.8, 10.0.0.1"), 200)
        self.assertEqual(self.status(token, "X-Forwarded-For: 10.0.0.1, 8.8.8.8"), 403)

    def test_trust_all_addresses_T09(self) -> None:
        """Trusting all addresses needs C{server.insecure}."""
        for network in ("0.0.0.0/0", "::/0"):
            server = {"trusted_proxies": [network]}
            self.assertRaises(ConfigError, self.make, server=server)
            self.make(server={**server, "insecure": True})

    def test_nearly_all_T91g(self) -> None:
        """Networks that together contain nearly all addresses are refused, in every notation."""
        for networks in (
            ["0.0.0.0/1", "128.0.0.0/1"],
            ["128.0.0.0/1", "10.0.0.0/8", "0.0.0.0/2", "64.0.0.0/2"],
            ["0.0.0.0/1", "128.0.0.0/2"],
            ["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3", "unix"],
            ["::ffff:0:0/96"],
            ["::ffff:0.0.0.0/97", "::ffff:128.0.0.0/97"],
            ["::ffff:0.0.0.0/97", "128.0.0.0/1"],
            ["::/1", "8000::/1"],
            ["::/1"],
            ["2000::/3"],
            ["2000::/4", "3000::/4"],
            [*(f"{first:x}000::/5" for first in (0x2, 0x3)), "2800::/5"],
        ):
            server = {"trusted_proxies": networks}
            error = self.assertRaises(ConfigError, self.make, server=server)
            self.assertIn("of all addresses", str(error.problems[0]), networks)
            self.make(server={**server, "insecure": True})

    def test_many_T91g(self) -> None:
        """Usual networks are accepted as proxies; very large ones cause a warning."""
        usual = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "2001:db8::/32"]
        for networks, warns in ((usual, False), (["0.0.0.0/2"], True), (["2000::/4"], True)):
            gateway = self.make(server={"trusted_proxies": networks})
            warnings = gateway.serving.gateway.config.warnings
            self.assertEqual(any("of all addresses" in each for each in warnings), warns, networks)

    def test_mapped_T91g(self) -> None:
        """A network of IPv4 written as IPv6 matches IPv4 peers."""
        self.gateway = self.make(server={"trusted_proxies": ["::ffff:192.0.2.0/120"]})
        token = self.new(networks=["10.0.0.0/8"])["token"]
        self.assertEqual(self.status(token, "X-Forwarded-For: 10.0.0.1"), 200)


class Broken(memory.MemoryStore):
    """A store that is unavailable."""

    async def get(self, id_: str) -> Token | None:
        raise Unavailable("canary")

    async def add(self, token: Token, most: int | None = None) -> None:
        raise Unavailable("canary")

    async def list_tokens(self, wanted: TokenQuery) -> Sequence[Token]:
        raise Unavailable("canary")


class OutageTests(TokenCase):
    """Requests while the store is unavailable."""

    def setUp(self) -> None:
        super().setUp()
        self.made = self.new()

        self.tokens.store.backend = Broken()

    def test_outage_is_503(self) -> None:
        """If the store is unavailable, API tokens get a 503 and passwords work."""
        self.assertEqual(self.whoami(self.made["token"]).status, 503)
        self.assertEqual(self.gateway.ask("GET /whoami", Authorization=ALICE).status, 200)

    def test_routes(self) -> None:
        """If the store is unavailable, requests about API tokens get a 503 without the reason."""
        for answer in (
            self.send("POST /tokens", {}),
            self.send("POST /tokens/revoke", {"token": self.made["token"]}, ""),
            self.gateway.ask("GET /tokens", Authorization=ALICE),
            self.gateway.ask(f"DELETE /tokens/{self.made['id']}", Authorization=ALICE),
        ):
            self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
            self.assertNotIn(b"canary", answer.body)

    def test_half_made_T56(self) -> None:
        """The secret of an API token that was not stored is not shown."""
        answer = self.send("POST /tokens", {})
        self.assertNotIn(b"aot_", answer.body)


class OwnersTests(TokenCase):
    """API tokens whose owner changes."""

    def reconfigured(self, *users: dict[str, Any], **over: Any) -> None:
        """Return a gateway with the same store and another configuration, as after a reload."""
        store = self.tokens.store.backend
        self.gateway = self.make(providers=[{**STAFF, "users": list(users)}], **over)
        self.tokens.store.backend = store

    def test_roles_now(self) -> None:
        """The roles are the owner's current ones, not those from the time of creation."""
        token = self.new()["token"]
        self.reconfigured({"username": "alice", "password": "x", "roles": ["other"]})
        self.assertEqual(self.whoami(token).json()["roles"], ["other"])

    def test_gone(self) -> None:
        """The API tokens of a removed user are refused."""
        token = self.new()["token"]
        self.reconfigured(*USERS[1:])
        self.assertEqual(self.whoami(token).status, 401)


class NoLeakTests(TokenCase):
    """Places where an API token must not appear."""

    def test_alone_T58(self) -> None:
        """C{/providers} does not list the token store, and C{WWW-Authenticate} does not name it."""
        self.assertNotIn(b"token", self.gateway.ask("GET /providers").body)
        challenge = self.gateway.ask("GET /whoami").headers["www-authenticate"]
        self.assertEqual(challenge, 'Basic realm="internal"')

    def test_route_label_T76(self) -> None:
        """Neither metrics nor the access log contain the path of an API token."""
        token = self.new()["token"]
        self.gateway.ask(f"DELETE /token/{token}", Authorization=ALICE)
        self.gateway.ask("GET /tokens/0123456789ab", Authorization=ALICE)
        text = self.gateway.metrics.text()[0]
        self.assertNotIn(token.encode(), text)
        self.assertIn(b'route="/token/{token}"', text)
        self.assertIn(b'route="/tokens/{id}"', text)

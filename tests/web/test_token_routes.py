"""Tokens of our own over HTTP."""

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
    """A gateway with a store."""

    def setUp(self) -> None:
        self.gateway = self.make()

    def make(self, **over: Any) -> InMemoryGateway:
        usual = {"store": {"type": "memory", "admins": {"internal": ["keeper"]}}}
        return InMemoryGateway({"providers": [STAFF], **usual, **over})

    def send(self, line: str, content: Any, authorization: str = ALICE, **headers: str) -> Answer:
        """The answer to a request with a JSON body."""
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

    def test_made(self) -> None:
        """The token is shown once; nobody may keep the answer; it says where it is."""
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
        """It stands for its owner, with the owner's roles, in the owner's realm."""
        token = self.new()["token"]
        identity = self.whoami(token).json()
        self.assertEqual((identity["username"], identity["realm"]), ("alice", "internal"))
        self.assertEqual(identity["roles"], ["reader", "writer"])
        self.assertEqual(self.whoami(token, "Internal").status, 200)
        self.assertEqual(self.whoami(token, "elsewhere").status, 401)

    def test_short_minted_life(self) -> None:
        """A JWT minted for it lives a few minutes, and never longer than the token."""
        for ttl, life in ((7200, 300), (60, 60)):
            token = self.new(ttl=ttl)["token"]
            answer = self.gateway.ask("GET /authenticate", Authorization=f"Bearer {token}")
            minted = answer.headers["authorization"].split()[1]
            claims = jwt.decode(minted, options={"verify_signature": False})
            self.assertEqual(claims["exp"], NOW + life)

    def test_augmented_at_use(self) -> None:
        """Augmenters run when it is used, and are not kept in it."""
        giver = {"type": "plain", "name": "g", "realm": "internal", "roles": {"given": ["alice"]}}
        self.gateway = self.make(augmenters=[giver])
        roles = self.whoami(self.new()["token"]).json()["roles"]
        self.assertEqual(roles, ["reader", "writer", "given"])
        roles = self.whoami(self.new(roles=["given"])["token"]).json()["roles"]
        self.assertEqual(roles, ["given"])

    def test_broader_T52(self) -> None:
        """A token makes no broader one, in any respect; what is not said stays as narrow."""
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

    def test_no_role_of_mine_T52(self) -> None:
        """Nobody gives what they do not have."""
        answer = self.send("POST /tokens", {"roles": ["reader", "writer", "admin"]})
        self.assertEqual(answer.status, 403)
        self.assertEqual(answer.json()["problems"], ["roles[2]: is not a role of the owner"])

    def test_too_long(self) -> None:
        """There is a longest life, and one for those who do not say."""
        self.gateway = self.make(tokens={"ttl": 60, "max_ttl": 120})
        self.assertEqual(self.send("POST /tokens", {"ttl": 121}).status, 403)
        self.assertEqual(self.new()["expires"], NOW + 60)

    def test_strict_body_T94(self) -> None:
        """A body that two readers could understand differently is a 400."""
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
        """What is not as it should be is refused, with the place of the mistake."""
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
        """A body beyond all reason is not read."""
        self.assertEqual(self.send("POST /tokens", {"name": "x" * 100_000}).status, 413)

    def test_endless_T54(self) -> None:
        """Numbers beyond all measure are no durations, and no limits."""
        self.assertEqual(self.send("POST /tokens", {"ttl": 10**400}).status, 400)
        made = self.new()
        answer = self.send(f"PATCH /tokens/{made['id']}", {"ttl": 10**400})
        self.assertEqual(answer.status, 400)
        for limit in ("000019999999999", "00001" + "9" * 5000):
            answer = self.send(f"GET /tokens?limit={limit}", {})
            self.assertEqual(answer.status, 400)

    def test_no_form_T53(self) -> None:
        """What a page of somebody else's can send is no JSON to us."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = self.send("POST /tokens", {}, Content_Type=kind)
            self.assertEqual(answer.status, 415)
        answer = self.send("POST /tokens", {}, Content_Type="Application/JSON; charset=utf-8")
        self.assertEqual(answer.status, 201)

    def test_shown_as_sent_T57(self) -> None:
        """Names are text, in JSON, whatever they look like."""
        name = '<script>alert(1)</script>"; =cmd()'
        made = self.new(name=name)
        answer = self.gateway.ask(f"GET /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(answer.json()["name"], name)
        self.assertEqual(answer.headers["content-type"], "application/json")

    def test_nobody(self) -> None:
        """Who is not known gets nothing."""
        self.assertEqual(self.send("POST /tokens", {}, "").status, 401)
        self.assertEqual(self.send("POST /tokens", {}, basic("alice", "guess")).status, 401)


EMPTY: dict[str, list[str]] = {f"service-{number}": [] for number in range(3000)}
"""Scopes of 50 kB that allow nothing."""


SIGNED_WITH = "a secret that an identity provider and the gateway share"


class BoundsTests(TokenCase):
    """What a request about tokens may cost, and what a token may take up in the store."""

    def kept(self) -> list[int]:
        """The bytes that are kept of each token."""
        stored = Deferred.fromCoroutine(self.tokens.store.listed(TokenQuery(most=1000)))
        self.gateway.clock.pump([0] * 1000)
        return [token.size for token in self.successResultOf(stored)]

    def test_refuse_many_scopes_T84a(self) -> None:
        """A client cannot name more than 100 services, or 256 scopes together."""
        for scopes in (EMPTY, {str(number): ["a", "b"] * 2 for number in range(100)}):
            answer = self.send("POST /tokens", {"scopes": scopes})
            self.assertEqual(answer.status, 400)
            self.assertLess(len(answer.body), 200)
        self.assertEqual(self.kept(), [])

    def test_refuse_large_token_T84a(self) -> None:
        """A client cannot make a token of more than 4096 bytes, whatever it is made large with."""
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
        """Of an owner with thousands of roles a token keeps at most 4096 bytes, and is good."""
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
        """A user whose JWT has hundreds of roles and groups makes tokens with some of the roles."""
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
        """A name or a comment does not make a token larger than 4096 bytes."""
        made = self.new(hosts=["a" * 30 + f".{number}.org" for number in range(70)])
        line = f"PATCH /tokens/{made['id']}"
        self.assertEqual(self.send(line, {"name": "\u2603" * 256}).status, 200)
        answer = self.send(line, {"comment": "\u2603" * 256})
        self.assertEqual(answer.status, 403)
        self.assertLessEqual(max(self.kept()), 4096)
        self.assertEqual(self.send(line, {"name": "", "comment": "\u2603" * 256}).status, 200)

    def test_cut_pages_T84a(self) -> None:
        """A page has at most 100 tokens, also if the client asks for up to 1000."""
        made = [self.keep().id for _ in range(120)]
        for query in ("", "?limit=100", "?limit=1000"):
            answer = self.gateway.ask(f"GET /tokens{query}", Authorization=ALICE).json()
            self.assertEqual([each["id"] for each in answer["tokens"]], sorted(made)[:100])
            self.assertEqual(self.listed(query=f"?after={answer['next']}"), sorted(made)[100:])

    def keep(self, **scopes: tuple[str, ...]) -> Token:
        """A token of alice as an earlier version has stored it, with as many scopes as given."""
        owner = Identity("internal", "alice")
        only, presented = Grant(scopes=scopes or None), generate(NOW)
        token = Token(presented.id, f"hash of {presented.id}", owner, NOW, only, provider="staff")
        self.successResultOf(Deferred.fromCoroutine(self.tokens.store.add(token)))
        return token

    def test_list_in_pieces_T84b(self) -> None:
        """Tokens of 50 kB that are stored already are listed, one or two in each reactor turn."""
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
        """A large token that is stored already can be shown, used, changed and revoked."""
        kept = self.keep(**dict.fromkeys(EMPTY, ()))
        answer = self.gateway.ask(f"GET /tokens/{kept.id}", Authorization=ALICE)
        self.assertEqual(len(answer.json()["scopes"]), len(EMPTY))
        self.assertEqual(self.send(f"PATCH /tokens/{kept.id}", {"name": "n"}).status, 200)
        answer = self.gateway.ask(f"DELETE /tokens/{kept.id}", Authorization=ALICE)
        self.assertEqual(answer.status, 204)

    def test_search_no_suggestions_T84c(self) -> None:
        """For an unknown key of a request no near key is searched; at most ten are named."""
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
        """A list with too many entries is refused without a look at each of them."""
        looked_at: list[object] = []
        self.patch(token_bodies, "check_host_pattern", looked_at.append)
        for name in ("roles", "hosts", "networks", "scopes"):
            for many in ([1] * 20_000, {str(number): 1 for number in range(5000)}):
                answer = self.send("POST /tokens", {name: many})
                self.assertEqual(answer.json()["problems"], [f"{name}: has more than 100 entries"])
        self.assertEqual(looked_at, [])

    def test_name_ten_problems_T84c(self) -> None:
        """An answer names at most ten problems, and cuts what it repeats of the request."""
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
    """The routes of the original."""

    def test_works(self) -> None:
        """C{GET /token} gives a token that is good, and C{DELETE} ends it, by itself or its id."""
        for part in (slice(None), slice(4, 16), slice(16)):
            token = self.gateway.ask("GET /token", Authorization=ALICE).json()["token"]
            self.assertEqual(self.whoami(token).status, 200)
            answer = self.gateway.ask(f"DELETE /token/{token[part]}", Authorization=ALICE)
            self.assertEqual((answer.status, answer.body), (204, b""))
            self.assertNotIn("content-length", answer.headers)
            self.assertEqual(self.whoami(token).status, 401)

    def test_head_T53(self) -> None:
        """HEAD makes nothing."""
        answer = self.gateway.ask("HEAD /token", Authorization=ALICE)
        self.assertEqual((answer.status, self.listed()), (405, []))

    def test_unwitting_T86d(self) -> None:
        """No token is made for a page of another site, or for a browser that fetches ahead."""
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

    def test_witting_T86d(self) -> None:
        """A program, an address that is typed in, and a page of the gateway's own site get one."""
        for given in ({}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin"}):
            answer = self.gateway.ask("GET /token", None, Authorization=ALICE, **given)
            self.assertEqual(answer.status, 200)

    def test_switched_off_T53(self) -> None:
        """C{store.compat: false} takes it away; C{POST /tokens} is still there."""
        self.gateway = self.make(store={"type": "memory", "compat": False})
        self.assertEqual(self.gateway.ask("GET /token", Authorization=ALICE).status, 405)
        self.new()

    def test_unknown(self) -> None:
        """What never was a token cannot be taken away."""
        for text in ("never", "aot_", "0" * 12):
            answer = self.gateway.ask(f"DELETE /token/{text}", Authorization=ALICE)
            self.assertEqual(answer.status, 404)


class OwnTests(TokenCase):
    """One's own tokens, and those of others."""

    def test_others_T51(self) -> None:
        """Somebody else's token is as unknown as one that never was."""
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
        """A list has ids, which are no credentials."""
        made = self.new()
        answer = self.gateway.ask("GET /tokens", Authorization=ALICE)
        self.assertNotIn(made["token"].encode(), answer.body)
        [listed] = answer.json()["tokens"]
        for text in (listed["id"], listed["token_string"]):
            self.assertEqual(self.whoami(text).status, 401)

    def test_pages(self) -> None:
        """A long list comes in pieces, oldest first."""
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
        """Name and comment change, the life is shortened, never made longer."""
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
        """Who keeps the tokens of all sees, finds and ends them."""
        mine, bobs = self.new()["id"], self.new(BOB)["id"]
        self.assertEqual(self.listed(ROOT), [])
        self.assertEqual(sorted(self.listed(ROOT, "?all=true")), sorted([mine, bobs]))
        self.assertEqual(self.listed(ROOT, "?realm=internal&username=bob"), [bobs])
        answer = self.gateway.ask(f"DELETE /tokens/{bobs}", Authorization=ROOT)
        self.assertEqual(answer.status, 204)

    def test_one_spelling_T82(self) -> None:
        """An owner and a role are the same, however a request spells them."""
        zoe = {"username": "zoe\u0308", "password": "p", "roles": ["le\u0301ger"]}
        users = [*USERS, zoe]
        self.gateway = self.make(providers=[{**STAFF, "users": users}])
        made = [self.new(basic(name, "p"))["id"] for name in ("zoe\u0308", "zo\xeb")]
        for spelled in ("zo%C3%AB", "zoe%CC%88"):
            query = f"?realm=internal&username={spelled}"
            self.assertEqual(sorted(self.listed(ROOT, query)), sorted(made))
        token = self.new(basic("zo\xeb", "p"), roles=["le\u0301ger"])["token"]
        self.assertEqual(self.whoami(token).json()["roles"], ["l\xe9ger"])

    def test_role_of_elsewhere(self) -> None:
        """A role of the same name in another realm makes no administrator."""
        other = {"username": "far", "password": "away", "roles": ["keeper"]}
        elsewhere = {"type": "plain", "name": "e", "realm": "elsewhere", "users": [other]}
        self.gateway = self.make(providers=[STAFF, elsewhere])
        made = self.new()
        far = basic("far", "away")
        self.assertEqual(self.listed(far, "?all=true"), [])
        answer = self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=far)
        self.assertEqual(answer.status, 404)

    def test_restricted_administrator_T52(self) -> None:
        """An administrator's token without the role is nothing of the kind."""
        self.new()
        token = self.new(ROOT, roles=[])["token"]
        self.assertEqual(len(self.listed(f"Bearer {token}", "?all=true")), 1)


class RevokeTests(TokenCase):
    """The end of a token."""

    def test_at_once_T42(self) -> None:
        """A revoked token is no credential any more, though it was remembered as one."""
        made = self.new()
        self.assertEqual(self.whoami(made["token"]).status, 200)
        answer = self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(answer.status, 204)
        self.assertEqual(self.whoami(made["token"]).status, 401)

    def test_elsewhere_T42(self) -> None:
        """One that another process revoked lives on for five seconds at most."""
        made = self.new()
        self.assertEqual(self.whoami(made["token"]).status, 200)
        self.successResultOf(
            Deferred.fromCoroutine(self.tokens.store.backend.remove(made["id"], NOW))
        )
        self.gateway.clock.advance(5)
        self.assertEqual(self.whoami(made["token"]).status, 401)

    def test_other_workers_T42(self) -> None:
        """It is acknowledged when the other processes of the gateway have forgotten, not before."""
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

    def test_other_workers_uncertain_T42(self) -> None:
        """Where that is not certain it is no success."""

        async def invalidate_others(_tokens: object) -> None:
            raise Unavailable("a worker has not confirmed")

        made = self.new()
        self.patch(self.gateway.serving.peers, "invalidate_others", invalidate_others)
        answer = self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=ALICE)
        self.assertEqual(answer.status, 503)
        self.assertEqual(self.whoami(made["token"]).status, 401)

    def test_reload_meanwhile_T42(self) -> None:
        """Nor is it remembered by a configuration that came to be used while it was revoked."""
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
        """Who finds a token can end it; nobody learns whether it was good."""
        made = self.new()
        for _ in range(2):
            answer = self.send("POST /tokens/revoke", {"token": made["token"]}, "")
            self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(self.whoami(made["token"]).status, 401)
        for text in ("never", f"aot_{made['id']}", ""):
            self.assertEqual(self.send("POST /tokens/revoke", {"token": text}, "").status, 204)

    def test_no_token_voids_nothing_T43(self) -> None:
        """Whoever surrenders what is no token clears nobody's verdict from memory."""
        self.gateway.ask("GET /whoami", Authorization=ALICE)
        remembered = self.gateway.serving.gateway.decisions.remembered
        self.assertEqual(remembered(), 1)
        self.send("POST /tokens/revoke", {"token": "aot_x"}, "")
        self.assertEqual(remembered(), 1)
        self.assertEqual(self.send("DELETE /tokens/000000000000", {}).status, 404)
        self.assertEqual(remembered(), 1)

    def test_nothing_else_is_void_T83d(self) -> None:
        """A name voids no verdict; a shorter life or an end voids those of the token alone."""
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
        """The other workers are told which API token was changed."""
        told: list[object] = []

        async def invalidate_others(tokens: object) -> None:
            told.append(tokens)

        self.patch(self.gateway.serving.peers, "invalidate_others", invalidate_others)
        made, surrendered = self.new(), self.new()
        self.send(f"PATCH /tokens/{made['id']}", {"name": "n"})
        self.send(f"PATCH /tokens/{made['id']}", {"ttl": "1h"})
        self.send(f"DELETE /tokens/aot_{made['id']}", {})
        self.send("POST /tokens/revoke", {"token": surrendered["token"]}, "")
        self.assertEqual(told, [[made["id"]], [made["id"]], [surrendered["id"]]])

    def test_leak_of_an_id_T51(self) -> None:
        """An id is not enough for that, nor a token with a wrong secret."""
        made, other = self.new(), self.new(BOB)
        for text in (made["id"], f"aot_{made['id']}", f"aot_{made['id']}{other['token'][16:]}"):
            self.send("POST /tokens/revoke", {"token": text}, "")
        self.assertEqual(self.whoami(made["token"]).status, 200)

    def test_expired_T55(self) -> None:
        """A token that is over is refused, though nobody has swept it away."""
        made = self.new(ttl=60)
        self.gateway.clock.advance(59)
        self.assertEqual(self.whoami(made["token"]).status, 200)
        self.gateway.clock.advance(1)
        self.assertEqual(self.whoami(made["token"]).status, 401)
        self.assertEqual(self.listed(), [made["id"]])

    def test_after_a_miss_T43(self) -> None:
        """A token works at once, whatever was refused before it."""
        for text in ("aot_nonsense", "nonsense"):
            self.assertEqual(self.whoami(text).status, 401)
        self.assertEqual(self.whoami(self.new()["token"]).status, 200)


class LineageTests(TokenCase):
    """Tokens that were made with tokens."""

    def family(self, **wish: Any) -> list[dict[str, Any]]:
        """A token, one that was made with it, and one that was made with that one."""
        made = [self.new(**wish)]
        for _ in range(2):
            made.append(self.new(f"Bearer {made[-1]['token']}"))
        return made

    def statuses(self, made: Sequence[dict[str, Any]]) -> list[int]:
        return [self.whoami(each["token"]).status for each in made]

    def test_revoke_tree_T86a(self) -> None:
        """By whatever route a token is revoked, all that descend from it are, too, at once."""
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
        """A token outlives those that were made with it; a child may end its parent."""
        made = self.family()
        bearer = f"Bearer {made[2]['token']}"
        self.gateway.ask(f"DELETE /tokens/{made[2]['id']}", Authorization=bearer)
        self.assertEqual(self.statuses(made), [200, 200, 401])
        bearer = f"Bearer {made[1]['token']}"
        self.gateway.ask(f"DELETE /tokens/{made[0]['id']}", Authorization=bearer)
        self.assertEqual(self.statuses(made), [401] * 3)

    def test_revoke_elsewhere_T86a(self) -> None:
        """A token that outlived its parent in the store is refused within five seconds."""
        made = self.family()
        self.assertEqual(self.statuses(made), [200] * 3)
        backend = self.tokens.store.backend
        assert isinstance(backend, memory.MemoryStore)
        del backend._rows[made[0]["id"]]
        self.gateway.clock.advance(5)
        self.assertEqual(self.statuses(made), [401] * 3)

    def test_show_parent_T86a(self) -> None:
        """A token shows which one it was made with."""
        made = self.family()
        parents = [None, made[0]["id"], made[1]["id"]]
        self.assertEqual([each["parent"] for each in made], parents)

    def test_shorten_parent_T86a(self) -> None:
        """If a token is shortened, those that descend from it end with it, and show so."""
        made = self.family(ttl=600)
        self.assertEqual(self.statuses(made), [200] * 3)
        self.send(f"PATCH /tokens/{made[0]['id']}", {"ttl": 60})
        for each in made:
            shown = self.gateway.ask(f"GET /tokens/{each['id']}", Authorization=ALICE).json()
            self.assertEqual(shown["expires"], NOW + 60)
        self.gateway.clock.advance(60)
        self.assertEqual(self.statuses(made), [401] * 3)

    def test_shortened_elsewhere_T86a(self) -> None:
        """A token ends with its parent, though the store says otherwise; so does its JWT."""
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
        """With a token that was revoked a moment ago elsewhere none can be made."""
        made = self.new()
        self.gateway.ask("GET /whoami", Authorization=f"Bearer {made['token']}")
        removing = self.tokens.store.backend.remove(made["id"], NOW)
        self.successResultOf(Deferred.fromCoroutine(removing))
        answer = self.send("POST /tokens", {}, f"Bearer {made['token']}")
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.listed(), [])

    def test_limit_generations_T86a(self) -> None:
        """There are at most 16 generations of tokens behind the first one."""
        made = self.new()
        for _ in range(16):
            made = self.new(f"Bearer {made['token']}")
        self.assertEqual(self.whoami(made["token"]).status, 200)
        self.assertEqual(self.send("POST /tokens", {}, f"Bearer {made['token']}").status, 403)

    def test_stored_before_T86a(self) -> None:
        """A token that an earlier version stored has no parent, is good, and can be one."""
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


class NarrowedTests(TokenCase):
    """What a restricted token may do to tokens."""

    def restricted(self, authorization: str = ALICE) -> Iterator[dict[str, Any]]:
        """Tokens that are restricted in each respect."""
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
        """A restricted token lists, shows, changes and revokes itself and its descendants only."""
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
        """A restricted token revokes neither its parent nor a sibling."""
        parent = self.new()
        bearer = f"Bearer {parent['token']}"
        one, other = self.new(bearer, roles=["reader"]), self.new(bearer)
        for each in (parent, other):
            line = f"DELETE /tokens/{each['id']}"
            answer = self.gateway.ask(line, Authorization=f"Bearer {one['token']}")
            self.assertEqual(answer.status, 404)

    def test_broad_T86b(self) -> None:
        """A token that is not restricted manages all tokens of its owner, as a password does."""
        broad, other = self.new(), self.new(roles=[])
        bearer = f"Bearer {broad['token']}"
        self.assertEqual(self.listed(bearer), sorted([broad["id"], other["id"]]))
        answer = self.gateway.ask(f"DELETE /tokens/{other['id']}", Authorization=bearer)
        self.assertEqual(answer.status, 204)


class LimitTests(TokenCase):
    """How many tokens an owner may have."""

    def test_limit_per_owner_T86c(self) -> None:
        """An owner who has C{max_per_owner} live tokens gets no further ones, by either route."""
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
        """By default an owner may have 100."""
        self.assertEqual(self.tokens.config.max_per_owner, 100)

    def test_above_limit_T86c(self) -> None:
        """Tokens that are stored already go on being good if their owner has too many."""
        made = [self.new() for _ in range(3)]
        backend = self.tokens.store.backend
        self.gateway = self.make(tokens={"max_per_owner": 2})
        self.tokens.store.backend = backend
        self.assertEqual([self.whoami(each["token"]).status for each in made], [200] * 3)
        self.assertEqual(self.send("POST /tokens", {}).status, 403)
        self.assertEqual(len(self.listed()), 3)


class ConditionTests(TokenCase):
    """Tokens that are good only for some hosts or networks."""

    def status(self, token: str, *headers: str) -> int:
        lines = ["GET /authenticate HTTP/1.1", "Host: gate", f"Authorization: Bearer {token}"]
        [answer] = self.gateway.say("\r\n".join([*lines, *headers, "", ""]).encode())
        return answer.status

    def test_host(self) -> None:
        """The host decides on every request, also when the verdict is remembered."""
        self.gateway = self.make(server=PROXIED)
        token = self.new(hosts=["*.example.org"])["token"]
        for _ in range(2):
            self.assertEqual(self.status(token, "X-Forwarded-Host: a.example.org"), 200)
            self.assertEqual(self.status(token, "X-Forwarded-Host: a.example.com"), 403)
            self.assertEqual(self.status(token), 400)

    def test_host_T04(self) -> None:
        """The C{Host} of the request to us is no substitute."""
        self.gateway = self.make(server=PROXIED)
        self.assertEqual(self.status(self.new(hosts=["gate"])["token"]), 400)

    def test_twice_T07(self) -> None:
        """A doubled header is none, and its twin with underscores is another header."""
        self.gateway = self.make(server=PROXIED)
        token = self.new(hosts=["a.org"])["token"]
        good = "X-Forwarded-Host: a.org"
        self.assertEqual(self.status(token, good, "X-Forwarded-Host: b.org"), 400)
        self.assertEqual(self.status(token, "X_Forwarded_Host: a.org"), 400)
        self.assertEqual(self.status(token, good, "X_Forwarded_Host: b.org"), 200)

    def test_untrusted_T05(self) -> None:
        """Who is no trusted proxy cannot say where a request was to go."""
        token = self.new(hosts=["a.org"])["token"]
        self.assertEqual(self.status(token, "X-Forwarded-Host: a.org"), 400)

    def test_other_header_T03(self) -> None:
        """The header is the configured one, and no other."""
        header = {"forwarded": {"host": "X-Original-Host"}}
        self.gateway = self.make(server={**PROXIED, **header})
        token = self.new(hosts=["a.org"])["token"]
        self.assertEqual(self.status(token, "X-Original-Host: a.org"), 200)
        self.assertEqual(self.status(token, "X-Forwarded-Host: a.org"), 400)

    def test_network(self) -> None:
        """The client's own address counts where nobody is trusted to forward for others."""
        near, far = self.new(networks=["192.0.2.7"]), self.new(networks=["10.0.0.0/8"])
        self.assertEqual(self.status(near["token"], "X-Forwarded-For: 10.0.0.1"), 200)
        self.assertEqual(self.status(far["token"], "X-Forwarded-For: 10.0.0.1"), 403)

    def test_network_behind_a_proxy(self) -> None:
        """Behind a proxy it is the address that this one names."""
        self.gateway = self.make(server=PROXIED)
        token = self.new(networks=["10.0.0.0/8"])["token"]
        self.assertEqual(self.status(token, "X-Forwarded-For: 8.8.8.8, 10.0.0.1"), 200)
        self.assertEqual(self.status(token, "X-Forwarded-For: 10.0.0.1, 8.8.8.8"), 403)

    def test_everybody_T09(self) -> None:
        """To trust everybody must be meant."""
        for network in ("0.0.0.0/0", "::/0"):
            server = {"trusted_proxies": [network]}
            self.assertRaises(ConfigError, self.make, server=server)
            self.make(server={**server, "insecure": True})

    def test_nearly_all_T91g(self) -> None:
        """Networks that together contain nearly all addresses are no proxies, however written."""
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
        """Usual networks are proxies; of very large ones there is a warning."""
        usual = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "2001:db8::/32"]
        for networks, warns in ((usual, False), (["0.0.0.0/2"], True), (["2000::/4"], True)):
            gateway = self.make(server={"trusted_proxies": networks})
            warnings = gateway.serving.gateway.config.warnings
            self.assertEqual(any("of all addresses" in each for each in warnings), warns, networks)

    def test_mapped_T91g(self) -> None:
        """A network of IPv4 written as IPv6 means the IPv4 peers, which are known as such."""
        self.gateway = self.make(server={"trusted_proxies": ["::ffff:192.0.2.0/120"]})
        token = self.new(networks=["10.0.0.0/8"])["token"]
        self.assertEqual(self.status(token, "X-Forwarded-For: 10.0.0.1"), 200)


class Broken(memory.MemoryStore):
    """A store that is out."""

    async def get(self, id_: str) -> Token | None:
        raise Unavailable("canary")

    async def add(self, token: Token, most: int | None = None) -> None:
        raise Unavailable("canary")

    async def listed(self, wanted: TokenQuery) -> Sequence[Token]:
        raise Unavailable("canary")


class OutageTests(TokenCase):
    """A store that does not answer."""

    def setUp(self) -> None:
        super().setUp()
        self.made = self.new()

        self.tokens.store.backend = Broken()

    def test_outage_is_no_refusal(self) -> None:
        """Token users hear that it is an outage; others do not notice."""
        self.assertEqual(self.whoami(self.made["token"]).status, 503)
        self.assertEqual(self.gateway.ask("GET /whoami", Authorization=ALICE).status, 200)

    def test_routes(self) -> None:
        """So do those who make, list or end tokens; nothing is told of the reason."""
        for answer in (
            self.send("POST /tokens", {}),
            self.send("POST /tokens/revoke", {"token": self.made["token"]}, ""),
            self.gateway.ask("GET /tokens", Authorization=ALICE),
            self.gateway.ask(f"DELETE /tokens/{self.made['id']}", Authorization=ALICE),
        ):
            self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
            self.assertNotIn(b"canary", answer.body)

    def test_half_made_T56(self) -> None:
        """Of a token that could not be kept nobody is told the secret."""
        answer = self.send("POST /tokens", {})
        self.assertNotIn(b"aot_", answer.body)


class OwnersTests(TokenCase):
    """What becomes of a token when its owner changes."""

    def reconfigured(self, *users: dict[str, Any], **over: Any) -> None:
        """The same store under another configuration, as after a reload."""
        store = self.tokens.store.backend
        self.gateway = self.make(providers=[{**STAFF, "users": list(users)}], **over)
        self.tokens.store.backend = store

    def test_roles_now(self) -> None:
        """Roles are those of now, not of when it was made."""
        token = self.new()["token"]
        self.reconfigured({"username": "alice", "password": "x", "roles": ["other"]})
        self.assertEqual(self.whoami(token).json()["roles"], ["other"])

    def test_gone(self) -> None:
        """A user who was removed does not live on in a token."""
        token = self.new()["token"]
        self.reconfigured(*USERS[1:])
        self.assertEqual(self.whoami(token).status, 401)


class NoLeakTests(TokenCase):
    """Where a token must not be found."""

    def test_alone_T58(self) -> None:
        """The lists of parts do not name the store; it is no provider that challenges."""
        self.assertNotIn(b"token", self.gateway.ask("GET /providers").body)
        challenge = self.gateway.ask("GET /whoami").headers["www-authenticate"]
        self.assertEqual(challenge, 'Basic realm="internal"')

    def test_route_label_T76(self) -> None:
        """Neither metrics nor the access log have the path of a token."""
        token = self.new()["token"]
        self.gateway.ask(f"DELETE /token/{token}", Authorization=ALICE)
        self.gateway.ask("GET /tokens/0123456789ab", Authorization=ALICE)
        text = self.gateway.metrics.text()[0]
        self.assertNotIn(token.encode(), text)
        self.assertIn(b'route="/token/{token}"', text)
        self.assertIn(b'route="/tokens/{id}"', text)

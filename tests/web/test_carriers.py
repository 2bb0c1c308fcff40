"""Credentials in other parts of a request than C{Authorization}, by every protocol of proxies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import yaml
from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from authotron.web.fastpath import repeats
from authotron.web.fastpath.protocol import FastPathFactory
from authotron.web.grpc.messages import CheckRequest
from authotron.web.site import Site
from tests import STREAMS
from tests.config.cases import ROOT
from tests.web.conversations import ALICE, InMemoryGateway, answered, basic
from tests.web.fastcgi.conversations import FastCgiGateway
from tests.web.grpc.dialogue import Proxy, check_request

KEY, SESSION, LINK, GIT, USUAL = (letter * 40 for letter in "kslgu")
"""The token of each provider."""

Lines = Sequence[tuple[str, str]]


def tokens(name: str, token: str, realm: str = "machines", **more: Any) -> dict[str, Any]:
    user = [{"token": token, "username": name}]
    return {"type": "static-token", "name": name, "realm": realm, "tokens": user, **more}


ALICE_PASSWORD = {
    "type": "plain",
    "name": "users",
    "realm": "internal",
    "users": [{"username": "alice", "password": "wonder"}],
}
OVER: dict[str, Any] = {
    "providers": [
        ALICE_PASSWORD,
        tokens("usual", USUAL),
        tokens("session", SESSION, "browsers", credentials={"cookie": "__Host-session"}),
        tokens("key", KEY, credentials={"header": "X-API-Key"}),
        tokens("link", LINK, credentials={"query": "link"}),
        tokens("git", GIT, credentials=[{"basic": "password"}, {"basic": "username"}]),
    ],
    "store": {
        "type": "memory",
        "credentials": [{"header": "Authorization"}, {"basic": "password"}],
    },
    "server": {"trusted_proxies": ["192.0.2.0/24", "127.0.0.0/8"]},
    "logging": {"access": "all", "level": "debug"},
    "include_legacy_headers": True,
}

Outcome = tuple[int, str]
"""The status that the proxy gets, and the user name."""


def head(lines: Lines, target: str = "/authenticate", **more: str) -> bytes:
    every = [("Host", "gate"), *lines, *((name.replace("_", "-"), more[name]) for name in more)]
    text = "".join(f"{name}: {value}\r\n" for name, value in every)
    return f"GET {target} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


class Entrances:
    """One gateway, and all protocols by which a proxy may ask it."""

    def __init__(self, over: Mapping[str, Any] = OVER) -> None:
        self.fastcgi = FastCgiGateway(over)
        self.gateway = self.fastcgi.gateway

    def outcomes(self, lines: Lines, path: str = "/x") -> list[Outcome]:
        """Ask by every protocol, and on the fast path again, where a known head is repeated."""
        gateway = self.gateway
        sites: list[Site | FastPathFactory] = [gateway.public, gateway.entrance, gateway.entrance]
        found = [self.by_http(head(lines, X_Original_URI=path), site) for site in sites]
        found += [self.by_http(head(lines, f"/auth/envoy{path}"), site) for site in sites]
        return [*found, self.by_fastcgi(lines, path), self.by_grpc(lines, path)]

    def by_http(self, data: bytes, site: Any) -> Outcome:
        [answer] = self.gateway.say(data, site)
        return answer.status, answer.headers.get("x-auth-username", "")

    def by_fastcgi(self, lines: Lines, path: str) -> Outcome:
        variables: dict[str, Any] = {"HTTP_AUTHORIZATION": ..., "REQUEST_URI": path}
        for name, value in lines:
            variable = f"HTTP_{name.upper().replace('-', '_')}"
            before = variables.get(variable, ...)
            variables[variable] = value if before is ... else f"{before}, {value}"
        answer = self.fastcgi.ask(**variables)
        return answer.status, answer.headers.get("Variable-X_Auth_Username", "")

    def by_grpc(self, lines: Lines, path: str) -> Outcome:
        response = self.ask_grpc(lines, path)
        return response.says, response.added.get("x-auth-username", "")

    def ask_grpc(self, lines: Lines, path: str = "/x") -> Any:
        """Ask as Envoy does, which joins the lines of a header by commas."""
        request = CheckRequest.FromString(check_request(path=path))
        joined: dict[str, str] = {}
        for name, value in lines:
            before = joined.get(name.lower())
            joined[name.lower()] = value if before is None else f"{before},{value}"
        for name, value in joined.items():
            entry = {"key": name.encode(), "value": value.encode("latin-1")}
            request.attributes.request.http.headers.add(**entry)
        return Proxy(self.gateway).call(request.SerializeToString())


class EntrancesCase(SynchronousTestCase):
    """Asks by every protocol, and expects one answer."""

    def setUp(self) -> None:
        self.patch(repeats, "ONE_IN", 1)
        self.entrances = Entrances()

    def assertOutcome(
        self, outcome: Outcome | int, *lines: tuple[str, str], path: str = "/x"
    ) -> None:
        expected = (outcome, "") if isinstance(outcome, int) else outcome
        found = self.entrances.outcomes(lines, path)
        self.assertEqual(found, [expected] * len(found), (lines, path))
        self.assertEqual(self.entrances.gateway.handed_over(), 0)


class AgreementTests(EntrancesCase):
    """All protocols find the same credential."""

    def test_each_carrier(self) -> None:
        """A header, a cookie, a parameter and both halves of Basic authenticate."""
        self.assertOutcome((200, "key"), ("X-API-Key", KEY))
        self.assertOutcome((200, "session"), ("Cookie", f"a=b; __Host-session={SESSION}"))
        self.assertOutcome((200, "link"), path=f"/x?a=b&link={LINK}")
        self.assertOutcome((200, "git"), ("Authorization", basic("x", GIT)))
        self.assertOutcome((200, "git"), ("Authorization", basic("", GIT)))
        self.assertOutcome((200, "git"), ("Authorization", basic(GIT, "")))
        self.assertOutcome((200, "git"), ("Authorization", basic(GIT, "x-oauth-basic")))
        self.assertOutcome((200, "usual"), ("Authorization", f"Bearer {USUAL}"))
        self.assertOutcome((200, "alice"), ("Authorization", ALICE))
        self.assertOutcome(401)

    def test_nowhere_else_T27a(self) -> None:
        """A provider looks only where its credentials stand."""
        for token in (KEY, SESSION, LINK, GIT):
            self.assertOutcome(401, ("Authorization", f"Bearer {token}"))
        for token in (SESSION, LINK, GIT, USUAL):
            self.assertOutcome(401, ("X-API-Key", token))
        for token in (KEY, LINK, GIT, USUAL):
            self.assertOutcome(401, ("Cookie", f"__Host-session={token}"))
            self.assertOutcome(401, ("Authorization", basic("x", token))) if token != GIT else None
        for token in (KEY, SESSION, GIT, USUAL):
            self.assertOutcome(401, path=f"/x?link={token}")
        self.assertOutcome(401, ("X-API-Key", ALICE), ("Cookie", f"session={SESSION}"))

    def test_backend_keeps_authorization(self) -> None:
        """A backend may use C{Authorization} for itself, in any syntax."""
        for text in ("Digest a=b, c=d, e=f, g=h", f"Bearer {USUAL}", ALICE, "x", "Bearer wrong"):
            self.assertOutcome((200, "key"), ("X-API-Key", KEY), ("Authorization", text))
            cookie = ("Cookie", f"__Host-session={SESSION}")
            self.assertOutcome((200, "session"), cookie, ("Authorization", text))

    def test_wrong_one_decides_T23(self) -> None:
        """A wrong credential where it is looked for is refused, whatever else is good."""
        good = ("Authorization", ALICE)
        self.assertOutcome(401, ("X-API-Key", "wrong"), good)
        self.assertOutcome(401, ("Cookie", "__Host-session=wrong"), good)
        self.assertOutcome(401, good, path="/x?link=wrong")

    def test_doubled_header_T27b(self) -> None:
        """A doubled header is refused, also if both are the same, or one is empty."""
        for other in (KEY, "x", ""):
            self.assertOutcome(401, ("X-API-Key", KEY), ("x-api-key", other))
            self.assertOutcome(401, ("X-API-Key", other), ("X-API-KEY", KEY), ("A", "b"))
        self.assertOutcome(401, ("X-API-Key", f"{KEY},{KEY}"), ("Authorization", ALICE))

    def test_several_cookies_T27c(self) -> None:
        """Two cookies of the name are refused, and so are several headers with the cookie."""
        session = f"__Host-session={SESSION}"
        for value in (f"{session}; {session}", f"{session}; __Host-session=", f"a=b, {session}"):
            self.assertOutcome(401, ("Cookie", value), ("Authorization", ALICE))
        for lines in ((session, "a=b"), ("a=b", session), (session, session)):
            self.assertOutcome(401, *(("Cookie", each) for each in lines))

    def test_empty(self) -> None:
        """An empty value is no credential."""
        good = ("Authorization", ALICE)
        self.assertOutcome((200, "alice"), ("X-API-Key", ""), ("Cookie", "__Host-session="), good)
        self.assertOutcome((200, "alice"), ("Cookie", "a=b,c=d; e"), good, path="/x?link=&link2=x")
        self.assertOutcome(401, ("X-API-Key", ""))

    def test_realm(self) -> None:
        """X-Auth-Realm chooses between two credentials, and accepts none of another realm."""
        both = (("X-API-Key", KEY), ("Cookie", f"__Host-session={SESSION}"))
        self.assertOutcome((200, "key"), *both)
        self.assertOutcome((200, "session"), *both, ("X-Auth-Realm", "browsers"))
        self.assertOutcome(401, both[1], ("X-Auth-Realm", "machines"))
        self.assertOutcome(
            (200, "alice"), *both, ("X-Auth-Realm", "internal"), ("Authorization", ALICE)
        )

    def test_api_token_as_password(self) -> None:
        """An API token counts as a password where the store looks, and nowhere else."""
        gateway = self.entrances.gateway
        token = gateway.post("/tokens", {}, Authorization=ALICE).json()["token"]
        self.assertOutcome((200, "alice"), ("Authorization", basic("x", token)))
        self.assertOutcome((200, "alice"), ("Authorization", f"Bearer {token}"))
        self.assertOutcome(401, ("Authorization", basic(token, "x")))
        self.assertOutcome(401, ("X-API-Key", token))
        self.assertOutcome(401, ("Cookie", f"__Host-session={token}"))
        self.assertOutcome(401, path=f"/x?link={token}")

    def test_two_tokens_in_basic(self) -> None:
        """Two different API tokens as user name and password are refused."""
        over = {**OVER, "store": {"type": "memory", "credentials": HALVES}}
        self.entrances = Entrances(over)
        gateway = self.entrances.gateway
        one, other = (
            gateway.post("/tokens", {}, Authorization=ALICE).json()["token"] for _ in range(2)
        )
        self.assertOutcome((200, "alice"), ("Authorization", basic(one, one)))
        self.assertOutcome((200, "alice"), ("Authorization", basic(one, "")))
        self.assertOutcome(401, ("Authorization", basic(one, other)))


HALVES = [{"header": "Authorization"}, {"basic": "username"}, {"basic": "password"}]

PIECES = (
    *(KEY, SESSION, USUAL, ALICE, basic("x", GIT), "Bearer ", "__Host-session=", "__host-session="),
    *("a=b", "link=", "browsers", "=", ";", ",", " ", "\t", "\xe9"),
)
VALUES = some.lists(some.sampled_from(PIECES), max_size=4).map("".join)
LINES = some.one_of(
    some.tuples(some.sampled_from(["X-API-Key", "x-api-key", "Cookie"]), VALUES),
    # Of several headers of these names protocols count the first one, or all.
    some.tuples(some.just("Authorization"), VALUES),
    some.tuples(some.just("X-Auth-Realm"), VALUES),
)
PARTS = (*("link=", LINK, "&", "%6c", "=", "a", "+", "ink=", "%", "%00"), *'?/#;\\"<{|')
QUERIES = some.lists(some.sampled_from(PARTS), max_size=5).map("".join)


def at_most_once(lines: Lines) -> Lines:
    """Leave out further headers of names whose duplicates protocols treat differently."""
    seen: set[str] = set()
    found = []
    for line in lines:
        if line[0] not in seen or line[0] not in ("Authorization", "X-Auth-Realm"):
            found.append(line)
        seen.add(line[0])
    return found


class OwnRoutesTests(SynchronousTestCase):
    """Requests of clients to the gateway itself."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway(OVER)

    def test_cookie_T53_T27e(self) -> None:
        """A cookie counts on no route of the gateway itself, so no other page can use it."""
        cookie: dict[str, Any] = {"Cookie": f"__Host-session={SESSION}"}
        self.assertEqual(self.gateway.ask("GET /authenticate", **cookie).status, 200)
        for line in (
            "GET /whoami",
            "GET /token",
            "GET /tokens",
            "GET /tokens/x",
            "DELETE /tokens/x",
        ):
            for site in (self.gateway.public, self.gateway.entrance):
                self.assertEqual(self.gateway.ask(line, site, **cookie).status, 401, line)
        self.assertEqual(self.gateway.post("/tokens", {}, **cookie).status, 401)

    def test_query_T27e(self) -> None:
        """The query of a request to the gateway itself carries no credential, nor does a header."""
        for line in (f"GET /whoami?link={LINK}", f"GET /authenticate?link={LINK}"):
            for site in (self.gateway.public, self.gateway.entrance):
                self.assertEqual(self.gateway.ask(line, site).status, 401)
        stated: dict[str, Any] = {"X_Original_URI": f"/?link={LINK}"}
        self.assertEqual(self.gateway.ask("GET /whoami", **stated).status, 401)

    def test_stranger_T27d(self) -> None:
        """A query counts only if a trusted proxy states it."""
        gateway = InMemoryGateway({**OVER, "server": {"trusted_proxies": ["127.0.0.1"]}})
        stated: dict[str, Any] = {"X_Original_URI": f"/?link={LINK}"}
        for site in (gateway.public, gateway.entrance):
            self.assertEqual(gateway.ask("GET /authenticate", site, **stated).status, 401)
            for target in (f"/auth/envoy/?link={LINK}", f"/auth/nginx/?link={LINK}"):
                self.assertEqual(gateway.ask(f"GET {target}", site).status, 401)

    def test_header(self) -> None:
        """A header counts, because pages of other origins cannot send it unasked."""
        key: dict[str, Any] = {"X_API_Key": KEY}
        self.assertEqual(self.gateway.ask("GET /whoami", **key).json()["username"], "key")
        self.assertEqual(self.gateway.post("/tokens", {}, **key).status, 201)
        git: dict[str, Any] = {"Authorization": basic("x", GIT)}
        self.assertEqual(self.gateway.ask("GET /whoami", **git).json()["username"], "git")


class ReplyTests(SynchronousTestCase):
    """What replies say about carriers."""

    def test_challenge(self) -> None:
        """A 401 asks for what C{Authorization} may have: Basic, too, for tokens as passwords."""
        answer = InMemoryGateway(OVER).ask("GET /authenticate")
        self.assertEqual(
            answer.headers["www-authenticate"],
            'Basic realm="internal", Bearer realm="machines", Basic realm="machines"',
        )

    def test_challenge_for_api_tokens(self) -> None:
        """Without another Basic challenge a 401 asks for API tokens as passwords."""
        over = {**OVER, "providers": [tokens("usual", USUAL), tokens("k", KEY, credentials=HEADER)]}
        answer = InMemoryGateway(over).ask("GET /authenticate")
        expected = 'Bearer realm="machines", Basic realm="API tokens"'
        self.assertEqual(answer.headers["www-authenticate"], expected)
        answer = InMemoryGateway({**over, "store": None}).ask("GET /authenticate")
        self.assertEqual(answer.headers["www-authenticate"], 'Bearer realm="machines"')

    def test_home(self) -> None:
        """The home page says where each credential stands."""
        page = InMemoryGateway(OVER).ask("GET /").body.decode()
        cells = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td></tr>", page)
        self.assertEqual(
            cells,
            [
                ("internal", "user name and password (Basic)"),
                ("machines", "access token (Bearer)"),
                ("browsers", "access token (cookie __Host-session)"),
                ("machines", "access token (header x-api-key)"),
                ("machines", "access token (query link)"),
                ("machines", "access token (password of Basic)"),
                ("machines", "access token (username of Basic)"),
            ],
        )

    def test_error_of_header(self) -> None:
        """The error of a Bearer token is not said of a token in another header."""
        gateway = InMemoryGateway({**OVER, "auth": {"challenge_errors": True}})
        answer = gateway.ask("GET /authenticate", X_API_Key="x")
        self.assertNotIn("invalid_token", answer.headers["www-authenticate"])
        answer = gateway.ask("GET /authenticate", Authorization="Bearer x")
        self.assertIn("invalid_token", answer.headers["www-authenticate"])

    def test_removed_by_grpc_T27g(self) -> None:
        """Envoy removes by gRPC what carries credentials; other cookies stay."""
        entrances = Entrances()
        session = f"__Host-session={SESSION}"
        for cookies, kept in (
            (f"a=b; {session}; c=d", "a=b; c=d"),
            (f"{session}; a=b", "a=b"),
            (f"a=b;{session}", "a=b"),
            (f"a=b, c; {session}", "a=b, c"),
            ("a=b; c", None),
        ):
            lines = [("Cookie", cookies), ("X-API-Key", "")]
            more = [] if session in cookies else [("Authorization", ALICE)]
            response = entrances.ask_grpc([*lines, *more])
            self.assertEqual(response.says, 200)
            self.assertEqual(response.added.get("cookie"), kept)
            self.assertIn("authorization", response.added)
            self.assertIn("x-api-key", response.removed)
            self.assertNotIn("cookie", response.removed if kept else ())
            self.assertNotIn("authorization", response.removed)
            parameters = response.check.ok_response.query_parameters_to_remove
            self.assertEqual([*parameters], [b"link"])

    def test_unused_is_removed_by_grpc_T27g(self) -> None:
        """What another carrier decides about is removed, too, also a cookie in a bad header."""
        entrances = Entrances()
        for cookie in (f"__Host-session={SESSION}", f"a=b,__Host-session={SESSION}"):
            response = entrances.ask_grpc([("X-API-Key", KEY), ("Cookie", cookie)])
            self.assertEqual(response.says, 200)
            self.assertNotIn("cookie", response.added)
            self.assertLess({"cookie", "x-api-key"}, set(response.removed))

    def test_authorization_is_kept_by_grpc(self) -> None:
        """
        Where neither a provider nor the store looks at C{Authorization}, it stays as the client
        sent it, if the JWT stands in another header.
        """
        key = {"providers": [tokens("key", KEY, credentials=HEADER)]}
        custom = {"profile": "custom", "custom": {"X-JWT": "{jwt}"}}
        off, store = {"enabled": False}, {"type": "memory"}
        for over, answers, is_kept in (
            ({"store": off}, custom, True),
            ({"store": off}, {"profile": "jwt"}, False),
            ({"store": store}, custom, False),
            ({"store": {**store, "credentials": HEADER}}, custom, True),
        ):
            server = {**OVER["server"], "answers": answers}
            more = {**OVER, **key, **over, "server": server, "include_legacy_headers": False}
            entrances = Entrances(more)
            lines = [("X-API-Key", KEY), ("Authorization", "Bearer of-the-backend")]
            response = entrances.ask_grpc(lines)
            self.assertEqual("authorization" not in response.added, is_kept)
            self.assertEqual(response.added.get("x-jwt", "ey")[:2], "ey")
            self.assertNotIn("authorization", response.removed)

    def test_nothing_to_remove_by_grpc(self) -> None:
        """Without the key C{credentials} no cookie or parameter is changed."""
        response = Proxy().check(authorization=ALICE, cookie="a=b")
        self.assertEqual(list(response.added), ["authorization"])
        self.assertEqual([*response.check.ok_response.query_parameters_to_remove], [])

    def test_removed_by_http_T27g(self) -> None:
        """Envoy removes by HTTP the headers that carry credentials, but not the JWT."""
        gateway = InMemoryGateway({**OVER, "include_legacy_headers": False})
        for site in (gateway.public, gateway.entrance):
            answer = gateway.ask("GET /auth/envoy/x", site, X_API_Key=KEY)
            removed = answer.headers["x-envoy-auth-headers-to-remove"].split(",")
            self.assertIn("X-API-Key", removed)
            self.assertNotIn("authorization", [each.lower() for each in removed])

    def test_not_logged_T27f(self) -> None:
        """No log event has a credential, wherever it stands."""
        entrances = Entrances()
        log = EventLoggingObserver()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        canaries = [f"canary{number}" for number in range(9)]
        one, two, three, four, five, six, seven, eight, nine = canaries
        for lines, query in (
            ([("X-API-Key", one)], ""),
            ([("X-API-Key", f"{two},{three}")], ""),
            ([("Cookie", f"__Host-session={four}; x={five}")], ""),
            ([("Cookie", f"a=b, __Host-session={six}")], ""),
            ([], f"?link={seven}"),
            ([], f"?link={seven}&link={eight}"),
            ([("Authorization", basic("x", nine))], ""),
        ):
            self.assertEqual(
                {status for status, _ in entrances.outcomes(lines, f"/{query}")}, {401}
            )
        self.assertGreater(len(list(log)), 50)
        for canary in canaries:
            self.assertNotIn(canary, repr(list(log)))


HEADER = {"header": "X-API-Key"}


class MemoryTests(SynchronousTestCase):
    """Decisions about credentials in other carriers are cached like others."""

    def asked(self, gateway: InMemoryGateway, **headers: Any) -> int:
        """Return how many decisions the cache has after a request."""
        self.assertEqual(gateway.ask("GET /authenticate", **headers).status, 200)
        return gateway.serving.gateway.decisions.remembered()

    def test_one_decision_T27a(self) -> None:
        """What does not decide makes no further decision, and no carrier shares one."""
        gateway = InMemoryGateway(OVER)
        self.assertEqual(self.asked(gateway, X_API_Key=KEY), 1)
        for number in range(20):
            count = self.asked(gateway, X_API_Key=KEY, Authorization=f"Bearer other-{number}")
            self.assertEqual(count, 1)
        self.assertEqual(self.asked(gateway, Cookie=f"x=1; __Host-session={SESSION}"), 2)
        self.assertEqual(self.asked(gateway, Cookie=f"__Host-session={SESSION}; x=2"), 2)
        self.assertEqual(
            gateway.ask("GET /authenticate", Authorization=f"Bearer {KEY}").status, 401
        )

    def test_reload(self) -> None:
        """The fast path reads other carriers after a reload of the configuration."""
        gateway = InMemoryGateway({**OVER, "providers": [tokens("key", KEY)]})
        channel, wire = gateway.connect(gateway.entrance)
        asked = head([("X-API-Key", KEY)])
        channel.dataReceived(asked)
        gateway.serving.gateway = InMemoryGateway(OVER).serving.gateway
        channel.dataReceived(asked)
        self.assertEqual([each.status for each in answered(wire.value())], [401, 200])


class DifferentialTests(SynchronousTestCase):
    """Whatever a client sends, all protocols decide alike."""

    entrances: Entrances | None = None
    asked = 0

    @settings(max_examples=STREAMS)
    @given(lines=some.lists(LINES, max_size=4).map(at_most_once), query=QUERIES)
    def test_any_question_T27a(self, lines: Lines, query: str) -> None:
        """For any headers and any query all protocols give the same answer."""
        if self.entrances is None or self.asked % 50 == 0:  # connections stay open
            self.entrances = Entrances()
        self.asked += 1
        with patch.object(repeats, "ONE_IN", 1):
            found = self.entrances.outcomes(lines, f"/x?{query}")
        self.assertEqual(set(found), {found[0]}, (lines, query))
        self.assertEqual(self.entrances.gateway.handed_over(), 0)


class DocumentedCookieTests(SynchronousTestCase):
    """The example of docs/tokens.md, API tokens in a cookie."""

    def setUp(self) -> None:
        page = (ROOT / "docs/tokens.md").read_text(encoding="utf-8")
        section = page.partition("### API keys in a cookie")[2].partition("\n### ")[0]
        [example] = re.findall(r"^```yaml\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        store = {**yaml.safe_load(example)["store"], "type": "memory"}
        del store["path"]
        self.entrances = Entrances({**OVER, "store": store})
        self.gateway = self.entrances.gateway
        made = self.gateway.post("/tokens", {}, Authorization=ALICE)
        self.token, self.name = made.json()["token"], made.json()["id"]

    def outcomes(self, *lines: tuple[str, str]) -> set[Outcome]:
        return {*self.entrances.outcomes(lines)}

    def test_either(self) -> None:
        """The API token counts in the cookie and in C{Authorization}, by every protocol."""
        cookie = ("Cookie", f"theme=dark; __Host-api-key={self.token}")
        self.assertEqual(self.outcomes(cookie), {(200, "alice")})
        bearer = ("Authorization", f"Bearer {self.token}")
        self.assertEqual(self.outcomes(bearer), {(200, "alice")})
        self.assertEqual(self.outcomes(("Authorization", ALICE)), {(200, "alice")})

    def test_cookie_decides(self) -> None:
        """A cookie with a wrong or revoked API token is refused, whatever else is sent."""
        wrong = ("Cookie", f"__Host-api-key={self.token}x")
        self.assertEqual(self.outcomes(wrong, ("Authorization", ALICE)), {(401, "")})
        self.gateway.post("/tokens/revoke", {"token": self.token})
        revoked = ("Cookie", f"__Host-api-key={self.token}")
        self.assertEqual(self.outcomes(revoked), {(401, "")})

    def test_not_at_the_gateway(self) -> None:
        """The cookie counts on no route of the gateway itself."""
        cookie: dict[str, Any] = {"Cookie": f"__Host-api-key={self.token}"}
        self.assertEqual(self.gateway.ask("GET /whoami", **cookie).status, 401)
        self.assertEqual(self.gateway.ask(f"DELETE /tokens/{self.name}", **cookie).status, 401)
        self.assertEqual(self.gateway.post("/tokens", {}, **cookie).status, 401)

"""C{POST /token/exchange}, and what proxies are told about clients with exchanged tokens."""

from __future__ import annotations

import json
from typing import Any

import jwt
from attrs import define
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from authotron.augmenters import plain
from authotron.jose import keys
from authotron.model.errors import ConfigError, Unavailable
from authotron.model.identity import Addition, Identity
from authotron.model.token import Token
from authotron.plugin.interfaces import IAugmenter
from authotron.stores.memory import MemoryStore
from authotron.testing.worlds import NOW
from tests.web.conversations import ALICE, Answer, InMemoryGateway, basic
from tests.web.entrances import Entrances
from tests.web.test_policies import PROXIED, stated

PEM = keys.generate("EdDSA")
SECRET = "a secret of thirty-two bytes ..."
USERS: list[dict[str, Any]] = [
    {"username": "alice", "password": "wonder", "roles": ["ops", "reader"]},
    {"username": "root", "password": "toor", "roles": ["keeper"]},
]
STAFF = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
SSO = {"type": "jwt", "name": "sso", "realm": "here", "secret": SECRET, "roles_claims": ["roles"]}
ROOT = basic("root", "toor")
FAR = {"X_Forwarded_For": "198.51.100.7"}
NEAR = {"X_Forwarded_For": "10.1.2.3"}
AT_GATE = {**NEAR, "X_Forwarded_Host": "gate"}
DATA = {"X_Forwarded_Host": "data.example.org"}


def over(**given: Any) -> dict[str, Any]:
    """Return a configuration with exchange, two providers and a token store."""
    return {
        "server": {"trusted_proxies": PROXIED},
        "jwt": {
            "iss": "gate",
            "alg": "EdDSA",
            "key": PEM,
            "secret": ...,
            "aud": ["archive", "jobs"],
            "emit_aud": True,
        },
        "providers": [STAFF, SSO],
        "store": {
            "type": "memory",
            "pepper": "a-pepper-of-more-than-16-bytes",
            "admins": {"internal": ["keeper"]},
        },
        "tokens": {"exchange": {}},
        **given,
    }


def sso(**claims: Any) -> str:
    """Return the credential of tess, a JWT of an identity provider that cannot look her up."""
    stated: dict[str, Any] = {
        "sub": "tess",
        "exp": NOW + 600,
        "iat": NOW - 60,
        "jti": "from-sso",
        "roles": ["reader", "writer"],
        "scope": "get put",
        "email": "tess@example.org",
        "team": "blue",
    }
    return "Bearer " + jwt.encode({**stated, **claims}, SECRET, "HS256")


@implementer(IAugmenter)
@define(eq=False)
class Adding:
    """An augmenter that adds the same to each identity."""

    added: Addition
    name: str = "adding"
    type: str = "adding"
    realm: str = "here"
    runs_last: bool = False
    required: bool = False
    timeout: float | None = None

    async def augment(self, identity: Identity) -> Addition:
        return self.added


class Down(MemoryStore):
    """A token store that does not answer."""

    async def get(self, id_: str) -> Token | None:
        raise Unavailable("the store does not answer")


class ExchangeCase(SynchronousTestCase):
    """A gateway whose clients may exchange their credentials."""

    def setUp(self) -> None:
        self.make()

    def make(self, **given: Any) -> None:
        self.gateway = InMemoryGateway(over(**given))

    def augment(self, added: Addition) -> None:
        """Start a gateway with an augmenter that adds something to each identity of tess."""
        self.patch(plain, "make", lambda *_: Adding(added))
        self.make(augmenters=[{"type": "plain", "name": "adding", "realm": "here", "roles": {}}])

    def post(self, authorization: str = ALICE, /, **wish: Any) -> Answer:
        return self.gateway.post("/token/exchange", wish, Authorization=authorization)

    def exchange(self, authorization: str = ALICE, /, **wish: Any) -> dict[str, Any]:
        answer = self.post(authorization, **wish)
        self.assertEqual(answer.status, 200, answer.body)
        found: dict[str, Any] = answer.json()
        return found

    def token(self, authorization: str = ALICE, /, **wish: Any) -> str:
        """Return the credential that a client gets in exchange for its own."""
        return "Bearer " + str(self.exchange(authorization, **wish)["token"])

    def refused(self, authorization: str = ALICE, /, **wish: Any) -> list[str]:
        """Return the problems of a request that is refused."""
        answer = self.post(authorization, **wish)
        self.assertEqual(answer.status, 403, answer.body)
        problems: list[str] = answer.json()["problems"]
        return problems

    def ask(self, authorization: str, uri: str = "/x", method: str = "GET", **more: str) -> Answer:
        """Ask at the site and on the fast path, which must agree, and return the answer."""
        fields = {"Authorization": authorization, **stated(uri, method), **DATA, **NEAR, **more}
        answers = [
            self.gateway.ask("GET /authenticate", site, **fields)
            for site in (self.gateway.public, self.gateway.entrance, self.gateway.entrance)
        ]
        self.assertEqual({each.status for each in answers}, {answers[0].status})
        return answers[0]

    def status(self, *given: str, **more: str) -> int:
        return self.ask(*given, **more).status

    def minted(self, authorization: str, **more: str) -> dict[str, Any]:
        """Return the claims of the JWT that a backend gets."""
        answer = self.ask(authorization, **more)
        self.assertEqual(answer.status, 200, answer.body)
        return contents(answer.headers["authorization"])

    def api_token(self, authorization: str = ALICE, /, **wish: Any) -> dict[str, Any]:
        answer = self.gateway.post("/tokens", wish, Authorization=authorization)
        self.assertEqual(answer.status, 201, answer.body)
        found: dict[str, Any] = answer.json()
        return found

    def revoke(self, id_: str, authorization: str = ALICE) -> None:
        answer = self.gateway.ask(f"DELETE /tokens/{id_}", Authorization=authorization)
        self.assertEqual(answer.status, 204, answer.body)


def contents(bearer: str) -> dict[str, Any]:
    """Return the claims of a JWT, without verifying it."""
    token = bearer.removeprefix("Bearer ")
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


class ExchangeTests(ExchangeCase):
    """What a client gets in exchange for its credential."""

    def test_password(self) -> None:
        """A password is exchanged for a token that stands for the same user for an hour."""
        found = self.exchange()
        self.assertEqual(found["expires"], NOW + 3600)
        self.assertEqual(found["identity"]["roles"], ["ops", "reader"])
        claims = self.minted(f"Bearer {found['token']}")
        self.assertEqual((claims["sub"], claims["roles"]), ("internal-alice", ["ops", "reader"]))
        self.assertLessEqual(claims["exp"], NOW + 300)

    def test_not_for_backends(self) -> None:
        """An exchanged token has a type and an audience of its own, and no claim names the user."""
        token = self.exchange()["token"]
        self.assertEqual(jwt.get_unverified_header(token)["typ"], "exchange+jwt")
        claims = contents(token)
        self.assertEqual((claims["iss"], claims["aud"]), ("gate", "gate"))
        self.assertTrue({"sub", "roles", "username", "scope"}.isdisjoint(claims))

    def test_looked_up(self) -> None:
        """A token does not state what the provider of the user can be asked again."""
        claims = contents(self.exchange()["token"])
        self.assertEqual(claims["owner"], {"realm": "internal", "username": "alice"})

    def test_default_until_end_S_A3SEXCHANGE(self) -> None:
        """A token never ends later than the credential, not even if the default lifetime does."""
        found = self.exchange(sso())
        self.assertEqual(found["expires"], NOW + 600)
        self.assertEqual(self.exchange(f"Bearer {found['token']}")["expires"], NOW + 600)

    def test_too_long_T52(self) -> None:
        """A lifetime beyond the end of the credential, or the configured maximum, is refused."""
        self.assertIn("expires earlier", self.refused(sso(), validity=601)[0])
        self.assertEqual(self.exchange(sso(), validity=600)["expires"], NOW + 600)
        self.assertIn("limit of 30 d", self.refused(validity="31d")[0])
        short = self.token(validity=60)
        self.assertIn("expires earlier", self.refused(short, validity=61)[0])

    def test_expires(self) -> None:
        """A token that has ended is rejected, and the JWTs minted for it end with it."""
        token = self.token(validity=100)
        self.assertEqual(self.minted(token)["exp"], NOW + 100)
        self.gateway.clock.advance(100)
        self.assertEqual(self.status(token), 401)

    def test_malformed(self) -> None:
        """A negative lifetime, an unknown key and a restriction that is no set are refused."""
        wishes: tuple[dict[str, Any], ...] = (
            {"validity": -1},
            {"validity": 0},
            {"unknown": 1},
            {"restrictions": {"hosts": ["a"]}},
            {"restrictions": [{"permissions": []}]},
            {"restrictions": [{"permissions": ["/x"]}]},
            {"restrictions": [{"networks": ["nowhere"]}]},
            {"restrictions": [{"namespace": "x"}]},
            {"restrictions": [{"methods": ["get"]}]},
            {"restrictions": [{"hosts": ["a b"]}]},
        )
        for wish in wishes:
            self.assertEqual(self.post(**wish).status, 400, wish)

    def test_too_much(self) -> None:
        """A request with very many restrictions is refused before they are compared."""
        wild = [f"/*/a/b/c/d/e/f/{each}:GET" for each in range(20)]
        many: tuple[tuple[list[Any], int], ...] = (
            ([{"methods": ["GET"]}] * 17, 400),
            ([{"hosts": ["a"] * 100}, {"hosts": ["b"] * 101}], 400),
            ([{"permissions": ["/" + "x" * 300 + ":GET"]}], 400),
            ([{"permissions": wild}], 403),
            ([{"permissions": wild[:10]}], 200),
        )
        for sets, status in many:
            self.assertEqual(self.post(restrictions=sets).status, status, str(sets)[:80])

    def test_longest_chain(self) -> None:
        """A token has 16 ancestors at most, and 16 restriction sets."""
        token = ALICE
        for _ in range(17):
            token = self.token(token)
        self.assertIn("was exchanged 16 times", self.refused(token)[0])
        first = self.token(restrictions=[{"methods": ["GET", str(each)]} for each in range(10)])
        more = [{"methods": ["GET", str(each)]} for each in range(9, 17)]
        self.assertIn("more than 16 sets", self.refused(first, restrictions=more)[0])

    def test_too_large(self) -> None:
        """A token that would not fit into a header field is refused."""
        bulky = sso(roles=[f"role-{each:04}" for each in range(2_000)])
        self.assertIn("more than 16384", self.refused(bulky)[0])

    def test_unauthenticated(self) -> None:
        """Without a good credential nothing is exchanged."""
        self.assertEqual(self.post("Bearer nonsense").status, 401)

    def test_off(self) -> None:
        """Without the section there is no route, and exchanged tokens are rejected."""
        token = self.token()
        self.make(tokens={})
        self.assertEqual(self.post().status, 404)
        self.assertEqual(self.status(token), 401)


class NarrowingTests(ExchangeCase):
    """Each property of a credential can only be narrowed (T52)."""

    def test_roles_T52(self) -> None:
        """A token grants some roles of its user, and none that the credential lacks."""
        token = self.token(roles=["reader"])
        self.assertEqual(self.minted(token)["roles"], ["reader"])
        self.assertIn("does not have the role 'ops'", self.refused(token, roles=["ops"])[0])
        self.assertEqual(self.minted(self.token(token, roles=[]))["roles"], [])

    def test_scopes_T52(self) -> None:
        """A token grants some scopes of its user, and none that the credential lacks."""
        token = self.token(sso(), scopes={"sso": ["get"]})
        self.assertEqual(self.minted(token)["scopes"], {"sso": ["get"]})
        self.assertIn("scope", self.refused(token, scopes={"sso": ["put"]})[0])
        self.assertEqual(self.minted(self.token(token, scopes={}))["scopes"], {})

    def test_audience_T52(self) -> None:
        """The JWTs minted for a token name some of the audiences, and never others."""
        token = self.token(audience=["jobs"])
        self.assertEqual(self.minted(token)["aud"], ["jobs"])
        self.assertEqual(self.minted(self.token(token))["aud"], ["jobs"])
        for wish in (["archive"], ["jobs", "archive"]):
            self.assertIn("is not an audience", self.refused(token, audience=wish)[0])
        self.assertIn("is not an audience", self.refused(audience=["elsewhere"])[0])

    def test_no_audience(self) -> None:
        """If JWTs name no audience, a token cannot have one: backends that demand it would
        accept more.
        """
        self.make(jwt={**over()["jwt"], "emit_aud": False})
        self.assertIn("name no audience", self.refused(audience=["jobs"])[0])

    def test_audience_removed_S_A3SEXCHANGE(self) -> None:
        """A token whose audiences are no longer configured is rejected."""
        token = self.token(audience=["jobs"])
        before = self.gateway
        self.make(jwt={**over()["jwt"], "aud": ["archive"]})
        self.assertIsNot(before, self.gateway)
        self.assertEqual(self.status(token), 401)

    def test_networks_T52(self) -> None:
        """Each set of networks must contain the client."""
        token = self.token(restrictions=[{"networks": ["10.0.0.0/8"]}])
        self.assertEqual((self.status(token), self.status(token, **FAR)), (200, 403))

    def test_every_set_T52(self) -> None:
        """All sets must allow a request: a second set gives nothing back."""
        first = {"permissions": ["/data/**:GET"]}
        second = {"permissions": ["/**:*"], "methods": ["GET", "PUT"]}
        token = self.token(self.token(restrictions=[first]), restrictions=[second])
        self.assertEqual(self.status(token, "/data/x"), 200)
        self.assertEqual(self.status(token, "/data/x", "PUT"), 403)
        self.assertEqual(self.status(token, "/other"), 403)

    def test_hosts(self) -> None:
        """A token is valid for some hosts alone."""
        token = self.token(restrictions=[{"hosts": ["data.example.org"]}])
        self.assertEqual(self.status(token), 200)
        self.assertEqual(self.status(token, X_Forwarded_Host="other.example.org"), 403)

    def test_namespace(self) -> None:
        """A token is valid in a namespace and below it; without one, requests are in the root."""
        self.make(policy={"default": "allow", "facts": {"namespace": "X-Auth-Namespace"}})
        token = self.token(restrictions=[{"namespace": "/data"}])
        found = [
            self.status(token, X_Auth_Namespace=each) for each in ("/data", "/data/x", "/database")
        ]
        self.assertEqual(found, [200, 200, 403])
        self.assertEqual(self.status(token), 403)

    def test_methods(self) -> None:
        """A token is valid for some methods alone; their case counts."""
        token = self.token(restrictions=[{"methods": ["GET"]}])
        found = [self.status(token, "/x", each) for each in ("GET", "PUT", "get")]
        self.assertEqual(found, [200, 403, 403])

    def test_unstated(self) -> None:
        """A request is refused if the proxy does not state what a restriction depends on."""
        token = self.token(restrictions=[{"permissions": ["/**:*"]}])
        answer = self.gateway.ask("GET /authenticate", Authorization=token)
        self.assertEqual(answer.status, 400)

    def test_ambiguous_path(self) -> None:
        """A path that backends read in different ways is refused, as by policies."""
        token = self.token(restrictions=[{"permissions": ["/data/**:*"]}])
        self.assertEqual(self.status(token, "/data/x%3By"), 400)
        self.assertEqual(self.status(token, "/data/x", "get"), 400)

    def test_whole_chain_S_A3SEXCHANGE(self) -> None:
        """A token of a token of a token keeps each kind of restriction."""
        sets = (
            {"networks": ["10.0.0.0/8"], "hosts": ["data.example.org", "gate"]},
            {"permissions": ["/data/**:*", "-/data/secret/**:*"]},
            {"methods": ["GET", "HEAD"]},
        )
        token = ALICE
        for each in sets:
            answer = self.gateway.post(
                "/token/exchange", {"restrictions": [each]}, Authorization=token, **AT_GATE
            )
            token = f"Bearer {answer.json()['token']}"
        self.assertEqual(self.status(token, "/data/x"), 200)
        self.assertEqual(self.status(token, "/data/x", **FAR), 403)
        self.assertEqual(self.status(token, "/data/x", X_Forwarded_Host="b.example.org"), 403)
        self.assertEqual(self.status(token, "/data/secret/x"), 403)
        self.assertEqual(self.status(token, "/data/x", "POST"), 403)

    def test_exchange_from_elsewhere(self) -> None:
        """Networks and hosts also count for requests to the gateway itself."""
        token = self.token(restrictions=[{"networks": ["10.0.0.0/8"]}])
        for place, status in ((NEAR, 200), (FAR, 403)):
            answer = self.gateway.post("/token/exchange", {}, Authorization=token, **place)
            self.assertEqual(answer.status, status)
        token = self.token(restrictions=[{"hosts": ["gate"]}])
        for host, status in (("gate", 200), ("data.example.org", 403)):
            answer = self.gateway.post(
                "/token/exchange", {}, Authorization=token, X_Forwarded_Host=host
            )
            self.assertEqual(answer.status, status)


class ApiTokenTests(ExchangeCase):
    """An API token that is exchanged."""

    def test_grant_carries_over_T52(self) -> None:
        """Hosts, networks, roles and expiry of an API token limit what comes of it."""
        made = self.api_token(
            roles=["reader"], networks=["10.0.0.0/8"], hosts=["data.example.org", "gate"], ttl=1000
        )
        bearer = f"Bearer {made['token']}"
        answer = self.gateway.post("/token/exchange", {}, Authorization=bearer, **AT_GATE)
        token = f"Bearer {answer.json()['token']}"
        self.assertEqual(answer.json()["expires"], NOW + 1000)
        self.assertEqual(self.minted(token)["roles"], ["reader"])
        self.assertEqual(self.status(token, **FAR), 403)
        self.assertEqual(self.status(token, X_Forwarded_Host="b.example.org"), 403)

    def test_revoked_parent_S_A3SEXCHANGE(self) -> None:
        """Revoking an API token, or an ancestor of it, at once ends all that came of it."""
        first = self.api_token()
        second = self.api_token(f"Bearer {first['token']}")
        token = self.token(self.token(f"Bearer {second['token']}"))
        other = self.token()
        self.assertEqual((self.status(token), self.status(other)), (200, 200))
        self.revoke(first["id"])
        self.assertEqual((self.status(token), self.status(other)), (401, 200))

    def test_revoked_is_not_exchanged_S_A3SEXCHANGE(self) -> None:
        """A revoked API token cannot be swapped for another token."""
        made = self.api_token()
        self.status(bearer := f"Bearer {made['token']}")
        self.revoke(made["id"])
        self.assertEqual(self.post(bearer).status, 401)

    def test_shortened_parent_S_A3SEXCHANGE(self) -> None:
        """If the lifetime of an API token is shortened, what came of it ends with it."""
        made = self.api_token()
        token = self.token(f"Bearer {made['token']}")
        body = json.dumps({"ttl": 10}).encode()
        head = (
            f"PATCH /tokens/{made['id']} HTTP/1.1\r\nHost: gate\r\nAuthorization: {ALICE}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        [answer] = self.gateway.say(head.encode() + body)
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.status(token), 200)
        self.gateway.clock.advance(11)
        self.assertEqual(self.status(token), 401)

    def test_store_disabled(self) -> None:
        """Without the token store nothing that came of an API token is valid."""
        token = self.token(f"Bearer {self.api_token()['token']}")
        self.make(store=...)
        self.assertEqual(self.status(token), 401)

    def test_store_down(self) -> None:
        """While the store does not answer, what came of an API token is unavailable, not wrong."""
        bearer = f"Bearer {self.api_token()['token']}"
        token = self.token(bearer)
        self.assertEqual(self.status(token), 200)
        found = self.gateway.serving.gateway.tokens
        assert found is not None
        found.store.backend = Down()
        self.assertEqual(self.post(bearer).status, 503)
        self.gateway.clock.advance(10)
        self.assertEqual(self.status(token), 503)
        self.assertEqual(self.post().status, 200)

    def test_renamed_provider(self) -> None:
        """No token is issued that would not be accepted, as its provider has another name now."""
        bearer = f"Bearer {self.api_token(sso())['token']}"
        kept = self.gateway.serving.gateway.tokens
        assert kept is not None
        backend = kept.store.backend
        self.make(providers=[STAFF, {**SSO, "name": "renamed"}])
        found = self.gateway.serving.gateway.tokens
        assert found is not None
        found.store.backend = backend
        self.assertEqual(self.status(bearer), 200)
        self.assertIn("is not configured any more", self.refused(bearer)[0])

    def test_no_api_token_T52(self) -> None:
        """An exchanged token cannot create, see or revoke API tokens."""
        made = self.api_token()
        token = self.token()
        answer = self.gateway.post("/tokens", {}, Authorization=token)
        self.assertEqual(answer.status, 403)
        self.assertIn("exchanged token", answer.json()["problems"][0])
        listed = self.gateway.ask("GET /tokens", Authorization=token)
        self.assertEqual(listed.json()["tokens"], [])
        gone = self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=token)
        self.assertEqual(gone.status, 404)

    def test_no_administrator(self) -> None:
        """An exchanged token of an administrator does not manage the tokens of others."""
        made = self.api_token()
        token = self.token(ROOT)
        gone = self.gateway.ask(f"DELETE /tokens/{made['id']}", Authorization=token)
        self.assertEqual(gone.status, 404)
        self.revoke(made["id"], ROOT)


class CloakTests(ExchangeCase):
    """Attributes that backends do not see."""

    RULES: tuple[dict[str, Any], ...] = (
        {"name": "all", "subject": [["realm=here"]], "permissions": ["/**:*"]},
        {"name": "blue", "subject": [["team=blue"]], "permissions": ["-/red/**:*"]},
    )

    def test_hidden(self) -> None:
        """Neither a backend nor the holder of the token sees a cloaked attribute."""
        token = self.token(sso(), cloak=["email"])
        attributes = self.minted(token)["attributes"]
        self.assertNotIn("email", attributes)
        self.assertEqual(attributes["team"], "blue")
        self.assertNotIn("tess", json.dumps(contents(token)))

    def test_all(self) -> None:
        """All attributes can be cloaked, and none is uncloaked by a further exchange."""
        token = self.token(self.token(sso(), cloak=["*"]), cloak=["email"])
        self.assertEqual(self.minted(token)["attributes"], {})

    def test_augmented(self) -> None:
        """An attribute that an augmenter adds is cloaked, too."""
        self.augment(Addition((), {"a": "b"}))
        self.assertNotIn("a", self.minted(self.token(sso(), cloak=["a"]))["attributes"])
        self.assertIn("a", self.minted(self.token(sso()))["attributes"])

    def test_other_claims(self) -> None:
        """Realm, user, roles and scopes are no attributes."""
        for name in ("realm", "username", "role", "scopes", "@source:name"):
            self.assertIn("cloak[0]", self.refused(sso(), cloak=[name])[0])

    def test_named_by_denial_S_A3SCLOAK(self) -> None:
        """A claim that a rule which denies names cannot be cloaked."""
        self.make(policy={"rules": [*self.RULES]})
        for name in ("team", "*"):
            self.assertIn("cannot hide team", self.refused(sso(), cloak=[name])[0])
        self.exchange(sso(), cloak=["email"])

    def test_later_denial_S_A3SCLOAK(self) -> None:
        """A denial that is added later applies to the whole identity."""
        self.make(policy={"rules": [self.RULES[0]]})
        token = self.token(sso(), cloak=["team"])
        self.assertEqual(self.status(token, "/red/x"), 200)
        self.make(policy={"rules": [*self.RULES]})
        self.assertEqual(self.status(token, "/red/x"), 403)
        self.assertEqual(self.status(token, "/blue/x"), 200)

    def test_expiry(self) -> None:
        """Cloaking the expiry of a user does not prolong it."""
        self.augment(Addition((), {"exp": str(NOW + 50)}))
        found = self.exchange(sso(), cloak=["*"])
        self.assertEqual(found["expires"], NOW + 50)
        token = f"Bearer {found['token']}"
        self.assertEqual(self.minted(token)["exp"], NOW + 50)
        self.assertEqual(self.exchange(token)["expires"], NOW + 50)


class PolicyTests(ExchangeCase):
    """Policies for clients with exchanged tokens."""

    RULES: tuple[dict[str, Any], ...] = (
        {"name": "read", "subject": [["role=reader"]], "permissions": ["/data/**:GET,HEAD"]},
        {"name": "no ops", "subject": [["role=ops"]], "permissions": ["-/data/ops/**:*"]},
        {
            "name": "strong",
            "subject": [["realm=here"]],
            "permissions": ["/strong:*"],
            "require": {"acr": ["gold"], "max_age": 100},
        },
    )

    def setUp(self) -> None:
        self.make(policy={"rules": [*self.RULES]})

    def test_policies_count(self) -> None:
        """A restriction gives nothing that the policies do not allow."""
        token = self.token(restrictions=[{"permissions": ["/**:*"]}])
        self.assertEqual(self.status(token, "/data/x"), 200)
        self.assertEqual(self.status(token, "/data/x", "PUT"), 403)

    def test_denied_role_T52(self) -> None:
        """Leaving out a role does not lift what is denied to it."""
        token = self.token(roles=["reader"])
        self.assertEqual(self.status(token, "/data/ops/x"), 403)
        self.assertEqual(self.status(token, "/data/x"), 200)

    def test_login(self) -> None:
        """A token keeps the login of its user, which ages as it does."""
        gold = sso(acr="gold", auth_time=NOW - 10)
        token = self.token(gold)
        self.assertEqual((self.status(gold, "/strong"), self.status(token, "/strong")), (200, 200))
        self.gateway.clock.advance(200)
        self.assertEqual((self.status(gold, "/strong"), self.status(token, "/strong")), (401, 401))

    def test_authz(self) -> None:
        """A client that asks what it may do is told its restrictions, with ids and names."""
        rules = [{"name": "all", "subject": [["realm=internal"]], "permissions": ["*:*"]}]
        self.make(policy={"rules": rules})
        permissions = ["/data/**:GET", "dog:walk:rex,tom", "-dog:*:tom"]
        token = self.token(restrictions=[{"permissions": permissions}])

        def asked(**question: str) -> int:
            bare = token.removeprefix("Bearer ")
            stated = {"token": bare, "namespace": "/", **question}
            return self.gateway.post("/authz", stated, Authorization=ALICE).status

        self.assertEqual(asked(action="GET", resource="/data/x"), 204)
        self.assertEqual(asked(action="PUT", resource="/data/x"), 403)
        found = [asked(action="walk", resource="dog", id=each) for each in ("rex", "tom", "ada")]
        self.assertEqual(found, [204, 403, 403])

    def test_permissions(self) -> None:
        """The permission list of a client has a layer for each of its restriction sets."""
        sets = [
            {"permissions": ["/data/x:GET"], "methods": ["GET"]},
            {"hosts": ["data.example.org", "gate"]},
            {"namespace": "/elsewhere"},
        ]
        token = self.token(restrictions=sets)
        listed = self.gateway.ask(
            "GET /permissions", Authorization=token, site=None, **AT_GATE
        ).json()
        first, second, third = listed["layers"][-3:]
        self.assertEqual(first["rules"][0]["allow"], [{"resource": "/data/x", "verbs": ["GET"]}])
        self.assertEqual(first["rules"][0]["methods"], ["GET"])
        self.assertEqual(second["rules"][0]["hosts"], ["data.example.org", "gate"])
        self.assertEqual(third["rules"], [])

    def test_emitted_claims(self) -> None:
        """The claims in a JWT leave out roles that a token does not grant, and what it cloaks."""
        self.make(jwt={**over()["jwt"], "emit_claims": True})
        token = self.token(sso(), roles=["reader"], cloak=["email"])
        claims = self.minted(token)["identity"]
        self.assertIn("role=reader", claims)
        self.assertIn("@source:name=sso", claims)
        self.assertFalse([each for each in claims if "writer" in each or "email" in each])


class ForgeryTests(ExchangeCase):
    """Tokens that no gateway has issued, and tokens of another gateway."""

    def test_other_key(self) -> None:
        """A token that another key has signed is rejected."""
        token = self.token()
        self.make(jwt={**over()["jwt"], "key": keys.generate("EdDSA")})
        self.assertEqual(self.status(token), 401)

    def test_later_version_T52(self) -> None:
        """A token with a limit that this version does not know is rejected."""
        token = self.token(roles=["reader"], restrictions=[{"methods": ["GET"]}])
        claims, sign = contents(token), self.gateway.serving.gateway.minter.sign
        self.assertEqual(self.status(f"Bearer {sign(claims, 'exchange+jwt')}"), 200)
        unknown: tuple[dict[str, Any], ...] = (
            {"times": ["06:00", "18:00"]},
            {"restrictions": [{"methods": ["GET"], "times": "06:00"}]},
            {"grant": {"roles": ["reader"], "groups": ["x"]}},
            {"cnf": {"jwk": {}}},
        )
        for changed in unknown:
            odd = sign({**claims, **changed}, "exchange+jwt")
            self.assertEqual(self.status(f"Bearer {odd}"), 401, changed)

    def test_changed(self) -> None:
        """A token with changed claims is rejected, and so is one with another type."""
        token = self.token()
        head, body, signature = token.split(".")
        self.assertEqual(self.status(f"{head}.{body[:-4]}AAAA.{signature}"), 401)

    def test_minted_is_no_exchanged_T36(self) -> None:
        """The JWT that a backend gets is not accepted as a credential."""
        answer = self.ask(ALICE)
        self.assertEqual(self.status(answer.headers["authorization"]), 401)

    def test_provider_removed(self) -> None:
        """If the provider of the user is not configured any more, the token is rejected, even if
        there is another provider of the realm.
        """
        token, other = self.token(), self.token(sso())
        richer = {"username": "tess", "password": "x", "roles": ["root"]}
        self.make(providers=[STAFF])
        self.assertEqual((self.status(token), self.status(other)), (200, 401))
        self.make(providers=[STAFF, {**STAFF, "name": "new", "realm": "here", "users": [richer]}])
        self.assertEqual((self.status(token), self.status(other)), (200, 401))

    def test_user_removed(self) -> None:
        """If the provider does not know the user any more, the token is rejected."""
        token = self.token()
        self.make(providers=[{**STAFF, "users": [USERS[1]]}, SSO])
        self.assertEqual(self.status(token), 401)

    def test_role_removed(self) -> None:
        """A token grants the roles that its user has now."""
        token = self.token(roles=["ops"])
        users = [{**USERS[0], "roles": ["reader"]}]
        self.make(providers=[{**STAFF, "users": users}])
        self.assertEqual(self.minted(token)["roles"], [])

    def test_shared_secret(self) -> None:
        """With HS256 each backend could forge tokens, so the combination is refused."""
        with self.assertRaises(ConfigError) as caught:
            InMemoryGateway({"tokens": {"exchange": {}}})
        self.assertIn("tokens.exchange: needs a key pair", str(caught.exception))


class AugmentedTests(ExchangeCase):
    """Roles that augmenters add."""

    def test_added(self) -> None:
        """Augmenters are asked again, and a token grants of their roles only what it lists."""
        self.augment(Addition(("added",)))
        self.assertIn("added", self.minted(self.token(sso()))["roles"])
        self.assertEqual(self.minted(self.token(sso(), roles=["reader"]))["roles"], ["reader"])


class EntranceTests(SynchronousTestCase):
    """Restrictions count at every entrance of the gateway, with cached decisions, too."""

    def test_every_entrance_T52(self) -> None:
        """The site, the fast path, FastCGI and gRPC refuse the same requests."""
        asked = Entrances(over())
        wish = {"restrictions": [{"permissions": ["/data/**:GET"]}]}
        answer = asked.gateway.post("/token/exchange", wish, Authorization=ALICE)
        token = f"Bearer {answer.json()['token']}"
        for _ in range(2):
            for path, status in (("/data/x", 200), ("/other", 403)):
                found = {
                    **asked.ask_protocols(path, token),
                    **asked.ask_http(authorization=token, **stated(path)),
                }
                statuses = {name: each.status for name, each in found.items()}
                self.assertEqual(statuses, dict.fromkeys(found, status))

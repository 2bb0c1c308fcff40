"""C{/permissions}: the list of what the client itself, or another identity, may do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import jsonschema

from authotron.policy import permission_list
from authotron.testing.worlds import NOW
from authotron.web.permission_routes import is_listed
from tests.policy import local
from tests.web.conversations import ALICE, Answer, basic
from tests.web.policy_case import BOB, PDP, AskingCase

SCHEMA = json.loads(
    (resources.files("authotron.web") / "assets" / "permission-list.schema.json").read_text("utf-8")
)


class PermissionsCase(AskingCase):
    """Requests for lists."""

    def mine(self, who: str = BOB, query: str = "", **headers: Any) -> Answer:
        return self.gateway.ask(f"GET /permissions{query}", Authorization=who, **headers)

    def of(self, content: Any, who: str = PDP) -> Answer:
        return self.post("/permissions", content, who)

    def resources(self, answer: Answer) -> list[str]:
        """Return the resources that the first layer of a list allows."""
        rules = answer.json()["layers"][0]["rules"]
        return [each["resource"] for rule in rules for each in rule["allow"]]


class MineTests(PermissionsCase):
    """The list of the client itself."""

    def test_list(self) -> None:
        """The list names claims, namespace and mode, and rules with denies and limits."""
        answer = self.mine()
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        found = answer.json()
        jsonschema.validate(found, SCHEMA, jsonschema.Draft202012Validator)
        [layer] = found.pop("layers")
        self.assertEqual(
            found,
            {
                "version": 1,
                "namespace": "/",
                "mode": "enforce",
                "claims": [
                    "@issuer=gate",
                    "@source:name=staff",
                    "@source:realm=internal",
                    "@source:type=plain",
                    "realm=internal",
                    "role=reader",
                    "username=bob",
                ],
                "login": None,
                "expires": None,
                "max_age": 60,
            },
        )
        self.assertEqual(layer["default"], "deny")
        self.assertEqual(
            layer["rules"][:2],
            [
                {
                    "allow": [{"resource": "/data/**", "verbs": ["GET", "HEAD"]}],
                    "deny": [{"resource": "/data/secret/**", "verbs": ["*"]}],
                },
                {
                    "allow": [{"resource": "/inside", "verbs": ["GET"]}],
                    "deny": [],
                    "networks": ["10.0.0.0/8"],
                },
            ],
        )
        self.assertNotIn("read", answer.body.decode().replace("reader", ""))

    def test_rulings_are_those_of_authz_S_LIST(self) -> None:
        """What a program rules from the list is what C{POST /authz} answers."""
        token = self.token(BOB)
        listed = self.mine(f"Bearer {token}").json()
        now = datetime.fromtimestamp(NOW, UTC)
        for path in ("/data/x", "/data/secret/x", "/inside", "/by-host", "/admin", "/data/x/"):
            for verb in ("GET", "PUT"):
                for address in ("10.1.2.3", "192.0.2.7"):
                    content = {
                        "token": token,
                        "namespace": "/",
                        "resource": path,
                        "action": verb,
                        "ip": address,
                        "host": "a.example.org",
                    }
                    asked = local.Asked(path, verb, None, "a.example.org", address)
                    is_allowed, _ = local.allows(listed, asked, now)
                    expected = 204 if is_allowed else 403
                    self.assertEqual(self.post("/authz", content).status, expected, asked)

    def test_not_authenticated(self) -> None:
        """A list needs a credential."""
        self.assertEqual(self.gateway.ask("GET /permissions").status, 401)
        self.assertEqual(self.post("/permissions", {}, "").status, 401)

    def test_no_policy(self) -> None:
        """Without policies the path does not exist."""
        self.gateway = self.make(policy=...)
        self.assertEqual(self.mine(basic("alice", "wonder")).status, 404)
        self.assertEqual(self.of({}, basic("alice", "wonder")).status, 404)

    def test_namespace_S_ASKER(self) -> None:
        """Only an asker may state another namespace than that of the policy."""
        self.assertEqual(self.mine(query="?namespace=/").status, 200)
        refused = self.mine(query="?namespace=/archive")
        self.assertEqual(refused.status, 403)
        self.assertIn("role of policy.askers may state a namespace", refused.body.decode())
        found = self.mine(PDP, "?namespace=/archive").json()
        self.assertEqual(found["namespace"], "/archive")
        self.assertEqual(self.mine(PDP, "?namespace=archive").status, 422)

    def test_query(self) -> None:
        """Unknown and duplicate parameters are a 400."""
        for query in ("?x=1", "?namespace=/&namespace=/", "?namespace=%FF"):
            self.assertEqual(self.mine(PDP, query).status, 400, query)

    def test_expiry(self) -> None:
        """The list of an API token says when the token expires; the answer does not change."""
        who = f"Bearer {self.token(BOB, ttl=3600)}"
        first = self.mine(who)
        expected = datetime.fromtimestamp(NOW + 3600, UTC).isoformat().replace("+00:00", "Z")
        self.assertEqual(first.json()["expires"], expected)
        self.gateway.clock.advance(600)
        self.assertEqual(self.mine(who).headers["etag"], first.headers["etag"])

    def test_limited_token_S_LISTHIDE(self) -> None:
        """A token that leaves out roles, or is limited to hosts or networks, has further layers."""
        token = self.token(ALICE, roles=["reader"], hosts=["a:80"], networks=["::/0"])
        found = self.of({"token": token}).json()
        jsonschema.validate(found, SCHEMA, jsonschema.Draft202012Validator)
        own, owner, limits = found["layers"]
        self.assertNotIn("/admin/**", json.dumps(own))
        self.assertEqual(owner["default"], "allow")
        [rule] = limits["rules"]
        self.assertEqual((rule["hosts"], rule["networks"]), (["a:80"], ["::/0"]))
        self.assertEqual(rule["allow"], [{"resource": "*", "verbs": ["*"]}])

    def test_too_long(self) -> None:
        """A list that would be too long is a 422."""
        self.patch(permission_list, "MOST_PERMISSIONS", 1)
        self.assertEqual(self.mine().status, 422)

    def test_observed(self) -> None:
        """The list says if the gateway only observes."""
        self.gateway = self.make(policy={"mode": "observe", "default": "allow"})
        found = self.mine().json()
        self.assertEqual((found["mode"], found["layers"][0]["default"]), ("observe", "allow"))


class TagTests(PermissionsCase):
    """C{ETag} and C{If-None-Match}."""

    def test_unchanged(self) -> None:
        """A client that has the list gets a 304 without a body."""
        tag = self.mine().headers["etag"]
        for value in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            answer = self.mine(**{"If-None-Match": value})
            self.assertEqual((answer.status, answer.body), (304, b""), value)
            self.assertEqual(answer.headers["etag"], tag)
            self.assertNotIn("content-length", answer.headers)

    def test_changed(self) -> None:
        """Another tag, and the tag of another identity, get the whole list."""
        tag = self.mine(ALICE).headers["etag"]
        for value in (tag, '"x"', tag.strip('"'), ""):
            self.assertEqual(self.mine(**{"If-None-Match": value}).status, 200, value)

    def test_rules_changed(self) -> None:
        """Other rules have another tag."""
        tag = self.mine().headers["etag"]
        self.gateway = self.make(policy={"rules": self.rules[:2], "askers": ["asker"]})
        self.assertNotEqual(self.mine().headers["etag"], tag)

    def test_caches(self) -> None:
        """Only the client may keep the list, and must ask each time whether it is current."""
        headers = self.mine().headers
        self.assertEqual(headers["cache-control"], "private, no-cache")
        self.assertIn("Authorization", headers["vary"])
        self.assertEqual(self.of({}).headers["cache-control"], "no-store")

    def test_head(self) -> None:
        """A HEAD request gets the tag alone."""
        answer = self.gateway.ask("HEAD /permissions", Authorization=BOB)
        self.assertEqual(
            (answer.status, answer.headers["etag"]), (200, self.mine().headers["etag"])
        )

    def test_malformed(self) -> None:
        """Malformed lists of tags match nothing, and take no long time."""
        for value in ('"', "x" * 4000, '"' * 4000, "W/" * 2000, '" "', ",,,"):
            self.assertFalse(is_listed('"a"', [value]), value[:10])
        self.assertTrue(is_listed('"a"', ['"b"', 'W/"a"']))


class OfOthersTests(PermissionsCase):
    """Lists of other identities."""

    def test_claims(self) -> None:
        """An asker gets the list of an identity with the claims that it states."""
        answer = self.of({"claims": ["role=ops", "role=ops", "x=y"]})
        jsonschema.validate(answer.json(), SCHEMA, jsonschema.Draft202012Validator)
        self.assertEqual(self.resources(answer), ["/admin/**", "dog"])
        self.assertEqual(answer.json()["claims"], ["role=ops", "x=y"])
        self.assertEqual(self.of({"claims": []}).json()["layers"][0]["rules"], [])

    def test_token(self) -> None:
        """An asker gets the list of the bearer of a token; a bad token is a 401."""
        answer = self.of({"token": self.token(BOB)})
        self.assertIn("username=bob", answer.json()["claims"])
        for token in ("x", "", "a b", "aot_" + "0" * 60):
            refused = self.of({"token": token})
            self.assertEqual(refused.status, 401, token)
            self.assertEqual(refused.json(), {"error": "The token is not valid"})

    def test_namespace_S_ASKER(self) -> None:
        """An asker states the namespace of the list."""
        answer = self.of({"claims": ["role=reader"], "namespace": "/archive"})
        self.assertIn("/old", self.resources(answer))
        self.assertEqual(self.of({"namespace": "archive"}).status, 422)

    def test_not_an_asker_S_ASKER(self) -> None:
        """Other clients get their own list alone, also by their own claims or tokens."""
        own = self.mine().json()
        about_itself: list[Any] = [{}, {"claims": ["role=reader"]}, {"claims": []}]
        for content in about_itself:
            self.assertEqual(self.of(content, BOB).json(), own)
        self.assertEqual(self.of({"token": self.token(BOB)}, BOB).status, 200)
        for content in (
            {"claims": ["role=ops"]},
            {"claims": ["role=reader", "username=alice"]},
            {"token": self.token(ALICE)},
            {"namespace": "/archive"},
        ):
            answer = self.of(content, BOB)
            self.assertEqual(answer.status, 403, content)
            self.assertNotIn("layers", answer.body.decode())

    def test_malformed(self) -> None:
        """Mistakes in the body are a 400, a 415 or a 422, which names them."""
        for content in (
            {"claims": "role=reader"},
            {"claims": ["reader"]},
            {"claims": [1]},
            {"claims": None},
            {"claims": ["a=b"] * 5_001},
            {"claims": ["a=b"], "token": "x"},
            {"token": 1},
            {"namespace": None},
            {"claim": ["a=b"]},
        ):
            self.assertEqual(self.of(content).status, 422, content)
        for body in (b"", b"[]", b"{", b'{"claims": [], "claims": []}'):
            self.assertEqual(self.raw("/permissions", body).status, 400, body)
        self.assertEqual(self.raw("/permissions", b"{}", kind="text/plain").status, 415)

    def test_reserved_tags(self) -> None:
        """An identity does not join a group because an asker states the tag of the group."""
        groups = [{"name": "g", "subject": [["role=ops"]]}]
        rules = [{"name": "r", "subject": [["@group:name=g"]], "permissions": ["/g:GET"]}]
        self.gateway = self.make(policy={"rules": rules, "groups": groups, "askers": ["asker"]})
        self.assertEqual(self.resources(self.of({"claims": ["@group:name=g"]})), [])
        self.assertEqual(self.resources(self.of({"claims": ["role=ops"]})), ["/g"])

    def test_log_S_ASKER(self) -> None:
        """Each list is logged with who asked about whom, and counted."""
        self.of({"claims": ["role=ops"], "namespace": "/archive"})
        self.mine()
        first, second = self.named("policy.listed")
        self.assertEqual((first["by_username"], first["about"]), ("pdp", "role=ops"))
        self.assertEqual((first["namespace"], first["api"]), ("/archive", "permissions"))
        self.assertEqual((second["by_username"], second["about"]), ("bob", "bob in realm internal"))
        self.of({"claims": ["role=ops"]}, BOB)
        self.assertEqual(len(self.named("policy.question.refused")), 1)


class AskerTests(PermissionsCase):
    """Who is an asker."""

    def test_token_without_the_role_S_ASKER(self) -> None:
        """An API token that leaves out the role of an asker may not ask about others."""
        who = f"Bearer {self.token(PDP, roles=[])}"
        self.assertEqual(self.of({"claims": ["role=ops"]}, who).status, 403)
        self.assertEqual(self.of({"claims": ["role=ops"]}, f"Bearer {self.token(PDP)}").status, 200)

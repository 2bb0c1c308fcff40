"""The gate for identities, by itself and wherever identities come from."""

from __future__ import annotations

from typing import Any

import jwt
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.schema import IdentityConfig
from authotron.gateway.identity_check import IdentityCheck
from authotron.model.authentication import Authentication
from authotron.model.errors import BadIdentity, ConfigError
from authotron.model.identity import Identity
from authotron.model.token import IMPORTED
from authotron.tokens import imported
from authotron.tokens.grants import TokenRequest
from tests.model.test_naming import BAD, GOOD
from tests.web.conversations import InMemoryGateway, basic

PLAIN = Identity(
    "here", "alice", ("reader", "fred smith"), {"mail": "a@b.c"}, {"data": ("get", "put")}
)


class AdmitTests(SynchronousTestCase):
    """What passes, and as what."""

    def admit(self, identity: Identity, provider: str = "", **limits: int) -> Identity:
        return IdentityCheck(IdentityConfig(**limits)).admit(identity, provider)

    def refused(self, identity: Identity, provider: str = "", **limits: int) -> str:
        with self.assertRaises(BadIdentity) as caught:
            self.admit(identity, provider, **limits)
        return str(caught.exception)

    def setUp(self) -> None:
        self.logged = self.enterContext(capturedLogs())

    def test_good_T82(self) -> None:
        """A good identity passes as it is, and nothing is logged."""
        self.assertEqual(self.admit(PLAIN), PLAIN)
        for name in GOOD:
            with self.subTest(ascii(name)):
                identity = PLAIN._replace(username=name, realm=name, roles=(name, "b"))
                self.assertEqual(self.admit(identity), identity)
        self.assertEqual(self.logged, [])

    def test_names_T82a(self) -> None:
        """An identity whose user or realm has a bad name is refused, with a reason in ASCII."""
        for why, name in BAD.items():
            with self.subTest(why):
                self.assertIn("name of the user", self.refused(PLAIN._replace(username=name)))
                told = self.refused(PLAIN._replace(realm=name), "idp")
                self.assertIn("provider 'idp': the name of the realm", told)
                self.assertTrue(told.isascii() and told.isprintable())

    def test_roles_T82b(self) -> None:
        """A bad role is left out, with one warning for all; the others stay in their order."""
        bad = {why: role for why, role in BAD.items() if why not in ("tab inside", "long")}
        for why, role in bad.items():
            with self.subTest(why):
                admitted = self.admit(PLAIN._replace(roles=("b", role, "a", "b")))
                self.assertEqual(admitted.roles, ("b", "a", "b"))
        self.admit(PLAIN._replace(roles=tuple(bad.values())))
        self.assertEqual(len(self.logged), len(bad) + 1)
        last = self.logged[-1]
        self.assertEqual(last["event"], "auth.identity.left_out")
        self.assertEqual((last["count"], last["username"]), (len(bad), "alice"))
        self.assertTrue(last["example"].isascii() and last["example"].isprintable())

    def test_tab_T82b(self) -> None:
        """A tab inside a role or a scope stays; at an end it makes the role a bad one."""
        admitted = self.admit(PLAIN._replace(roles=("a\tb", "a\t"), scopes={"s": ("x\ty",)}))
        self.assertEqual((admitted.roles, admitted.scopes), (("a\tb",), {"s": ("x\ty",)}))

    def test_scopes_T82b(self) -> None:
        """A bad scope is left out, and with a service of a bad name all of its scopes."""
        given = {"data": ("get", "put "), "bad\x01": ("all",), "none": ()}
        admitted = self.admit(PLAIN._replace(scopes=given))
        self.assertEqual(admitted.scopes, {"data": ("get",), "none": ()})

    def test_attributes_T82c(self) -> None:
        """Control characters are taken out of attributes; no changed name takes another's place."""
        given = {
            "a\x00": "other",
            "a": "b\r\nc\td\x85",
            "e\x7f": "f\ud800",
            "\x01": "g",
            "h": "\u202ei",
        }
        admitted = self.admit(PLAIN._replace(attributes=given))
        self.assertEqual(admitted.attributes, {"a": "bcd", "e": "f", "h": "\u202ei"})

    def test_one_spelling_T82(self) -> None:
        """All names are in Normalization Form C; the case of letters stays."""
        one, two = "Zoe\u0308", "Zo\xeb"
        admitted = self.admit(Identity(one, one, (one,), {one: one}, {one: (one,)}))
        self.assertEqual(admitted, Identity(two, two, (two,), {two: one}, {two: (two,)}))

    def test_number_T82(self) -> None:
        """More roles, attributes or scopes than the configuration allows are refused."""
        roles = tuple(map(str, range(10)))
        for what, identity in {
            "max_roles": PLAIN._replace(roles=roles),
            "max_attributes": PLAIN._replace(attributes=dict.fromkeys(roles, "x")),
            "max_scopes": PLAIN._replace(scopes=dict.fromkeys(roles[:5], ("x",))),
        }.items():
            with self.subTest(what):
                self.assertEqual(self.admit(identity, "", **{what: 10}), identity)
                self.assertIn(f"auth.identity.{what} is 9", self.refused(identity, "", **{what: 9}))

    def test_size_T82_T62(self) -> None:
        """An identity of more bytes than the configuration allows is refused, wherever they are."""
        text = "\xeb" * 1_000
        for what in (
            {"roles": (text,)},
            {"attributes": {"x": text}},
            {"attributes": {text: "x"}},
            {"scopes": {"x": (text,)}},
            {"scopes": {text: ()}},
        ):
            with self.subTest(list(what)):
                identity = PLAIN._replace(**what)
                self.assertEqual(self.admit(identity, max_bytes=4_000), identity)
                self.assertIn("max_bytes", self.refused(identity, max_bytes=2_000))

    def test_many_roles_T62(self) -> None:
        """By default 3,500 roles of 30 characters pass."""
        roles = tuple(f"role-{number:025}" for number in range(3_500))
        self.assertEqual(self.admit(PLAIN._replace(roles=roles)).roles, roles)

    def test_no_lists_T68(self) -> None:
        """A string in the place of a list is refused, and so is everything that is not a list."""
        for what in (
            {"roles": "admin"},
            {"roles": None},
            {"roles": 5},
            {"roles": {"admin": 1}},
            {"attributes": ["x"]},
            {"attributes": 5},
            {"scopes": ["x"]},
            {"scopes": {"data": "get"}},
            {"scopes": {"data": None}},
        ):
            with self.subTest(what):
                given: dict[str, Any] = what
                self.refused(PLAIN._replace(**given))
        lists: dict[str, Any] = {"roles": ["a"], "scopes": {"data": ["get"]}}
        admitted = self.admit(PLAIN._replace(**lists))
        self.assertEqual((admitted.roles, admitted.scopes), (("a",), {"data": ("get",)}))

    def test_no_strings_T68(self) -> None:
        """What a plugin gives that is not a string is left out; as a name it is refused."""
        odd: dict[str, Any] = {
            "roles": ("a", 5, None),
            "attributes": {"x": 1, 2: "y", "z": "z"},
            "scopes": {"s": ("x", 3)},
        }
        admitted = self.admit(PLAIN._replace(**odd))
        self.assertEqual(admitted.roles, ("a",))
        self.assertEqual((admitted.attributes, admitted.scopes), ({"z": "z"}, {"s": ("x",)}))
        for name in (None, 5, b"alice"):
            with self.subTest(name):
                self.refused(PLAIN._replace(username=name))  # type: ignore[arg-type] # of a plugin


class GatewayTests(SynchronousTestCase):
    """What a client and a proxy see of it, on both ways."""

    def ask(self, path: str, username: str, roles: list[str] | None = None, **over: Any) -> Any:
        user = {"username": username, "password": "p", "roles": roles or []}
        provider = {"type": "plain", "name": "staff", "realm": "internal", "users": [user]}
        self.gateway = gateway = InMemoryGateway(
            {"providers": [provider], "include_legacy_headers": True, **over}
        )
        credentials = basic(username, "p")
        slow = gateway.ask(f"GET {path}", Authorization=credentials)
        fast = gateway.ask(f"GET {path}", gateway.entrance, Authorization=credentials)
        for each in (slow, fast):
            each.headers.pop("date")
        self.assertEqual((slow.status, slow.headers), (fast.status, fast.headers))
        return slow

    def test_forbidden_T82a(self) -> None:
        """A user with a bad name who knows the password gets a 403, and no header says who."""
        for why, name in BAD.items():
            if name and why != "half of a pair":
                with self.subTest(why):
                    answer = self.ask("/authenticate", name)
                    self.assertEqual(answer.status, 403)
                    self.assertEqual(answer.json(), {"error": "Forbidden"})
                    given = {"authorization", "x-auth-username", "www-authenticate"}
                    self.assertEqual(given & answer.headers.keys(), set())
                    text = self.gateway.metrics.text()[0].decode()
                    counted = 'auth_requests_total{realm="unknown",result="forbidden"} 2.0'
                    self.assertIn(counted, text)

    def test_blanks_alone_T37c(self) -> None:
        """A user called by blanks alone does not get in."""
        self.assertEqual(self.ask("/whoami", "  ").status, 403)

    def test_controls_alone_T68b(self) -> None:
        """A user called by control characters alone does not get in."""
        self.assertEqual(self.ask("/whoami", "\x01\x7f").status, 403)

    def test_wrong_password_T82a(self) -> None:
        """Without the password a bad name is a refusal like any other."""
        self.ask("/authenticate", "root ")
        answer = self.gateway.ask("GET /authenticate", Authorization=basic("root ", "wrong"))
        self.assertEqual(answer.status, 401)

    def test_roles_T82b(self) -> None:
        """Bad roles are in no header and no token."""
        answer = self.ask(
            "/authenticate", "alice", ["a", "admin\x01", "admin ", "a\tb", "admin\u200b"]
        )
        self.assertEqual(answer.headers["x-auth-roles"], "a,a\tb")
        claims = jwt.decode(
            answer.headers["authorization"].split()[1], options={"verify_signature": False}
        )
        self.assertEqual(claims["roles"], ["a", "a\tb"])

    def test_one_spelling_T82(self) -> None:
        """A user is one, however the client and the configuration spell the name."""
        for written in ("zoe\u0308", "zo\xeb"):
            self.ask("/authenticate", written)
            for sent in ("zoe\u0308", "zo\xeb"):
                with self.subTest(ascii(written + " " + sent)):
                    answer = self.gateway.ask("GET /whoami", Authorization=basic(sent, "p"))
                    self.assertEqual(answer.json()["username"], "zo\xeb")

    def test_limits_T82_T62(self) -> None:
        """The configuration says how large an identity may be."""
        over = {"auth": {"identity": {"max_roles": 2}}}
        self.assertEqual(self.ask("/authenticate", "alice", ["a", "b"], **over).status, 200)
        self.assertEqual(self.ask("/authenticate", "alice", ["a", "b", "c"], **over).status, 403)

    def test_augmented_T82b(self) -> None:
        """What augmenters add passes the gate, too."""
        augmenter = {
            "type": "plain_advanced",
            "name": "more",
            "realm": "internal",
            "match": {"username": ["alice"]},
            "augment": {"roles": ["admin ", "b"], "attributes": {"x": "y\nz"}},
        }
        answer = self.ask("/whoami", "alice", ["a"], augmenters=[augmenter])
        self.assertEqual(answer.json()["roles"], ["a", "b"])
        self.assertEqual(answer.json()["attributes"], {"x": "yz"})
        over = {"auth": {"identity": {"max_roles": 2}}, "augmenters": [augmenter]}
        self.assertEqual(self.ask("/whoami", "alice", ["a"], **over).status, 403)

    def present(self, owner: Identity) -> Any:
        """What the client gets that presents an imported API token of C{owner}."""
        tokens = self.gateway.serving.gateway.tokens
        assert tokens is not None
        maker = Authentication(owner, IMPORTED + imported.AUTH_O_TRON)
        made = Deferred.fromCoroutine(tokens.make(maker, TokenRequest(), can_look_up=False))
        presented, _ = self.successResultOf(made)
        return self.gateway.ask("GET /whoami", Authorization=f"Bearer {presented.text}")

    def test_stored_T82(self) -> None:
        """The owner of an API token passes the gate, whatever was stored."""
        self.ask("/authenticate", "alice", store={"type": "memory"})
        self.assertEqual(self.present(Identity("there", "root\x01")).status, 403)
        self.assertEqual(self.present(Identity("there ", "root")).status, 403)
        answer = self.present(Identity("there", "zoe\u0308", ("a", "admin "), {"x": "y\n"}))
        self.assertEqual((answer.json()["username"], answer.json()["roles"]), ("zo\xeb", ["a"]))
        self.assertEqual(answer.json()["attributes"], {"x": "y"})

    def test_realms_in_metrics_T100(self) -> None:
        """The realms of imported API tokens make no lines of metrics of their own."""
        self.ask("/authenticate", "alice", store={"type": "memory"})
        for number in range(5):
            self.assertEqual(self.present(Identity(f"realm{number}", "root")).status, 200)
        text = self.gateway.metrics.text()[0].decode()
        self.assertNotIn("realm0", text)
        self.assertIn('auth_requests_total{realm="unknown",result="success"} 5.0', text)
        self.assertIn('auth_requests_total{realm="internal",result="success"} 2.0', text)

    def test_realm_configured_T82(self) -> None:
        """A provider whose realm has a bad name is a mistake of the configuration."""
        for why, realm in BAD.items():
            if realm.strip():
                provider = {"type": "plain", "name": "p", "realm": realm, "users": []}
                with self.subTest(why), self.assertRaises(ConfigError):
                    InMemoryGateway({"providers": [provider]})

"""Identities that act in the name of users, and refresh tokens, at C{POST /oauth/token}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jwt
from twisted.logger import capturedLogs

from authotron.daemon.live_records import LiveRecords
from authotron.gateway.outcomes import Decision
from authotron.model.authentication import Acting, Authentication
from authotron.model.errors import Unavailable
from authotron.model.request import Presented
from authotron.net.world import World
from authotron.providers.plain import Plain
from authotron.testing.worlds import run_at_once
from tests.web.conversations import ALICE, Answer, basic
from tests.web.oauth.cases import ISSUER, OAuthCase
from tests.web.oauth.test_token import ACCESS, AUTHORIZATION, GRANT, JWT

PORTAL, ROBOT, ROOT = basic("portal", "p"), basic("robot", "r"), basic("root", "toor")
USERS: list[dict[str, Any]] = [
    {"username": "alice", "password": "wonder", "roles": ["reader", "writer"]},
    {"username": "root", "password": "toor", "roles": ["reader", "keeper"]},
    {"username": "service", "password": "secret", "roles": ["inspector"]},
]
SERVICES: list[dict[str, Any]] = [
    {"username": "portal", "password": "p", "roles": ["reader", "frontend"]},
    {"username": "robot", "password": "r", "roles": ["reader"]},
]
RULES: list[dict[str, Any]] = [
    {"name": "all", "subject": [["role=reader"]], "permissions": ["/data/**:*"]},
    {"name": "mine", "subject": [["username=alice"]], "permissions": ["/home/**:*"]},
    {"name": "no", "subject": [["username=portal"]], "permissions": ["-/data/private/**:*"]},
]


async def unavailable(*_: object) -> None:
    """Take the place of a token store that does not answer."""
    raise Unavailable("out of order")


class DelegationCase(OAuthCase):
    """A gateway at which services with the role frontend may act for users of one realm."""

    def make(self, **over: Any) -> Any:
        usual = {
            "providers": [
                {"type": "plain", "name": "staff", "realm": "internal", "users": USERS},
                {"type": "plain", "name": "apps", "realm": "services", "users": SERVICES},
            ],
            "store": {
                "type": "memory",
                "pepper": "a-pepper-of-more-than-16-bytes",
                "admins": {"internal": ["keeper"]},
            },
            "tokens": {
                "exchange": {},
                "refresh": {},
                "delegates": {"frontend": ["internal"]},
                "introspectors": ["inspector"],
            },
        }
        return super().make(**{**usual, **over})

    def ask(self, actor: str | None = PORTAL, user: str | None = ALICE, **more: Any) -> Answer:
        given = {
            "grant_type": GRANT,
            "subject_token": user,
            "subject_token_type": AUTHORIZATION,
            "actor_token": actor,
            "actor_token_type": AUTHORIZATION,
            **more,
        }
        return self.form("/oauth/token", {name: each for name, each in given.items() if each})

    def token(self, *given: str | None, **more: Any) -> str:
        answer = self.ask(*given, **more)
        self.assertEqual(answer.status, 200, answer.body)
        token: str = answer.json()["access_token"]
        return token

    def refused(self, *given: str | None, **more: Any) -> str:
        answer = self.ask(*given, **more)
        self.assertEqual(answer.status, 400, answer.body)
        text: str = answer.json()["error_description"]
        return text

    def claims(self, token: str) -> dict[str, Any]:
        """Return the claims of the JWT that a backend gets for a token."""
        answer = self.gateway.ask("GET /authenticate", Authorization=f"Bearer {token}")
        self.assertEqual(answer.status, 200, answer.body)
        minted = answer.headers["authorization"].removeprefix("Bearer ")
        found: dict[str, Any] = jwt.decode(minted, options={"verify_signature": False})
        return found

    def status(self, token: str, path: str = "/data/x") -> int:
        fields = {
            "X_Original_URI": path,
            "X_Original_Method": "GET",
            "X_Forwarded_For": "203.0.113.9",
        }
        answers = {
            self.gateway.ask(
                "GET /authenticate", site, Authorization=f"Bearer {token}", **fields
            ).status
            for site in (self.gateway.public, self.gateway.entrance, self.gateway.entrance)
        }
        [status] = answers
        return status


class DelegationTests(DelegationCase):
    """What an identity may do in the name of a user."""

    def test_both_names(self) -> None:
        """The JWT for backends names the user, and the identity that acts for the user."""
        found = self.claims(self.token())
        self.assertEqual((found["sub"], found["username"]), ("internal-alice", "alice"))
        self.assertEqual(found["act"], {"sub": "services-portal"})

    def test_roles_of_both_T52(self) -> None:
        """The token grants the roles that both have."""
        token = self.token()
        self.assertEqual(self.claims(token)["roles"], ["reader"])
        self.assertIn("writer", self.refused(role=["writer"]))

    def test_logged(self) -> None:
        """The log names both."""
        with capturedLogs() as logged:
            self.claims(self.token())
        events = {each.get("event"): each for each in logged}
        self.assertEqual(events["tokens.exchanged"]["username"], "alice")
        self.assertEqual(events["tokens.exchanged"]["by_username"], "portal")
        authenticated = events["auth.request.authenticated"]
        self.assertEqual(authenticated["actor"], "portal in realm services")

    def test_who_may(self) -> None:
        """Without a role of C{tokens.delegates} for the realm of the user none may act."""
        self.assertIn("no role of tokens.delegates", self.refused(ROBOT))
        self.assertIn("for the realm services", self.refused(PORTAL, ROBOT))

    def test_administrators(self) -> None:
        """None may act in the name of an administrator of API tokens."""
        self.assertIn("root is an administrator", self.refused(PORTAL, ROOT))

    def test_ends_with_both_T52(self) -> None:
        """The token ends with the first of the two credentials."""
        short = self.token(None, PORTAL, actor_token_type=None, validity="60")
        answer = self.ask(f"Bearer {short}")
        self.assertEqual(answer.json()["expires_in"], 60)
        short = self.token(None, actor_token_type=None, validity="30")
        self.assertEqual(self.ask(PORTAL, f"Bearer {short}").json()["expires_in"], 30)

    def test_restrictions_of_both_T52(self) -> None:
        """Restrictions of both credentials limit the token."""
        user = self.token(None, actor_token_type=None, restrict_methods="GET HEAD")
        actor = self.token(None, PORTAL, actor_token_type=None, restrict_permissions="/data/**:*")
        token = self.token(f"Bearer {actor}", f"Bearer {user}")
        fitting = {"method": "GET", "uri": "/data/x"}
        self.assertTrue(self.introspect(token, **fitting)["active"])
        for name, value in (("method", "PUT"), ("uri", "/other")):
            stated = {**fitting, name: value}
            self.assertEqual(self.introspect(token, **stated), {"active": False})

    def test_chain(self) -> None:
        """A token to act is exchanged for a narrower one; it still names the actor."""
        narrow = self.token(None, f"Bearer {self.token()}", actor_token_type=None, validity="9")
        self.assertEqual(self.claims(narrow)["act"], {"sub": "services-portal"})

    def test_actor_passes_on(self) -> None:
        """A further actor stands before those from whom it has the right to act."""
        users = [*SERVICES, {"username": "job", "password": "j", "roles": ["reader", "frontend"]}]
        staff = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
        apps = {"type": "plain", "name": "apps", "realm": "services", "users": users}
        self.gateway = self.make(providers=[staff, apps])
        second = self.token(basic("job", "j"), f"Bearer {self.token()}")
        expected = {"sub": "services-job", "act": {"sub": "services-portal"}}
        self.assertEqual(self.claims(second)["act"], expected)
        self.assertIn("acts in the name of another", self.refused(f"Bearer {second}"))

    def test_may_act(self) -> None:
        """A token of the user may name the only identities that may act by it."""
        for names, is_allowed in ((["services/portal"], True), (["services/robot"], False)):
            user = self.token(None, actor_token_type=None, may_act=names)
            answer = self.ask(PORTAL, f"Bearer {user}")
            self.assertEqual(answer.status == 200, is_allowed)
        wider = ["services/robot", "services/portal"]
        text = self.refused(None, f"Bearer {user}", actor_token_type=None, may_act=wider)
        self.assertIn("may not act", text)

    def test_actor_is_gone(self) -> None:
        """If the actor does not exist any more, its tokens end."""
        token = self.token()
        self.assertEqual(self.status(token), 200)
        staff = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
        apps = {"type": "plain", "name": "apps", "realm": "services", "users": SERVICES[1:]}
        over = {**self.gateway.over, "providers": [staff, apps]}
        self.gateway.reload(over)
        self.assertEqual(self.status(token), 401)

    def services(self, **portal: Any) -> dict[str, Any]:
        """Return the configuration with other properties of the service portal."""
        staff = {"type": "plain", "name": "staff", "realm": "internal", "users": USERS}
        users = [{**SERVICES[0], **portal}, *SERVICES[1:]]
        apps = {"type": "plain", "name": "apps", "realm": "services", "users": users}
        return {**self.gateway.over, "providers": [staff, apps]}

    def test_actor_loses_role_T52(self) -> None:
        """If the actor loses a role, the tokens end by which it acts with this role."""
        for roles in (["frontend"], ["reader"]):
            self.gateway = self.make()
            token = self.token()
            self.assertEqual(self.status(token), 200)
            self.gateway.reload(self.services(roles=roles))
            self.assertEqual(self.status(token), 401)
        self.gateway = self.make()
        token = self.token()
        self.gateway.reload(self.services(roles=["reader", "frontend", "more"]))
        self.assertEqual(self.status(token), 200)

    def test_actor_gets_role_in_other_spelling_T82(self) -> None:
        """A role that the actor gets meanwhile is normalized, so that rules that deny find it."""
        token, look_up = self.token(), Plain.look_up

        async def look_up_late(provider: Plain, username: str) -> Authentication:
            found = await look_up(provider, username)
            return found._replace(identity=found.identity.enriched(("cafe\u0301",), {}))

        self.patch(Plain, "look_up", look_up_late)
        self.gateway.reload({**self.gateway.over, "tokens": {**self.gateway.over["tokens"]}})
        self.claims(token)
        [found] = self.actors(token)
        self.assertEqual(found.identity.roles, ("reader", "frontend", "caf\u00e9"))

    def actors(self, token: str) -> Sequence[Acting]:
        presented = Presented(f"Bearer {token}".encode())
        decided = self.gateway.serving.gateway.decisions.decide(presented, lambda: None)
        assert isinstance(decided, Decision)
        found = decided.outcome.authentication
        assert found is not None
        assert found.token is not None
        return found.token.actors

    def test_delegates_are_removed_T52(self) -> None:
        """If a reload removes the role from C{tokens.delegates}, the tokens end."""
        token = self.token()
        for delegates in ({}, {"frontend": ["services"]}, {"writer": ["internal"]}):
            tokens = {**self.gateway.over["tokens"], "delegates": delegates}
            self.gateway.reload({**self.gateway.over, "tokens": tokens})
            self.assertEqual(self.status(token), 401, delegates)

    def test_audience_of_both_T52(self) -> None:
        """JWTs name the audiences that both credentials allow; there must be one."""
        jwt_ = {**self.gateway.over["jwt"], "aud": ["a", "b", "c"], "emit_aud": True}
        self.gateway = self.make(jwt=jwt_)
        user = self.token(None, actor_token_type=None, audience=["a", "b"])
        for own, left in ((["b", "c"], ["b"]), (["a", "b", "c"], ["a", "b"])):
            actor = self.token(None, PORTAL, actor_token_type=None, audience=own)
            token = self.token(f"Bearer {actor}", f"Bearer {user}")
            self.assertEqual(self.claims(token)["aud"], left)
            token = self.token(f"Bearer {actor}")
            self.assertEqual(self.claims(token)["aud"], own)
            self.assertIn("audience", self.refused(f"Bearer {actor}", audience=["x"]))
        actor = self.token(None, PORTAL, actor_token_type=None, audience=["c"])
        self.assertIn("in common", self.refused(f"Bearer {actor}", f"Bearer {user}"))

    def test_first_issue_T52(self) -> None:
        """The time of issue is the earlier one, whichever credential has it."""
        actor = self.token(None, PORTAL, actor_token_type=None)
        user = self.token(None, actor_token_type=None)
        began = self.origin(actor)
        self.gateway.clock.advance(100)
        self.assertEqual(self.origin(self.token(f"Bearer {actor}")), began)
        self.assertEqual(self.origin(self.token(PORTAL, f"Bearer {user}")), began)
        self.assertEqual(self.origin(self.token()), began + 100)

    def origin(self, token: str) -> int:
        found: int = jwt.decode(token, options={"verify_signature": False})["origin"]
        return found

    def test_minted_names_actor(self) -> None:
        """Introspection of a JWT for backends names the actor, too."""
        minted = self.token(requested_token_type=JWT)
        self.assertEqual(self.introspect(minted)["act"], {"sub": "services-portal"})

    def test_malformed(self) -> None:
        for more in (
            {"actor_token": "", "actor_token_type": ACCESS},
            {"actor_token_type": ""},
            {"actor_token": "x"},
            {"actor_token_type": "urn:x"},
        ):
            self.assertEqual(self.ask(**more).json()["error"], "invalid_request", more)

    def test_for_backends(self) -> None:
        """A JWT for backends names both, too."""
        minted = self.token(requested_token_type=JWT)
        found = jwt.decode(minted, options={"verify_signature": False})
        self.assertEqual(found["act"], {"sub": "services-portal"})

    def test_off(self) -> None:
        self.gateway = self.make(tokens={"exchange": {}})
        self.assertIn("no role of tokens.delegates", self.refused())

    def test_introspection(self) -> None:
        self.assertEqual(self.introspect(self.token())["act"], {"sub": "services-portal"})


class PolicyTests(DelegationCase):
    """Policies, which must allow a request to the user and to the actor."""

    def make(self, **over: Any) -> Any:
        server = {"trusted_proxies": ["192.0.2.0/24"]}
        return super().make(policy={"rules": RULES}, server=server, **over)

    def statuses(self, paths: Sequence[str], token: str) -> list[int]:
        return [self.status(token, path) for path in paths]

    def test_both_must_be_allowed_T52(self) -> None:
        """What a rule allows to the user alone, or denies to the actor, is not allowed."""
        paths = ("/data/x", "/home/x", "/data/private/x")
        own = self.token(None, actor_token_type=None)
        self.assertEqual(self.statuses(paths, own), [200, 200, 200])
        self.assertEqual(self.statuses(paths, self.token()), [200, 403, 403])

    def test_narrowed_actor_T52(self) -> None:
        """A role that the credential of the actor hides allows nothing to the actor."""
        home = {"name": "f", "subject": [["role=reader2"]], "permissions": ["/home/**:*"]}
        services = [{**SERVICES[0], "roles": ["reader", "frontend", "reader2"]}]
        staff, apps = self.gateway.over["providers"]
        over = {**self.gateway.over, "providers": [staff, {**apps, "users": services}]}
        self.gateway.reload({**over, "policy": {"rules": [*RULES, home]}})
        actor = self.token(None, PORTAL, actor_token_type=None, role=["reader", "frontend"])
        self.assertEqual(self.statuses(["/data/x", "/home/x"], self.token()), [200, 200])
        token = self.token(f"Bearer {actor}")
        self.assertEqual(self.statuses(["/data/x", "/home/x"], token), [200, 403])


class RevocationTests(DelegationCase):
    """Revocations of the user, and of the actor."""

    def make(self, **over: Any) -> Any:
        return super().make(revocation={}, **over)

    def setUp(self) -> None:
        super().setUp()
        records = LiveRecords(self.gateway.serving, World(self.gateway.clock, run_at_once))
        records.start()
        self.addCleanup(records.stop)

    def test_actor_is_revoked(self) -> None:
        """If the tokens of the actor are revoked, so are those by which it acts for others."""
        token = self.token()
        self.assertEqual(self.status(token), 200)
        answer = self.gateway.post(
            "/revocations", {"realm": "services", "username": "portal"}, Authorization=ROOT
        )
        self.assertEqual(answer.status, 201, answer.body)
        self.assertEqual(self.status(token), 401)

    def test_minted_for_revoked_actor(self) -> None:
        """A JWT for backends is not active any more if the actor is revoked that it names."""
        minted = self.token(requested_token_type=JWT)
        self.assertTrue(self.introspect(minted)["active"])
        self.gateway.post(
            "/revocations", {"realm": "services", "username": "portal"}, Authorization=ROOT
        )
        self.assertEqual(self.introspect(minted), {"active": False})


class LogoutTests(DelegationCase):
    """Logging out with a token that came with a refresh token."""

    def make(self, **over: Any) -> Any:
        return super().make(revocation={}, **over)

    def setUp(self) -> None:
        super().setUp()
        records = LiveRecords(self.gateway.serving, World(self.gateway.clock, run_at_once))
        records.start()
        self.addCleanup(records.stop)

    def log_out(self, token: str) -> None:
        answer = self.gateway.ask("POST /logout", Authorization=f"Bearer {token}")
        self.assertEqual(answer.status, 204, answer.body)

    def begin(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(None, actor_token_type=None, refresh="true").json()
        return found

    def refresh(self, text: str) -> Answer:
        given = {"grant_type": "refresh_token", "refresh_token": text}
        return self.form("/oauth/token", given)

    def test_refresh_token_ends_T36(self) -> None:
        """A logout ends the refresh token, and the tokens that were issued for it."""
        first = self.begin()
        second = self.refresh(first["refresh_token"]).json()
        other = self.begin()
        self.log_out(second["access_token"])
        self.assertEqual(self.refresh(second["refresh_token"]).json()["error"], "invalid_grant")
        statuses = [self.status(each["access_token"]) for each in (first, second, other)]
        self.assertEqual(statuses, [401, 401, 200])
        self.assertEqual(self.refresh(other["refresh_token"]).status, 200)

    def test_narrower_token_T52(self) -> None:
        """The bearer of a narrower token ends that token alone."""
        first = self.begin()
        bearer = f"Bearer {first['access_token']}"
        narrow = self.token(None, bearer, actor_token_type=None, validity="60")
        self.log_out(narrow)
        self.assertEqual((self.status(narrow), self.status(first["access_token"])), (401, 200))
        self.assertEqual(self.refresh(first["refresh_token"]).status, 200)

    def test_outage_while_a_login_is_revoked_T42(self) -> None:
        """If the token store fails meanwhile, the client can revoke the refresh token once more."""
        given = self.ask(None, actor_token_type=None, refresh="true").json()
        tokens = self.gateway.serving.gateway.tokens
        assert tokens is not None
        for work in ("record", "add_record", "replace_record"):
            broken = self.patch(type(tokens.store.backend), work, unavailable)
            answer = self.form("/oauth/revoke", {"token": given["refresh_token"]})
            self.assertEqual(answer.status, 503, work)
            broken.restore()
        answer = self.form("/oauth/revoke", {"token": given["refresh_token"]})
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.status(given["access_token"]), 401)


class RefreshTests(DelegationCase):
    """Refresh tokens at the endpoints of OAuth."""

    def begin(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(None, actor_token_type=None, refresh="true").json()
        return found

    def use(self, text: str, **more: str) -> Answer:
        given = {"grant_type": "refresh_token", "refresh_token": text, **more}
        return self.form("/oauth/token", given)

    def test_used(self) -> None:
        first = self.begin()
        answer = self.use(first["refresh_token"])
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        second = answer.json()
        self.assertEqual(self.claims(second["access_token"])["sub"], "internal-alice")
        self.assertEqual(second["expires_in"], 3600)
        self.assertEqual(self.use(first["refresh_token"]).json()["error"], "invalid_grant")
        self.assertEqual(self.use(second["refresh_token"]).json()["error"], "invalid_grant")

    def test_revoked(self) -> None:
        """C{/oauth/revoke} ends the refresh tokens of the login, by any one of them."""
        first = self.begin()
        second = self.use(first["refresh_token"]).json()
        answer = self.form("/oauth/revoke", {"token": first["refresh_token"]}, ALICE)
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.use(second["refresh_token"]).json()["error"], "invalid_grant")

    def test_max_validity_is_lowered_T52(self) -> None:
        """New tokens of a refresh token last no longer than the configuration allows now."""
        text = self.begin()["refresh_token"]
        exchange = {"validity": 60, "max_validity": 60}
        tokens = {**self.gateway.over["tokens"], "exchange": exchange}
        self.gateway.reload({**self.gateway.over, "tokens": tokens})
        self.assertEqual(self.use(text).json()["expires_in"], 60)

    def test_scope(self) -> None:
        text = self.begin()["refresh_token"]
        self.assertEqual(self.use(text, scope="read").json()["error"], "invalid_scope")
        self.assertEqual(self.use(text).status, 200)

    def test_not_to_act(self) -> None:
        """A token to act in the name of a user, or for backends, comes without a refresh token."""
        self.assertIn("comes without a refresh token", self.refused(refresh="true"))
        token = f"Bearer {self.token()}"
        text = self.refused(None, token, actor_token_type=None, refresh="true")
        self.assertIn("comes without a refresh token", text)
        more = {"requested_token_type": JWT, "refresh": "true"}
        self.refused(None, actor_token_type=None, **more)

    def test_metadata(self) -> None:
        found = self.gateway.ask("GET /.well-known/oauth-authorization-server").json()
        self.assertEqual(found["issuer"], ISSUER)
        self.assertEqual(found["grant_types_supported"], [GRANT, "refresh_token"])
        self.gateway = self.make(tokens={"exchange": {}})
        found = self.gateway.ask("GET /.well-known/oauth-authorization-server").json()
        self.assertEqual(found["grant_types_supported"], [GRANT])
        self.assertEqual(self.use("aotr_").json()["error"], "unsupported_grant_type")

"""Refresh tokens: C{POST /token/exchange} with C{refresh}, and C{POST /token/refresh}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from authotron.daemon.live_records import LiveRecords
from authotron.model.errors import ConfigError, Unavailable
from authotron.net.world import World
from authotron.testing.issuers import EDWARDS
from authotron.testing.worlds import NOW, run_at_once
from authotron.tokens.refresh_token import PLACES
from tests.web.bound_case import BoundCase, thumbprint
from tests.web.conversations import ALICE, Answer
from tests.web.test_token_exchange import FAR, PEM, ExchangeCase, over, sso

REFRESH = {"exchange": {"validity": 600}, "refresh": {"idle": 1000, "absolute": 3000}}


async def unavailable(*_: object) -> NoReturn:
    """Fail as a remote service does that cannot be reached."""
    raise Unavailable("out of order")


class RefreshCase(ExchangeCase):
    """A gateway whose clients may request refresh tokens."""

    def make(self, **given: Any) -> None:
        super().make(**{"tokens": REFRESH, **given})

    def begin(self, authorization: str = ALICE, /, **wish: Any) -> dict[str, Any]:
        """Exchange a credential for a token and a refresh token."""
        return self.exchange(authorization, refresh=True, **wish)

    def use(self, text: str, **headers: str) -> Answer:
        return self.gateway.post("/token/refresh", {"refresh_token": text}, **headers)

    def refreshed(self, text: str) -> dict[str, Any]:
        answer = self.use(text)
        self.assertEqual(answer.status, 200, answer.body)
        found: dict[str, Any] = answer.json()
        return found

    def roles(self, issued: dict[str, Any]) -> list[str]:
        found: list[str] = self.minted(f"Bearer {issued['token']}")["roles"]
        return found


class UseTests(RefreshCase):
    """What a client gets for a refresh token."""

    def test_new_tokens(self) -> None:
        """Each use yields a new exchanged token, and a new refresh token."""
        first = self.begin()
        second = self.refreshed(first["refresh_token"])
        third = self.refreshed(second["refresh_token"])
        self.assertEqual(len({each["id"] for each in (first, second, third)}), 3)
        self.assertEqual(len({each["refresh_token"] for each in (first, second, third)}), 3)
        for each in (first, second, third):
            self.assertEqual(self.roles(each), ["ops", "reader"])
            self.assertEqual(each["expires"], NOW + 600)

    def test_only_on_request(self) -> None:
        self.assertNotIn("refresh_token", self.exchange())

    def test_grant_stays(self) -> None:
        """What the first token was limited to, the later ones are limited to as well."""
        wish = {"roles": ["reader"], "restrictions": [{"networks": ["10.0.0.0/8"]}]}
        first = self.begin(**wish, audience=["jobs"], cloak=["none"])
        answer = self.use(first["refresh_token"], X_Forwarded_For="10.1.2.3")
        later = answer.json()
        self.assertEqual(self.roles(later), ["reader"])
        self.assertEqual(self.minted(f"Bearer {later['token']}")["aud"], ["jobs"])
        self.assertEqual(self.status(f"Bearer {later['token']}", **FAR), 403)

    def test_used_from_elsewhere(self) -> None:
        """The networks of a restriction limit where the refresh token can be used."""
        first = self.begin(restrictions=[{"networks": ["10.0.0.0/8"]}])
        self.assertEqual(self.use(first["refresh_token"], **FAR).status, 400)
        self.assertEqual(self.use(first["refresh_token"], X_Forwarded_For="10.1.2.3").status, 200)

    def test_validity(self) -> None:
        """A requested lifetime holds for the later tokens, too."""
        first = self.begin(validity=60)
        self.gateway.clock.advance(100)
        self.assertEqual(self.refreshed(first["refresh_token"])["expires"], NOW + 160)

    def test_roles_of_then_and_now_T52(self) -> None:
        """A later token has the roles that the user had at the login, and still has."""
        first = self.begin()
        self.reconfigure(["reader", "boss"])
        self.assertEqual(self.roles(self.refreshed(first["refresh_token"])), ["reader"])

    def test_user_is_gone(self) -> None:
        """The provider is asked about the user at each use."""
        first = self.begin()
        self.reconfigure(None)
        self.assertEqual(self.use(first["refresh_token"]).status, 400)

    def reconfigure(self, roles: list[str] | None) -> None:
        """Reload with other roles of alice, or without alice; the token store stays open."""
        user = {"username": "alice", "password": "wonder", "roles": roles}
        other = {"username": "bob", "password": "builder", "roles": []}
        staff = {
            "type": "plain",
            "name": "staff",
            "realm": "internal",
            "users": [other if roles is None else user],
        }
        self.gateway.reload(over(providers=[staff], tokens=REFRESH))


class LifetimeTests(RefreshCase):
    """When a refresh token ends."""

    def test_idle(self) -> None:
        """A refresh token that is not used ends, and each use begins the time anew."""
        first = self.begin()
        self.gateway.clock.advance(999)
        second = self.refreshed(first["refresh_token"])
        self.gateway.clock.advance(999)
        third = self.refreshed(second["refresh_token"])
        self.gateway.clock.advance(1000)
        self.assertEqual(self.use(third["refresh_token"]).status, 400)

    def test_absolute(self) -> None:
        """However often they are used, the refresh tokens of a login end; so do their tokens."""
        issued = self.begin()
        for _ in range(3):
            self.gateway.clock.advance(900)
            issued = self.refreshed(issued["refresh_token"])
        self.assertEqual(issued["expires"], NOW + 3000)
        self.gateway.clock.advance(300)
        self.assertEqual(self.use(issued["refresh_token"]).status, 400)
        self.assertEqual(self.status(f"Bearer {issued['token']}"), 401)

    def test_no_look_up(self) -> None:
        """If the provider cannot look up the user, the refresh token ends with the credential."""
        issued = self.begin(sso())
        self.gateway.clock.advance(500)
        issued = self.refreshed(issued["refresh_token"])
        self.assertEqual(issued["expires"], NOW + 600)
        self.gateway.clock.advance(100)
        self.assertEqual(self.use(issued["refresh_token"]).status, 400)

    def test_not_past_the_parent_T52(self) -> None:
        """A refresh token for an API token, or for an exchanged token, ends with it."""
        api_token = self.api_token(ttl=700)["token"]
        issued = self.begin(f"Bearer {api_token}")
        self.gateway.clock.advance(650)
        self.assertEqual(self.refreshed(issued["refresh_token"])["expires"], NOW + 700)
        self.make()
        issued = self.begin(self.token(validity=300))
        self.gateway.clock.advance(200)
        self.assertEqual(self.refreshed(issued["refresh_token"])["expires"], NOW + 300)

    def test_revoked_api_token(self) -> None:
        """If the API token is revoked, the refresh token yields nothing any more."""
        made = self.api_token()
        issued = self.begin(f"Bearer {made['token']}")
        self.revoke(made["id"])
        self.assertEqual(self.use(issued["refresh_token"]).status, 400)


class ReuseTests(RefreshCase):
    """A refresh token that is used twice."""

    def test_reuse_T36(self) -> None:
        """Using a refresh token again ends the refresh tokens of the login."""
        first = self.begin()
        second = self.refreshed(first["refresh_token"])
        self.assertEqual(self.use(first["refresh_token"]).status, 400)
        self.assertEqual(self.use(second["refresh_token"]).status, 400)

    def test_other_logins_stay(self) -> None:
        other, first = self.begin(), self.begin()
        self.refreshed(first["refresh_token"])
        self.use(first["refresh_token"])
        self.assertEqual(self.use(other["refresh_token"]).status, 200)

    def test_issued_tokens_are_revoked(self) -> None:
        """Where tokens can be revoked, those that were issued for the login are revoked at once."""
        self.make(revocation={})
        records = LiveRecords(self.gateway.serving, World(self.gateway.clock, run_at_once))
        records.start()
        self.addCleanup(records.stop)
        first = self.begin()
        second = self.refreshed(first["refresh_token"])
        bearers = [f"Bearer {each['token']}" for each in (first, second)]
        child = self.token(bearers[1])
        self.assertEqual([self.status(each) for each in (*bearers, child)], [200, 200, 200])
        self.use(first["refresh_token"])
        self.assertEqual([self.status(each) for each in (*bearers, child)], [401, 401, 401])

    def test_guessed_T36(self) -> None:
        """Who only knows the place of a refresh token cannot end it."""
        text = self.begin()["refresh_token"]
        other = self.begin()["refresh_token"]
        place = text.split("_")[1]
        self.assertEqual(self.use(other.replace(other.split("_")[1], place)).status, 400)
        self.assertEqual(self.use(text).status, 200)

    def test_outage_keeps_the_token(self) -> None:
        """If the token store or the provider does not answer, the refresh token stays valid."""
        text = self.begin()["refresh_token"]
        tokens = self.gateway.serving.gateway.tokens
        assert tokens is not None
        for work in ("record", "replace_record"):
            broken = self.patch(type(tokens.store.backend), work, unavailable)
            self.assertEqual(self.use(text).status, 503)
            broken.restore()
        staff = self.gateway.serving.gateway.authenticator.providers[0]
        broken = self.patch(type(staff), "look_up", unavailable)
        self.gateway.clock.advance(61)  # the look-up from before is not used any more
        self.assertEqual(self.use(text).status, 503)
        broken.restore()
        self.assertEqual(self.use(text).status, 200)


class RequestTests(RefreshCase):
    """Requests for refresh tokens, and with them."""

    def test_no_credential_T36(self) -> None:
        """A refresh token is no credential, whichever route a client presents it to."""
        text = self.begin()["refresh_token"]
        self.assertEqual(self.status(f"Bearer {text}"), 401)
        self.assertEqual(self.post(f"Bearer {text}").status, 401)

    def test_too_many(self) -> None:
        """A user has a limited number of refresh tokens; another user can have more."""
        for _ in range(PLACES):
            self.begin()
        [problem] = self.refused(refresh=True)
        self.assertIn(f"at most {PLACES} refresh tokens", problem)
        self.begin(sso())
        self.gateway.clock.advance(1000)
        self.begin()

    def test_malformed(self) -> None:
        for content in ({}, {"refresh_token": 5}, {"refresh_token": ""}, {"x": 1}):
            self.assertIn(self.gateway.post("/token/refresh", content).status, (400, 422), content)
        for text in ("x", "aotr_", "x" * 300):
            self.assertIn(self.use(text).status, (400, 422), text)

    def test_off(self) -> None:
        """Without the section there is no such route, and no refresh token."""
        self.make(tokens={"exchange": {}})
        self.assertEqual(self.use("x").status, 404)
        [problem] = self.refused(refresh=True)
        self.assertIn("tokens.refresh is missing", problem)

    def test_configuration(self) -> None:
        """Refresh tokens need the section C{tokens.exchange}, and a token store."""
        for given, part in (
            ({"tokens": {"refresh": {}}}, "needs the section tokens.exchange"),
            ({"store": ...}, "needs a token store"),
            ({"tokens": {**REFRESH, "refresh": {"idle": 10, "absolute": 5}}}, "idle"),
        ):
            error = self.assertRaises(ConfigError, self.make, **given)
            self.assertIn(part, str(error))
        self.assertEqual(over()["tokens"], {"exchange": {}})


class BoundTests(BoundCase):
    """Refresh tokens that are bound to a key (RFC 9449 section 5)."""

    over: Mapping[str, Any] = {
        "server": {"forwarded": {"host": "X-Forwarded-Host"}},
        "jwt": {"alg": "EdDSA", "key": PEM, "secret": ...},
        "store": {"pepper": "a-pepper-of-more-than-16-bytes"},
        "tokens": {"exchange": {}, "refresh": {}},
    }

    def begin(self, **cnf: str) -> Answer:
        wish = {"refresh": True, "cnf": cnf}
        return self.gateway.post("/token/exchange", wish, Authorization=ALICE)

    def use(self, text: str, proof: str | None = None) -> Answer:
        fields = {} if proof is None else {"DPoP": proof}
        return self.gateway.post("/token/refresh", {"refresh_token": text}, **fields)

    def own_proof(self, **changes: Any) -> str:
        claims = {"htm": "POST", "htu": "https://gate/token/refresh", **changes}
        return self.proof(None, **claims)

    def test_proof_is_needed_S_DPOPCHILD(self) -> None:
        """Each use needs a new proof of the key; a use without one uses nothing up."""
        text = self.begin(jkt=thumbprint(self.signer)).json()["refresh_token"]
        used = self.own_proof()
        for _ in range(2):
            self.assertEqual(self.use(text).status, 400)
            answer = self.use(text, self.proof(None))
            self.assertEqual((answer.status, answer.json()), (400, {"error": "invalid_dpop_proof"}))
            answer = self.use(text, self.own_proof())
            self.assertEqual((answer.status, answer.json()["token_type"]), (200, "DPoP"))
            text = answer.json()["refresh_token"]
        text = self.use(text, used).json()["refresh_token"]
        self.assertEqual(self.use(text, used).json(), {"error": "invalid_dpop_proof"})

    def test_other_key_S_DPOPCHILD(self) -> None:
        """A thief without the key cannot use the refresh token."""
        text = self.begin(jkt=thumbprint(EDWARDS)).json()["refresh_token"]
        self.assertEqual(self.use(text, self.own_proof()).status, 400)

    def test_certificate(self) -> None:
        """A certificate cannot be proven to the gateway itself, so there is no refresh token."""
        answer = self.begin(**{"x5t#S256": "A" * 43})
        self.assertEqual(answer.status, 403)
        self.assertIn("bound to a certificate", answer.json()["problems"][0])

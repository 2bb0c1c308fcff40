"""JWTs that the gateway minted, presented back as credentials (C{type: own-jwt})."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import ConfigError
from authotron.testing.worlds import NOW
from tests.web.conversations import ALICE, Answer, InMemoryGateway
from tests.web.test_policies import stated
from tests.web.test_token_exchange import AT_GATE, SSO, STAFF, contents, over, sso

OWN = {"type": "own-jwt", "name": "own", "realm": "internal"}
OWN_HERE = {**OWN, "name": "own-here", "realm": "here"}
RULES = [
    {"name": "staff", "subject": [["@source:name=staff"]], "permissions": ["/staff:*"]},
    {"name": "reader", "subject": [["role=reader"]], "permissions": ["/read:*"]},
    {"name": "no ops", "subject": [["role=ops"]], "permissions": ["-/read:DELETE"]},
]


class OwnJwtTests(SynchronousTestCase):
    """A gateway that accepts its own JWTs."""

    def setUp(self) -> None:
        self.make()

    def make(self, **given: Any) -> None:
        usual = {"providers": [STAFF, SSO, OWN, OWN_HERE]}
        self.gateway = InMemoryGateway(over(**{**usual, **given}))

    def ask(self, authorization: str, uri: str = "/read", method: str = "GET") -> Answer:
        fields = {"Authorization": authorization, **stated(uri, method), **AT_GATE}
        site, fast = (
            self.gateway.ask("GET /authenticate", each, **fields)
            for each in (self.gateway.public, self.gateway.entrance)
        )
        self.assertEqual(site.status, fast.status)
        return site

    def minted(self, authorization: str = ALICE) -> str:
        """Return the credential that a backend could send for a client."""
        answer = self.ask(authorization)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.headers["authorization"]

    def exchanged(self, authorization: str = ALICE, **wish: Any) -> str:
        answer = self.gateway.post("/token/exchange", wish, Authorization=authorization, **AT_GATE)
        self.assertEqual(answer.status, 200, answer.body)
        return f"Bearer {answer.json()['token']}"

    def test_accepted_T36(self) -> None:
        """Where the configuration says so, a minted JWT stands for its user until it ends."""
        jwt = self.minted()
        again = contents(self.minted(jwt))
        self.assertEqual((again["sub"], again["roles"]), ("internal-alice", ["ops", "reader"]))
        self.assertEqual(again["exp"], contents(jwt)["exp"])
        self.gateway.clock.advance(3600)
        self.assertEqual(self.ask(jwt).status, 401)

    def test_not_elsewhere_T36(self) -> None:
        """Only the realms that the configuration names are accepted."""
        jwt = self.minted(sso())
        self.make(providers=[STAFF, SSO, OWN])
        self.assertEqual(self.ask(jwt).status, 401)

    def test_earlier_T36(self) -> None:
        """A JWT from before the provider was configured does not count."""
        self.make(providers=[STAFF, SSO])
        jwt = self.minted()
        self.make()
        self.assertEqual(self.ask(jwt).status, 401)

    def test_source(self) -> None:
        """Policies know which provider verified the user, and deny what they denied."""
        self.make(policy={"rules": RULES})
        jwt = self.minted()
        self.assertEqual(self.ask(jwt, "/staff").status, 200)
        self.assertEqual(self.ask(jwt, "/read", "DELETE").status, 403)

    def test_limits_T52(self) -> None:
        """A JWT that was minted for a token with limits would not have them."""
        body = {"hosts": ["gate"], "roles": ["reader"]}
        made = self.gateway.post("/tokens", body, Authorization=ALICE).json()
        for token in (
            f"Bearer {made['token']}",
            self.exchanged(),
            self.exchanged(restrictions=[{"permissions": ["/read:GET"]}]),
            self.exchanged(sso(), cloak=["email"]),
        ):
            jwt = self.minted(token)
            self.assertEqual(self.ask(jwt).status, 401)
            answer = self.gateway.post("/token/exchange", {}, Authorization=jwt)
            self.assertEqual(answer.status, 401)

    def test_exchanged(self) -> None:
        """
        A JWT can be exchanged, and the result ends with it, and names it and the token for which it
        was minted as its parents.
        """
        jwt = self.minted(sso())
        token = self.exchanged(jwt)
        claims = contents(token)
        self.assertEqual(claims["parents"], ["from-sso", contents(jwt)["jti"]])
        self.assertEqual(claims["exp"], contents(jwt)["exp"])
        self.assertEqual(claims["exp"], NOW + 600)

    def test_profile(self) -> None:
        """A JWT in the profile of RFC 9068 is accepted as well."""
        usual = over()["jwt"]
        self.make(jwt={**usual, "profile": "at+jwt"})
        jwt = self.minted()
        self.assertEqual(contents(self.minted(jwt))["roles"], ["ops", "reader"])
        self.assertEqual(contents(self.minted(self.exchanged(jwt)))["roles"], ["ops", "reader"])

    def test_exchanged_is_no_jwt_T36(self) -> None:
        """An exchanged token is judged as such, and not by the provider of minted JWTs."""
        token = self.exchanged(restrictions=[{"methods": ["PUT"]}])
        self.assertEqual(self.ask(token).status, 403)

    def test_shared_secret_T36(self) -> None:
        """With HS256 each backend could forge such JWTs, so the combination is refused."""
        with self.assertRaises(ConfigError) as caught:
            InMemoryGateway({"providers": [STAFF, OWN]})
        self.assertIn("providers[1].type: needs a key pair", str(caught.exception))

    def test_bytes_unchanged(self) -> None:
        """Without the provider JWTs state no more than before."""
        self.make(providers=[STAFF, SSO])
        further = {"source", "limited", "parents", "origin"}
        self.assertTrue(further.isdisjoint(contents(self.minted(sso()))))

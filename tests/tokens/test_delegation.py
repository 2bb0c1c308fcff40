"""Which identities the token of a user names, and how long an actor may act."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from authotron.config.exchange import ExchangeConfig
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.binding import Binding
from authotron.model.identity import Identity
from authotron.tokens import delegation, exchanged_token
from authotron.tokens.exchange import Bounds, ExchangeRequest, narrowed
from authotron.tokens.exchanged_token import ExchangedToken

PORTAL = Authentication(Identity("services", "portal", ("frontend",)), "apps")
NEAR = Authentication(Identity("internal", "portal", ("frontend",)), "staff")


def alice(**claims: str) -> Authentication:
    return Authentication(Identity("internal", "alice", ("reader",), claims), "staff")


class MayActTests(SynchronousTestCase):
    """The claim C{may_act} of an identity provider."""

    def is_refused(self, actor: Authentication, may_act: object) -> bool:
        user = alice(may_act=may_act if isinstance(may_act, str) else json.dumps(may_act))
        return bool([*delegation.refusals(user, actor, {"frontend": ["internal"]}, {})])

    def test_named(self) -> None:
        self.assertFalse(self.is_refused(PORTAL, {"sub": "services-portal"}))
        self.assertFalse(self.is_refused(NEAR, {"sub": "portal"}))

    def test_other_realm_T52(self) -> None:
        """A user name alone names no identity of another realm."""
        self.assertTrue(self.is_refused(PORTAL, {"sub": "portal"}))

    def test_unusable_T52(self) -> None:
        """A claim that the gateway cannot compare allows none to act."""
        name = "services-portal"
        for each in ("{", [name], name, None, {}, {"sub": [name]}, {"sub": name, "iss": "x"}):
            self.assertTrue(self.is_refused(PORTAL, each), each)


class LimitTests(SynchronousTestCase):
    """Limits of a token by which an actor acts."""

    def narrowed(
        self, user: Authentication, actor: Authentication, *, can_look_up_actor: bool = True
    ) -> ExchangedToken:
        return narrowed(
            user,
            ExchangeRequest(),
            Bounds(ExchangeConfig(validity=7200, max_validity=7200), 600),
            "id",
            1_000.0,
            can_look_up=True,
            actor=actor,
            can_look_up_actor=can_look_up_actor,
        )

    def test_actor_cannot_be_looked_up_T52(self) -> None:
        """If no provider can look up the actor, the token is not valid for long."""
        self.assertEqual(self.narrowed(alice(), PORTAL).expires, 8200)
        found = self.narrowed(alice(), PORTAL, can_look_up_actor=False)
        self.assertEqual(found.expires, 1600)

    def test_bound_T52(self) -> None:
        """The token is bound if one of the two credentials is bound."""
        bound = PresentedToken("t", 1.0, binding=Binding(x5t="c"))
        for user, actor in (
            (alice()._replace(token=bound), PORTAL),
            (alice(), PORTAL._replace(token=bound)),
        ):
            self.assertEqual(self.narrowed(user, actor).binding, Binding(x5t="c"))

    def test_unknown_issue_T42(self) -> None:
        """If it is not known when one credential was issued, a revocation by time finds both."""
        unknown = PresentedToken("t", None)
        self.assertIsNone(self.narrowed(alice(), PORTAL._replace(token=unknown)).issued)
        self.assertIsNone(self.narrowed(alice()._replace(token=unknown), PORTAL).issued)

    def test_cloaked_attributes(self) -> None:
        """The token states in clear no attribute that the credential of the actor cloaks."""
        whole = PORTAL.identity._replace(attributes={"phone": "4711"})
        plain = self.narrowed(alice(), PORTAL._replace(identity=whole))
        cloaking = self.narrowed(alice(), PORTAL._replace(unrestricted=whole))
        for token, is_clear in ((plain, True), (cloaking, False)):
            claims = token.claims("gate", 1_000, lambda content, _id: content[::-1])
            self.assertEqual("4711" in str(claims), is_clear)
            found = exchanged_token.from_claims(claims, lambda hidden, _id: hidden[::-1], "/")
            self.assertEqual(found.actors, token.actors)

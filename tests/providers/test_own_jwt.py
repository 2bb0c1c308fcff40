"""The provider that accepts the JWTs of the gateway itself."""

from __future__ import annotations

from typing import Any

import jwt
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import schema, section
from authotron.jose import keys, minter
from authotron.jose.minter import Minter
from authotron.model.authentication import Acting, Authentication, PresentedToken
from authotron.model.errors import NotConfigured, Rejected
from authotron.model.identity import Credential, Identity
from authotron.model.token import Grant
from authotron.plugin.interfaces import Affinity
from authotron.providers import own_jwt
from authotron.testing.contracts import ProviderContract
from authotron.testing.worlds import NOW, clock_at, make_plugin

PEM = keys.generate("EdDSA")
ALICE = Identity("here", "alice", ("reader",), {"team": "blue"}, {"archive": ("read",)})


def made(**given: Any) -> Minter:
    stated = {"iss": "gate", "alg": "EdDSA", "key": PEM, **given}
    return minter.make(section.read(schema.JwtConfig, stated, "jwt"), clock_at(NOW))


class OwnJwtTests(ProviderContract, SynchronousTestCase):
    """A JWT that the gateway minted, presented back as a credential (T36)."""

    def provider(self, keys: Minter | None = None) -> Any:
        found = make_plugin(own_jwt)
        found.use_keys(keys or made(), "gate")
        return found

    def good(self) -> Credential:
        return self.minted()

    def bad(self) -> Credential:
        return self.minted(made(key=keys.generate("EdDSA")))

    def minted(self, keys: Minter | None = None, **more: Any) -> Credential:
        found = Authentication(**{"identity": ALICE, "provider": "staff", **more})
        return Credential("bearer", (keys or made()).stating_source().mint(found))

    def ask(self, credential: Credential, keys: Minter | None = None) -> Authentication:
        work = ensureDeferred(self.provider(keys).authenticate(credential))
        found: Authentication = self.successResultOf(work)
        return found

    def rejected(self, credential: Credential, keys: Minter | None = None) -> str:
        work = ensureDeferred(self.provider(keys).authenticate(credential))
        return str(self.failureResultOf(work, Rejected).value)

    def test_identity(self) -> None:
        """The identity, its provider and its end are those of the JWT."""
        found = self.ask(self.minted(expires=NOW + 100))
        self.assertEqual((found.identity, found.provider), (ALICE, "staff"))
        self.assertEqual((found.expires, found.fresh_until), (NOW + 100, NOW + 100))
        assert found.token is not None
        self.assertEqual(found.token.issued, NOW)

    def test_origin_T42(self) -> None:
        """The time of issue is that of the token for which a JWT was minted, or not known."""
        origins: tuple[tuple[PresentedToken | None, float | None], ...] = (
            (None, NOW),
            (PresentedToken(), NOW),
            (PresentedToken("x", NOW - 50), NOW - 50),
            (PresentedToken("x"), None),
        )
        for token, issued in origins:
            found = self.ask(self.minted(token=token)).token
            assert found is not None
            self.assertEqual(found.issued, issued)

    def test_limits_T52(self) -> None:
        """A JWT that was minted for a credential with limits is rejected."""
        grant = Grant(hosts=("a",))
        for more in (
            {"conditions": (grant,)},
            {"restriction": Grant()},
            {"token": PresentedToken("x", audience=("a",))},
            {"token": PresentedToken("x", actors=(Acting(ALICE, "staff"),))},
        ):
            self.assertIn("with limits", self.rejected(self.minted(**more)))

    def test_unmarked(self) -> None:
        """A JWT does not count if it does not state for which credential it was minted."""
        token = made().mint(Authentication(ALICE))
        self.assertIn("before a provider", self.rejected(Credential("bearer", token)))

    def test_other_types_T36(self) -> None:
        """Tokens of other types that the gateway signs are rejected."""
        claims = jwt.decode(self.minted().value, options={"verify_signature": False})
        for typ in ("exchange+jwt", "token-introspection+jwt", "statuslist+jwt", "logout+jwt"):
            credential = Credential("bearer", made().sign(claims, typ))
            self.assertIn("another type", self.rejected(credential))
            self.assertIs(self.provider().affinity(credential), Affinity.FOREIGN)

    def test_affinity(self) -> None:
        """The provider is asked about JWTs of this gateway and of its realm alone."""
        affinity = self.provider().affinity
        self.assertIs(affinity(self.minted()), Affinity.LIKELY)
        other = self.minted(identity=ALICE._replace(realm="there"))
        self.assertIs(affinity(other), Affinity.FOREIGN)
        self.assertIn("another realm", self.rejected(other))
        self.assertIs(affinity(self.minted(made(iss="another"))), Affinity.FOREIGN)
        self.assertIs(affinity(Credential("bearer", "opaque")), Affinity.FOREIGN)

    def test_descent_T52(self) -> None:
        """A JWT is revoked with the token for which it was minted, and is as old as that token."""
        parent = PresentedToken("jti", 5.5, ("older",))
        found = self.ask(self.minted(token=parent)).token
        assert found is not None
        self.assertEqual((found.ancestors, found.issued), (("jti", "older"), 5))
        unknown = self.ask(self.minted(token=PresentedToken())).token
        assert unknown is not None
        self.assertEqual((unknown.ancestors, unknown.issued), ((), NOW))

    def test_audience_T52(self) -> None:
        """A JWT that names fewer audiences than are configured now stays limited to them."""
        narrow = made(aud=["a"], emit_aud=True)
        found = self.ask(self.minted(narrow), made(aud=["a", "b"], emit_aud=True))
        assert found.token is not None
        self.assertEqual(found.token.audience, ("a",))
        self.assertIn("audiences", self.rejected(self.minted(narrow), made(aud="c", emit_aud=True)))

    def test_no_keys(self) -> None:
        """Without keys of the gateway the provider is not configured."""
        work = ensureDeferred(make_plugin(own_jwt).authenticate(self.minted()))
        self.failureResultOf(work, NotConfigured)

"""The ids of tokens that have none."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.token_ids import hashed, with_token_id
from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.identity import Credential, Identity

ALICE = Authentication(Identity("internal", "alice"))


class TokenIdTests(SynchronousTestCase):
    """Which tokens get a hash as their id."""

    def test_kept(self) -> None:
        """The id of a token stays; passwords and certificates have none."""
        known = ALICE._replace(token=PresentedToken("jti", 5.0))
        self.assertIs(with_token_id(known, Credential("bearer", "a.b.c")), known)
        for scheme in ("basic", "certificate"):
            self.assertIs(with_token_id(ALICE, Credential(scheme, "x")), ALICE)

    def test_hashed(self) -> None:
        """A token without an id gets its hash, and keeps its time of issue."""
        found = with_token_id(ALICE, Credential("bearer", "opaque"))
        self.assertEqual(found.token, PresentedToken(hashed("opaque")))
        aged = with_token_id(
            ALICE._replace(token=PresentedToken(None, 5.0)), Credential("bearer", "opaque")
        )
        self.assertEqual(aged.token, PresentedToken(hashed("opaque"), 5.0))

    def test_signatures_do_not_matter(self) -> None:
        """Two spellings of one JWT have the same id, and other tokens have others."""
        self.assertEqual(hashed("head.claims.one"), hashed("head.claims.two"))
        texts = ["head.claims.one", "head.other.one", "head.claims", "opaque", "a.b.c.d", ""]
        self.assertEqual(len({*map(hashed, texts)}), len(texts) - 1)
        self.assertEqual(hashed("head.claims"), hashed("head.claims.one"))

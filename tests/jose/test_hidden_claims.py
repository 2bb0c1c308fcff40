"""Parts of tokens that only the gateway can read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.hidden_claims import hidden_claims
from authotron.jose.sealing import sealer
from authotron.model.errors import Rejected

FIRST, SECOND = "a secret of thirty-two bytes ....", "another secret of that length ...."


class HiddenClaimsTests(SynchronousTestCase):
    """Encrypting and decrypting claims."""

    def test_shown(self) -> None:
        """What was hidden is shown again, and two results are never the same."""
        hidden = hidden_claims([FIRST], b"a")
        texts = {hidden.hide('{"user": "alice"}', "1") for _ in range(3)}
        self.assertEqual(len(texts), 3)
        self.assertEqual({hidden.show(each, "1") for each in texts}, {'{"user": "alice"}'})
        self.assertNotIn("alice", "".join(texts))

    def test_replaced(self) -> None:
        """An earlier secret still decrypts, and only the first one encrypts."""
        before, both = hidden_claims([FIRST], b"a"), hidden_claims([SECOND, FIRST], b"a")
        self.assertEqual(both.show(before.hide("x", "1"), "1"), "x")
        with self.assertRaises(Rejected):
            before.show(both.hide("x", "1"), "1")

    def test_rejected(self) -> None:
        """Nothing is shown for another token, another purpose, or after a change."""
        hidden = hidden_claims([FIRST], b"a")
        text = hidden.hide("x", "1")
        for given, id_, purpose in (
            (text, "2", b"a"),
            (text, "1", b"b"),
            (text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:], "1", b"a"),
            (text[:-30], "1", b"a"),
            ("", "1", b"a"),
            ("1.00000000.AAAA", "1", b"a"),
            ("\xe9" * 20, "1", b"a"),
            (sealer([FIRST]).seal("x", "1"), "1", b"a"),
        ):
            with self.assertRaises(Rejected):
                hidden_claims([FIRST], purpose).show(given, id_)

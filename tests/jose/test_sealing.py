"""Sealed signing keys."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.jose.key_ring import UnreadableRing
from authotron.jose.sealing import sealer

OLD, NEW = "an old secret of thirty-two bytes.", "a new secret of thirty-two bytes."


class SealerTests(SynchronousTestCase):
    """What is sealed, and who can open it."""

    def refused(self, text: str, record: str = "ring", *secrets: str) -> str:
        opener = sealer(secrets or (OLD,))
        return str(self.assertRaises(UnreadableRing, opener.open, text, record))

    def test_round_trip(self) -> None:
        """A text is opened with the key that sealed it, and hidden without it."""
        sealed = sealer([OLD]).seal("canary", "ring")
        self.assertEqual(sealer([OLD]).open(sealed, "ring"), "canary")
        self.assertNotIn("canary", sealed)
        self.assertNotEqual(sealed, sealer([OLD]).seal("canary", "ring"))

    def test_other_key(self) -> None:
        """A text that another key has sealed is refused by the name of the configuration key."""
        sealed = sealer([OLD]).seal("canary", "ring")
        self.assertIn("another key than jwt.sealing_key", self.refused(sealed, "ring", NEW))

    def test_previous_key(self) -> None:
        """A further key opens, and the first key seals."""
        both = sealer([NEW, OLD])
        self.assertEqual(both.open(sealer([OLD]).seal("canary", "ring"), "ring"), "canary")
        self.assertEqual(sealer([NEW]).open(both.seal("canary", "ring"), "ring"), "canary")

    def test_other_record(self) -> None:
        """A text that was sealed for one record is not opened for another one."""
        self.assertIn("damaged", self.refused(sealer([OLD]).seal("canary", "ring"), "other"))

    def test_damaged(self) -> None:
        """A text that was changed, shortened or never sealed is refused."""
        sealed = sealer([OLD]).seal("canary", "ring")
        version, name, content = sealed.split(".")
        letter = "A" if content[20] != "A" else "B"
        for text in (
            f"{version}.{name}.{content[:20]}{letter}{content[21:]}",
            f"{version}.{name}.{content[:-4]}",
            f"{version}.{name}.",
            f"{version}.{name}.\u00e9",
        ):
            self.assertIn("damaged", self.refused(text))
        for text in ("", "canary", f"2.{name}.{content}", f"{version}.{name}." + "A" * 200_000):
            self.assertIn("later version", self.refused(text))

    def test_secrets_are_not_printed(self) -> None:
        """The representation has no secret."""
        self.assertNotIn(OLD, repr(sealer([OLD])))

"""C{authotron keys} with keys in files; tests/functional has it with real stores."""

from __future__ import annotations

import json
from functools import partial

from authotron.cli import keys as command
from authotron.jose import ring_keys
from authotron.jose.key_ring import KeyRing, RefusedTransition
from authotron.jose.keys import generate
from authotron.testing.worlds import NOW
from tests.cli.cases import CommandCase
from tests.jose.rings import BY_HAND, DAY, PLAN, pair, ring


class ListTests(CommandCase):
    """What is listed."""

    def test_files(self) -> None:
        """Keys in files are listed without times: the signing key first."""
        pem = generate("ES256")
        old = self.folder.absolute() / "old.pem"
        old.write_text(generate("EdDSA"))
        keys = {"alg": "ES256", "key": pem, "kid": "mine", "previous_key_files": [str(old)]}
        path = self.file(jwt=keys)
        result = self.run_command("keys", "list", "-c", path)
        self.assertEqual(result.exit_code, 0, result.output)
        [header, active, previous] = result.output.splitlines()
        self.assertEqual(header.split()[:3], ["STATE", "KID", "ALGORITHM"])
        self.assertEqual(active.split(), ["active", "mine", "ES256", "-", "-", "-", "-"])
        self.assertEqual(previous.split()[::2], ["retiring", "EdDSA", "-", "-"])
        found = json.loads(self.run_command("keys", "list", "--json", "-c", path).output)
        self.assertEqual([each["state"] for each in found["keys"]], ["active", "retiring"])
        self.assertIsNone(found["version"])

    def test_secret(self) -> None:
        """With HS256 the only key has no id, and its secret is not printed."""
        result = self.run_command("keys", "list", "-c", self.file())
        self.assertEqual(result.output.splitlines()[1].split()[:3], ["active", "-", "HS256"])
        self.assertNotIn("secret", result.output)

    def test_rows(self) -> None:
        """All moments are in UTC, and null if they are not planned."""
        first, second = command._rows(ring("a", "b"), NOW, PLAN)
        self.assertEqual(
            first,
            {
                "state": "active",
                "kid": "a",
                "algorithm": "ES256",
                "published": "2027-01-15T08:00:00Z",
                "signs_from": "2027-01-15T08:00:00Z",
                "signs_until": "2027-02-14T08:00:00Z",
                "gone_from": "2027-02-14T09:01:00Z",
            },
        )
        self.assertEqual((second["signs_until"], second["gone_from"]), (None, None))
        [_, second] = command._rows(ring("a", "b", plan=BY_HAND), NOW, BY_HAND)
        self.assertEqual((second["state"], second["signs_from"]), ("next", None))
        late = [each["kid"] for each in command._rows(ring("a", "b"), NOW + 31 * DAY, PLAN)]
        self.assertEqual(late, ["b", "a"])


class ChangeTests(CommandCase):
    """What the commands change, and what they refuse."""

    def next_(self, found: KeyRing, *, replaces: bool) -> str:
        changed = command._with_next(found, NOW, pair=pair("new"), plan=PLAN, replaces=replaces)
        return " ".join(key.kid for key in changed.keys)

    def test_generate(self) -> None:
        """A next key is added, or takes the place of the present one."""
        self.assertEqual(self.next_(ring("a"), replaces=False), "a new")
        self.assertEqual(self.next_(ring("a", "b"), replaces=True), "a new")
        error = self.assertRaises(
            RefusedTransition, partial(self.next_, ring("a", "b"), replaces=False)
        )
        self.assertIn("key b is next already; promote it, or give --replace", str(error))

    def test_promote(self) -> None:
        """The key that was next when the command began is promoted, or none."""
        found = command._promoted(ring("a", "b"), NOW + DAY, kid="b", plan=PLAN)
        self.assertEqual(found.active(NOW + DAY).kid, "b")
        error = self.assertRaises(
            RefusedTransition,
            partial(command._promoted, ring("a", "c"), NOW, kid="b", plan=PLAN),
        )
        self.assertIn("key b is not next any more", str(error))

    def test_not_in_the_store(self) -> None:
        """Keys in files cannot be changed by the commands."""
        for words in (["generate"], ["promote"], ["retire", "x"]):
            result = self.run_command("keys", *words, "-c", self.file())
            self.assertEqual(result.exit_code, 1)
            self.assertIn("no token store", result.output)

    def test_known_in_no_process(self) -> None:
        """A store in memory is inside the gateway."""
        keys = {"alg": "ES256", "sealing_key": "s" * 32}
        path = self.file(jwt=keys, store={"type": "memory"})
        result = self.run_command("keys", "list", "-c", path)
        self.assertEqual(result.exit_code, 1)
        self.assertIn("type memory is inside the gateway", result.output)

    def test_new_pair(self) -> None:
        """A generated pair has the algorithm of the plan, and its thumbprint as its id."""
        found = ring_keys.new_pair(PLAN)
        self.assertEqual((found.algorithm, len(found.kid)), ("ES256", 43))
        self.assertEqual(ring_keys.load(found).public_key().key_size, 256)  # type: ignore[union-attr] # a key of P-256

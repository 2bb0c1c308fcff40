"""The revocations that follow from what identity providers report."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.transmitters import Transmitter
from authotron.jose.security_events import LOGOUT, EventVerifier, SecurityEvent
from authotron.jose.subject_identifiers import Name, Subject
from authotron.jose.verifier import Verifier
from authotron.policy import expressions
from authotron.policy.rules import Request

ISSUER, NOW = "https://idp.example", 1000.0
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
USER = Name("iss_sub", "u-1", ISSUER)
SESSION = Name("opaque", "s-1")


def event(
    type_: str = f"{CAEP}session-revoked", *, at: float = 900.0, **changes: Any
) -> SecurityEvent:
    given: dict[str, Any] = {"subject": Subject((USER,)), "content": {}, **changes}
    return SecurityEvent(ISSUER, "jti-1", type_, at=at, **given)


class TransmitterTests(SynchronousTestCase):
    """Which credentials an event revokes."""

    def setUp(self) -> None:
        verifier = EventVerifier(ISSUER, ("gate",), 60, Verifier((), None), lambda: NOW)
        users = {"iss_sub": "username", "email": "email"}
        self.transmitter = Transmitter(verifier, "main", users, None, 3600)

    def targets(self, given: SecurityEvent, transmitter: Transmitter | None = None) -> list[Any]:
        found = (transmitter or self.transmitter).revocations([given], NOW)
        return [each.owner or each.claims for each in found]

    def holds(self, expression: str, claims: dict[str, list[str]]) -> bool | None:
        return expressions.compiled(expression).holds(claims, Request("/", "GET"), NOW)

    def test_owner(self) -> None:
        """What was issued to a user before the event is revoked, for as long as it may be valid."""
        [found] = self.transmitter.revocations([event()], NOW)
        self.assertEqual(found.owner, ("main", "u-1"))
        self.assertEqual((found.issued_before, found.until, found.created), (901, 4600, NOW))
        self.assertEqual(found.reason, f"session-revoked from {ISSUER}")

    def test_same_second(self) -> None:
        """A token that was issued in the second of the event is revoked: it may be older."""
        for at in (900.0, 900.999):
            [found] = self.transmitter.revocations([event(at=at)], NOW)
            self.assertEqual(found.issued_before, 901)

    def test_same_id_S_EVENT(self) -> None:
        """A repeated token leads to the same revocation, and another token to another one."""
        first, again = (self.transmitter.revocations([event()], now) for now in (NOW, NOW + 9))
        self.assertEqual(first[0].id, again[0].id)
        other = self.transmitter.revocations([evolve(event(), token="jti-2")], NOW)
        self.assertNotEqual(first[0].id, other[0].id)
        two = self.transmitter.revocations([event(), event(f"{RISC}account-disabled")], NOW)
        self.assertEqual(len({each.id for each in two}), 2)

    def test_other_issuer_S_EVENT(self) -> None:
        """A subject of another issuer is no user of this identity provider."""
        stranger = Name("iss_sub", "u-1", "https://other.example")
        self.assertEqual(self.targets(event(subject=Subject((stranger,)))), [])

    def test_unmapped_format(self) -> None:
        """A format that is not configured names no user; another name of the same user counts."""
        unknown = Name("phone_number", "+1")
        self.assertEqual(self.targets(event(subject=Subject((unknown,)))), [])
        self.assertEqual(self.targets(event(subject=Subject((unknown, USER)))), [("main", "u-1")])
        self.assertEqual(self.targets(event(subject=None)), [])

    def test_claim_S_EVENT(self) -> None:
        """A subject that names a claim revokes the users of the realm who have the claim."""
        odd = 'a"b\\c@x" || true || "ä🙂'
        [text] = self.targets(event(subject=Subject((Name("email", odd),))))
        self.assertTrue(self.holds(text, {"realm": ["main"], "email": ["x", odd]}))
        for claims in ({"realm": ["other"], "email": [odd]}, {"realm": ["main"], "email": ["x"]}):
            self.assertFalse(self.holds(text, claims))
        self.assertFalse(self.holds(text, {"realm": ["main"]}))
        longest = Name("email", '"' * 512)
        [text] = self.targets(event(subject=Subject((longest,))))
        self.assertTrue(self.holds(text, {"realm": ["main"], "email": ['"' * 512]}))

    def test_session(self) -> None:
        """The end of a session revokes its tokens alone, if tokens name their session."""
        both = event(LOGOUT, subject=Subject((USER,), (SESSION,)))
        self.assertEqual(self.targets(both), [("main", "u-1")])
        by_session = evolve(self.transmitter, session_claim="sid")
        [text] = self.targets(both, by_session)
        self.assertTrue(self.holds(text, {"realm": ["main"], "sid": ["s-1"]}))
        self.assertFalse(self.holds(text, {"realm": ["main"], "sid": ["s-2"]}))
        self.assertEqual(self.targets(event(subject=Subject((), (SESSION,)))), [])

    def test_harmless(self) -> None:
        """Events that take nothing from a user revoke nothing."""
        for type_, content in (
            (f"{CAEP}credential-change", {"change_type": "create"}),
            (f"{CAEP}assurance-level-change", {"change_direction": "increase"}),
            (f"{CAEP}device-compliance-change", {"current_status": "compliant"}),
            (f"{RISC}account-enabled", {}),
            ("https://schemas.openid.net/secevent/ssf/event-type/verification", {"state": "x"}),
            ("urn:unknown", {}),
        ):
            self.assertEqual(self.targets(event(type_, content=content)), [], type_)

    def test_revoking(self) -> None:
        """Events that take something from a user revoke, also with a member of an unknown value."""
        for type_, content in (
            (f"{CAEP}credential-change", {"change_type": "revoke"}),
            (f"{CAEP}credential-change", {"change_type": ["create"]}),
            (f"{CAEP}token-claims-change", {"claims": {"role": "x"}}),
            (f"{CAEP}assurance-level-change", {}),
            (f"{RISC}account-disabled", {"reason": "hijacking"}),
            (f"{RISC}account-purged", {}),
        ):
            self.assertEqual(self.targets(event(type_, content=content)), [("main", "u-1")], type_)

    def test_authorization_S_EVENT(self) -> None:
        """A pushed event needs the agreed C{Authorization}, if there is one."""
        self.assertTrue(self.transmitter.is_authorized(None))
        agreed = evolve(self.transmitter, authorization="Bearer agreed")
        self.assertTrue(agreed.is_authorized("Bearer agreed"))
        for given in (None, "", "Bearer", "Bearer agreed ", "bearer agreed", "Bearer agreeü"):
            self.assertFalse(agreed.is_authorized(given))
        self.assertNotIn("agreed", repr(agreed))

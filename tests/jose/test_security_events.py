"""Security event tokens and logout tokens of identity providers."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.jose import jwk
from authotron.jose.jwks import KeySet
from authotron.jose.key_sources import FixedUrl
from authotron.jose.security_events import LOGOUT, EventVerifier, InvalidEvent, SecurityEvent
from authotron.jose.subject_identifiers import Name, Subject
from authotron.jose.verifier import Verifier
from authotron.model.errors import Unavailable
from authotron.testing.issuers import EDWARDS, IDP, NEXT, Signer, forged_jwt, key_set
from authotron.testing.remotes import Action, FakeRemote, Respond, start, web_client
from authotron.testing.worlds import NOW, clock_at

ISSUER, GATE = "https://idp.example", "https://gate.example"
REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
SUBJECT = {"format": "iss_sub", "iss": ISSUER, "sub": "u-1"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": GATE,
    "iat": NOW - 10,
    "jti": "event-1",
    "sub_id": SUBJECT,
    "events": {REVOKED: {"event_timestamp": NOW - 20}},
}
LOGOUT_CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": [GATE, "other"],
    "iat": NOW - 10,
    "exp": NOW + 100,
    "jti": "logout-1",
    "sub": "u-1",
    "sid": "s-1",
    "events": {LOGOUT: {}},
}


def set_of(signer: Signer = IDP, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """Sign a security event token with changed claims; C{None} leaves a claim out."""
    claims = {name: each for name, each in {**CLAIMS, **changes}.items() if each is not None}
    return signer.sign(claims, {"typ": "secevent+jwt", **(header or {})})


def logout_token(signer: Signer = IDP, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """Sign a logout token with changed claims; C{None} leaves a claim out."""
    claims = {name: each for name, each in {**LOGOUT_CLAIMS, **changes}.items() if each is not None}
    return signer.sign(claims, {"typ": "logout+jwt", **(header or {})})


class EventCase(SynchronousTestCase):
    """A verifier of the tokens of one identity provider."""

    def setUp(self) -> None:
        self.clock: Clock = clock_at(NOW)
        self.answer: Action = Respond(key_set(IDP, EDWARDS))
        self.remote = FakeRemote(lambda _: self.answer)
        keys = KeySet(self.clock, FixedUrl(web_client(self.remote), "http://idp.example/certs"))
        verifier = Verifier(jwk.ALGORITHMS, keys)
        self.verifier = EventVerifier(ISSUER, (GATE, "gate"), 60, verifier, self.clock.seconds)


class SecurityEventTests(EventCase):
    """Which security event tokens are accepted, and what they say."""

    def read(self, token: str) -> list[SecurityEvent]:
        return [*self.successResultOf(start(self.verifier.security_events(token)))]

    def refused(self, token: str) -> str:
        failure = self.failureResultOf(start(self.verifier.security_events(token)), InvalidEvent)
        self.assertNotIn("u-1", failure.getErrorMessage())
        error = failure.value
        assert isinstance(error, InvalidEvent)
        return error.code

    def test_accepted(self) -> None:
        """A token that a published key has signed is accepted, with each of its events."""
        [event] = self.read(set_of())
        self.assertEqual((event.issuer, event.token, event.type), (ISSUER, "event-1", REVOKED))
        self.assertEqual(event.subject, Subject((Name("iss_sub", "u-1", ISSUER),)))
        self.assertEqual(event.at, NOW - 20)
        self.assertEqual(len(self.read(set_of(EDWARDS, events={REVOKED: {}, "urn:x": {}}))), 2)
        self.assertEqual(len(self.read(set_of(header={"typ": "application/SecEvent+JWT"}))), 1)

    def test_wrong_key_S_EVENT(self) -> None:
        """A token that another key has signed is refused, whatever key its header offers."""
        self.assertEqual(self.refused(set_of(NEXT)), "invalid_key")
        for offered in ({"jku": "https://evil.example/jwks"}, {"jwk": NEXT.jwk()}):
            token = set_of(NEXT, {"kid": IDP.kid, **offered})
            self.assertEqual(self.refused(token), "invalid_key")
        self.assertEqual({*self.remote.addresses()}, {"idp.example/certs"})

    def test_no_signature_S_EVENT(self) -> None:
        """A token without a signature is refused, in every spelling of the algorithm C{none}."""
        for algorithm in ("none", "None", "", None, "HS256"):
            header = {"alg": algorithm, "kid": IDP.kid, "typ": "secevent+jwt"}
            self.refused(forged_jwt(header, CLAIMS))
            self.refused(forged_jwt(header, CLAIMS, signature=b""))
        for text in ("", "x", "a.b", "a.b.c", "e30.e30.e30", "x" * 70_000):
            self.assertEqual(self.refused(text), "invalid_request")

    def test_other_recipient_S_EVENT(self) -> None:
        """A token of another issuer, or for another audience, is refused before keys are read."""
        for changes, code in (
            ({"iss": "https://evil.example"}, "invalid_issuer"),
            ({"iss": ISSUER + "/"}, "invalid_issuer"),
            ({"iss": None}, "invalid_issuer"),
            ({"aud": "https://other.example"}, "invalid_audience"),
            ({"aud": None}, "invalid_audience"),
            ({"aud": {GATE: 1}}, "invalid_audience"),
            ({"aud": []}, "invalid_audience"),
        ):
            self.assertEqual(self.refused(set_of(**changes)), code)
        self.assertEqual(self.remote.requests, [])

    def test_other_types_S_EVENT(self) -> None:
        """Access tokens, ID tokens and logout tokens are not security event tokens."""
        for typ in ("JWT", "at+jwt", "logout+jwt", None, 5, ["secevent+jwt"]):
            self.refused(set_of(header={"typ": typ}))
        self.assertEqual(self.refused(set_of(events={LOGOUT: {}})), "invalid_request")

    def test_malformed(self) -> None:
        """A token with a claim of a wrong type, or without one that it needs, is refused."""
        malformed: tuple[dict[str, Any], ...] = (
            {"jti": None}, {"jti": ""}, {"jti": 5}, {"jti": "x" * 257},
            {"iat": None}, {"iat": "now"}, {"iat": True}, {"iat": -1},
            {"events": None}, {"events": {}}, {"events": [REVOKED]}, {"events": {REVOKED: None}},
            {"events": {f"urn:{number}": {} for number in range(11)}},
            {"events": {REVOKED: {"event_timestamp": "x"}}},
        )  # fmt: skip
        for changes in malformed:
            self.assertEqual(self.refused(set_of(**changes)), "invalid_request", changes)

    def test_time_S_EVENT(self) -> None:
        """A token from the future, or one that has expired, is refused."""
        self.assertEqual(self.refused(set_of(iat=NOW + 61)), "invalid_request")
        self.assertEqual(self.refused(set_of(exp=NOW - 60)), "invalid_request")
        self.read(set_of(iat=NOW + 59, exp=NOW - 59))

    def test_moment(self) -> None:
        """An event happened when it says, but not after the token was issued, nor in future."""
        for changes, at in (
            ({"events": {REVOKED: {}}}, NOW - 10),
            ({"events": {REVOKED: {}}, "toe": NOW - 30}, NOW - 30),
            ({"events": {REVOKED: {"event_timestamp": (NOW - 20) * 1000}}}, NOW - 10),
            ({"events": {REVOKED: {}}, "iat": NOW + 50}, NOW),
        ):
            self.assertEqual(self.read(set_of(**changes))[0].at, at)

    def test_outage(self) -> None:
        """Without the keys of the issuer there is no verdict."""
        self.answer = Respond(status=500)
        self.failureResultOf(start(self.verifier.security_events(set_of())), Unavailable)

    # Subjects

    def subject(self, sub_id: Any) -> Subject | None:
        return self.read(set_of(sub_id=sub_id))[0].subject

    def test_subject_formats(self) -> None:
        """Subjects are read in each format of RFC 9493."""
        for given, name in (
            ({"format": "email", "email": "a@b.example"}, Name("email", "a@b.example")),
            ({"format": "opaque", "id": "x"}, Name("opaque", "x")),
            ({"format": "account", "uri": "acct:a@b"}, Name("account", "acct:a@b")),
            ({"format": "phone_number", "phone_number": "+1"}, Name("phone_number", "+1")),
            ({"format": "did", "url": "did:x:y"}, Name("did", "did:x:y")),
            ({"format": "uri", "uri": "urn:x"}, Name("uri", "urn:x")),
        ):
            self.assertEqual(self.subject(given), Subject((name,)))

    def test_complex_subject(self) -> None:
        """A complex subject names the user and the session; other parts are noted."""
        session = {"format": "opaque", "id": "s-1"}
        given = {"format": "complex", "user": SUBJECT, "session": session, "tenant": session}
        expected = Subject((Name("iss_sub", "u-1", ISSUER),), (Name("opaque", "s-1"),), others=True)
        self.assertEqual(self.subject(given), expected)
        del given["format"]
        self.assertEqual(self.subject(given), expected)

    def test_aliases_S_EVENT(self) -> None:
        """Several names of one user are read; aliases inside of aliases are refused."""
        email = {"format": "email", "email": "a@b.example"}
        given = {"format": "aliases", "identifiers": [SUBJECT, email]}
        found = self.subject(given)
        assert found is not None
        self.assertEqual([each.form for each in found.users], ["iss_sub", "email"])
        self.refused(set_of(sub_id={"format": "aliases", "identifiers": [given]}))
        self.refused(set_of(sub_id={"format": "aliases", "identifiers": [email] * 17}))

    def test_earlier_drafts(self) -> None:
        """The subject may also stand in the event, as in drafts of CAEP, or in the claim C{sub}."""
        [event] = self.read(set_of(sub_id=None, events={REVOKED: {"subject": SUBJECT}}))
        self.assertEqual(event.subject, Subject((Name("iss_sub", "u-1", ISSUER),)))
        [event] = self.read(set_of(sub_id=None, sub="u-1"))
        self.assertEqual(event.subject, Subject((Name("iss_sub", "u-1", ISSUER),)))
        [event] = self.read(set_of(sub_id=None))
        self.assertIs(event.subject, None)

    def test_malformed_subject_S_EVENT(self) -> None:
        """A subject that is nested, incomplete, or not printable is refused."""
        nested: Any = SUBJECT
        for _ in range(50):
            nested = {"format": "complex", "user": nested}
        malformed: tuple[Any, ...] = (
            nested, {}, [], "u-1", 5, {"format": "complex"}, {"format": "other", "id": "x"},
            {"format": "iss_sub", "sub": "u"}, {"format": "iss_sub", "iss": 5, "sub": "u"},
            {"format": "email"}, {"format": "email", "email": ["a"]}, {"format": ["email"]},
            {"format": "email", "email": "a\nb"}, {"format": "email", "email": "x" * 600},
            {"format": "complex", "user": [SUBJECT]}, {"format": "aliases", "identifiers": {}},
        )  # fmt: skip
        for given in malformed:
            self.assertEqual(self.refused(set_of(sub_id=given)), "invalid_request", given)


class LogoutTests(EventCase):
    """Which logout tokens are accepted."""

    def read(self, token: str) -> SecurityEvent:
        event: SecurityEvent = self.successResultOf(start(self.verifier.logout(token)))
        return event

    def refused(self, token: str) -> str:
        failure = self.failureResultOf(start(self.verifier.logout(token)), InvalidEvent)
        error = failure.value
        assert isinstance(error, InvalidEvent)
        return error.code

    def test_accepted(self) -> None:
        """A logout token names a user, a session or both."""
        event = self.read(logout_token())
        self.assertEqual((event.type, event.token, event.at), (LOGOUT, "logout-1", NOW - 10))
        user, session = Name("iss_sub", "u-1", ISSUER), Name("opaque", "s-1")
        self.assertEqual(event.subject, Subject((user,), (session,)))
        self.assertEqual(self.read(logout_token(sub=None)).subject, Subject((), (session,)))
        for typ in ("JWT", None):
            self.read(logout_token(header={"typ": typ}, sid=None))

    def test_refused_S_EVENT(self) -> None:
        """A token that is not a logout token of this issuer for this gateway is refused."""
        malformed: tuple[dict[str, Any], ...] = (
            {"nonce": "n"}, {"nonce": None, "events": {}}, {"events": {REVOKED: {}}},
            {"events": [LOGOUT]}, {"sub": None, "sid": None}, {"sub": 5}, {"sid": ""},
            {"jti": None}, {"iat": None}, {"exp": NOW - 60},
        )  # fmt: skip
        for changes in malformed:
            self.assertEqual(self.refused(logout_token(**changes)), "invalid_request", changes)
        self.assertEqual(self.refused(logout_token(iss="https://evil")), "invalid_issuer")
        self.assertEqual(self.refused(logout_token(aud="other")), "invalid_audience")
        self.assertEqual(self.refused(logout_token(NEXT)), "invalid_key")
        for typ in ("secevent+jwt", "at+jwt", "dpop+jwt", 5):
            self.refused(logout_token(header={"typ": typ}))

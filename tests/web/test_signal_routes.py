"""Security events and logouts that identity providers push."""

from __future__ import annotations

from typing import Any

from authotron.model.errors import ConfigError, Unavailable
from authotron.testing.issuers import IDP, NEXT, Signer
from authotron.testing.remotes import Respond
from authotron.testing.worlds import NOW
from tests.jose.test_security_events import GATE, ISSUER, logout_token, set_of
from tests.web.conversations import Answer
from tests.web.event_case import EventGatewayCase

SET = "application/secevent+jwt"


class SignalCase(EventGatewayCase):
    """Requests of an identity provider."""

    def push(self, token: str, content_type: str = SET, **headers: str) -> Answer:
        return self.post("/ssf/events", token.encode(), content_type, **headers)

    def post(self, path: str, body: bytes, content_type: str, **headers: str) -> Answer:
        fields = {**headers, "Content-Type": content_type, "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in fields.items()]
        head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: gate", *lines, "", ""])
        [answer] = self.gateway.say(head.encode() + body)
        return answer

    def logout(self, token: str) -> Answer:
        form = f"logout_token={token}".encode()
        return self.post("/backchannel-logout", form, "application/x-www-form-urlencoded")

    def known(self) -> list[Any]:
        revocations = self.serving.gateway.revocations
        assert revocations is not None
        return [*revocations.index.known.values()]

    def access_token(self, issued: int, signer: Signer = IDP, sub: str = "u-1") -> str:
        claims = {"iss": ISSUER, "aud": GATE, "sub": sub, "iat": issued, "exp": NOW + 900}
        return signer.sign(claims)

    def status(self, token: str) -> int:
        return self.gateway.ask("GET /authenticate", Authorization=f"Bearer {token}").status


class PushTests(SignalCase):
    """C{POST /ssf/events} (RFC 8935)."""

    def refused(self, answer: Answer) -> str:
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        content = answer.json()
        self.assertEqual(content.keys(), {"err", "description"})
        return str(content["err"])

    def test_revokes(self) -> None:
        """After an event the earlier tokens of its user are refused, and no others."""
        old, new = self.access_token(NOW - 30), self.access_token(NOW - 5)
        other = self.access_token(NOW - 30, sub="u-2")
        self.assertEqual([self.status(each) for each in (old, new, other)], [200] * 3)
        answer = self.push(set_of())
        self.assertEqual((answer.status, answer.body), (202, b""))
        self.assertEqual([self.status(each) for each in (old, new, other)], [401, 200, 200])

    def test_once_S_EVENT(self) -> None:
        """A token takes effect once: a repeated one is accepted, and revokes nothing again."""
        self.assertEqual(self.push(set_of()).status, 202)
        [found] = self.known()
        self.withdraw(found.id)
        self.assertEqual(self.push(set_of()).status, 202)
        self.assertEqual(self.known(), [])
        self.assertEqual(self.push(set_of(jti="event-2")).status, 202)
        self.assertEqual(len(self.known()), 1)

    def test_refused_S_EVENT(self) -> None:
        """What an attacker could send revokes nothing."""
        for token, err in (
            (set_of(NEXT), "invalid_key"),
            (set_of(iss="https://evil.example"), "invalid_issuer"),
            (set_of(aud="https://other.example"), "invalid_audience"),
            (set_of(header={"typ": "JWT"}), "invalid_request"),
            (logout_token(), "invalid_request"),
            (self.access_token(NOW), "invalid_request"),
            ("", "invalid_request"),
            ("\xff\0", "invalid_request"),
        ):
            self.assertEqual(self.refused(self.push(token)), err)
        self.assertEqual(self.refused(self.push(set_of(), "application/json")), "invalid_request")
        self.assertEqual(self.known(), [])

    def test_large_S_EVENT(self) -> None:
        """A body of 10 MB is refused before it has been read."""
        head = f"POST /ssf/events HTTP/1.1\r\nHost: g\r\nContent-Type: {SET}\r\n"
        [answer] = self.gateway.say(f"{head}Content-Length: 10000000\r\n\r\nx".encode())
        self.assertEqual(answer.status, 413)
        chunks = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        body = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks * 17
        [answer] = self.gateway.say(body)
        self.assertEqual(answer.status, 413)

    def test_nested_S_EVENT(self) -> None:
        """A deeply nested subject is refused."""
        raw = b'{"iss":"' + ISSUER.encode() + b'","aud":"' + GATE.encode() + b'","sub_id":'
        nested = raw + b'{"user":' * 2000 + b"1" + b"}" * 2000 + b"}"
        self.assertEqual(
            self.refused(self.push(IDP.sign(nested, {"typ": "secevent+jwt"}))), "invalid_request"
        )

    def test_no_effect(self) -> None:
        """Verification events, unknown events and unknown subjects are accepted without effect."""
        email = {"format": "email", "email": "a@b.example"}
        verification = "https://schemas.openid.net/secevent/ssf/event-type/verification"
        for token in (
            set_of(jti="1", events={verification: {"state": "x"}}, sub_id=None),
            set_of(jti="2", events={"urn:unknown": {}}),
            set_of(jti="3", sub_id=email),
        ):
            self.assertEqual(self.push(token).status, 202)
        self.assertEqual(self.known(), [])

    def test_outage_of_keys(self) -> None:
        """While the keys cannot be fetched, the identity provider is asked to repeat."""
        self.answer = Respond(status=500)
        answer = self.push(set_of())
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        self.answer = Respond({"keys": [IDP.jwk()]})
        self.gateway.clock.advance(15)
        self.assertEqual(self.push(set_of()).status, 202)

    def test_outage_of_store_S_EVENT(self) -> None:
        """A token that could not be processed is processed when it is repeated."""
        records = self.serving.records
        assert records is not None
        works = records.store
        records.store = _Failing(works)
        self.assertEqual(self.push(set_of()).status, 503)
        records.store = works
        self.assertEqual(self.push(set_of()).status, 202)
        self.assertEqual(len(self.known()), 1)

    def test_authorization_S_EVENT(self) -> None:
        """A configured C{authorization} is required, besides the signature."""
        agreed = {"provider": "idp", "audience": [GATE], "authorization": "Bearer agreed"}
        self.begin(events={"transmitters": [agreed]})
        for headers in ({}, {"Authorization": "Bearer other"}):
            self.assertEqual(self.refused(self.push(set_of(), **headers)), "authentication_failed")
        self.assertEqual(self.push(set_of(), Authorization="Bearer agreed").status, 202)
        self.assertEqual(
            self.refused(self.push(set_of(NEXT), Authorization="Bearer agreed")), "invalid_key"
        )

    def test_not_configured(self) -> None:
        """Without transmitters no token is accepted; without C{events} the path is unknown."""
        self.begin(events={"transmitters": []})
        self.assertEqual(self.refused(self.push(set_of())), "invalid_issuer")
        self.begin(events=...)
        self.assertEqual(self.push(set_of()).status, 404)
        self.assertEqual(self.logout(logout_token()).status, 404)


class _Failing:
    """A token store that remembers nothing, and fails to add."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def add_record(self, *_: object) -> bool:
        raise Unavailable("the token store cannot be reached")


class LogoutTests(SignalCase):
    """C{POST /backchannel-logout} (OpenID Connect Back-Channel Logout 1.0)."""

    def test_user(self) -> None:
        """A logout revokes what was issued to the user before."""
        old = self.access_token(NOW - 30)
        self.assertEqual(self.status(old), 200)
        answer = self.logout(logout_token())
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(self.status(old), 401)
        self.assertEqual(self.status(self.access_token(NOW)), 200)

    def test_session(self) -> None:
        """If tokens name their session, the logout of a session revokes its tokens alone."""
        by_session = {"provider": "idp", "audience": [GATE], "session_claim": "sid"}
        self.begin(events={"transmitters": [by_session]})
        claims = {"iss": ISSUER, "aud": GATE, "sub": "u-1", "iat": NOW - 30, "exp": NOW + 900}
        ended, other = (IDP.sign({**claims, "sid": each}) for each in ("s-1", "s-2"))
        self.assertEqual(self.logout(logout_token()).status, 200)
        self.assertEqual((self.status(ended), self.status(other)), (401, 200))

    def test_too_many_sessions(self) -> None:
        """If too many sessions have ended, all tokens of the user are revoked instead."""
        by_session = {"provider": "idp", "audience": [GATE], "session_claim": "sid"}
        self.begin(events={"transmitters": [by_session]})
        for number in range(201):
            token = logout_token(jti=f"l-{number}", sid=f"s-{number}")
            self.assertEqual(self.logout(token).status, 200)
        self.assertEqual(self.known()[-1].owner, ("main", "u-1"))
        without_user = logout_token(jti="l-last", sid="s-last", sub=None)
        self.assertEqual(self.logout(without_user).status, 503)

    def test_refused_S_EVENT(self) -> None:
        """A request that is no logout of this identity provider is a 400, and revokes nothing."""
        form = "application/x-www-form-urlencoded"
        for body in (
            b"", b"logout_token=", b"logout_token=a&logout_token=b", b"x=1&" * 20, b"%ff=%ff",
            f"logout_token={set_of()}".encode(), f"logout_token={logout_token(NEXT)}".encode(),
            f"logout_token={logout_token(nonce='n')}".encode(),
        ):  # fmt: skip
            answer = self.post("/backchannel-logout", body, form)
            self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_request"))
        answer = self.post("/backchannel-logout", b"{}", "application/json")
        self.assertEqual(answer.status, 400)
        self.assertEqual(self.known(), [])


class ConfigurationTests(SignalCase):
    """Mistakes in the section C{events.transmitters}."""

    def problem(self, **over: Any) -> str:
        error = self.assertRaises(ConfigError, self.begin, **over)
        return str(error)

    def test_provider(self) -> None:
        """A transmitter names a provider that has an issuer and keys."""
        for name in ("staff", "none"):
            at = {"transmitters": [{"provider": name, "audience": [GATE]}]}
            self.assertIn("events.transmitters[0].provider", self.problem(events=at))

    def test_needs_revocation(self) -> None:
        """Without revocation no event could have an effect."""
        self.assertIn("events.transmitters: needs", self.problem(revocation=...))

    def test_twice(self) -> None:
        """An issuer is configured once."""
        each = {"provider": "idp", "audience": [GATE]}
        self.assertIn("same issuer", self.problem(events={"transmitters": [each, each]}))

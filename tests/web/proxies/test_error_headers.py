"""Refusals to proxies that pass on neither status nor body, on the site and on the fast path."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.outcomes import Decision, Outcome
from authotron.model.authentication import Authentication
from authotron.model.errors import Unavailable
from authotron.model.identity import Identity
from authotron.plugin.contract import Answers, Contract
from authotron.web import replies
from authotron.web.answering import Answerer
from tests.web.conversations import Failing, Replaced, basic
from tests.web.entrances import Answer, Entrances
from tests.web.proxies.test_belief import Meets
from tests.web.proxies.test_profiles import people

NGINX = {"nginx": {"error_headers": True}}


class ErrorHeadersTests(SynchronousTestCase):
    """C{X-Error-Status} and C{X-Error-Body}."""

    def setUp(self) -> None:
        self.entrances = self.serve()

    def serve(self, **server: Any) -> Entrances:
        return Entrances({"server": {"answers": {"contracts": NGINX}, **server}})

    def assert_states(self, answer: Answer, sent: int, status: int) -> None:
        self.assertEqual(answer.status, sent)
        self.assertEqual(answer.headers["x-error-status"], str(status))
        self.assertEqual(answer.headers["x-error-body"].encode(), answer.body)
        self.assertIn(b'{"error": "', answer.body)

    def test_refused_S_ERRORHEADERS(self) -> None:
        """A refused credential stays a 401, with the challenge."""
        for line in ("GET /authenticate", "GET /auth/nginx", "POST /auth/nginx/x"):
            for answer in self.entrances.ask_http(line, basic("alice", "no")).values():
                self.assert_states(answer, 401, 401)
                self.assertEqual(answer.headers["www-authenticate"], 'Basic realm="internal"')

    def test_outage_S_ERRORHEADERS(self) -> None:
        """An outage is a 403 that states the 503, with C{Retry-After}; the metric says outage."""
        authenticator: Any = self.entrances.gateway.serving.gateway.authenticator
        authenticator.providers = [Failing(Unavailable("down"))]
        for answer in self.entrances.ask_http().values():
            self.assert_states(answer, 403, 503)
            self.assertEqual(answer.headers["retry-after"], "5")
        text = self.entrances.gateway.metrics.text()[0].decode()
        self.assertIn('auth_requests_total{realm="unknown",result="unavailable"} 2.0', text)

    def test_forbidden_S_ERRORHEADERS(self) -> None:
        """A refused identity is a 403 that states itself."""
        over = {"auth": {"identity": {"max_roles": 1}}, **people(roles=["x", "y"])}
        entrances = Entrances({"server": {"answers": {"contracts": NGINX}}, **over})
        for answer in entrances.ask_http().values():
            self.assert_states(answer, 403, 403)

    def test_unusable_fact_S_ERRORHEADERS(self) -> None:
        """A question without a required fact is a 403 that states the 400."""
        contracts = [{"type": "nginx", "required": ["method"]}]
        for answer in self.serve(contracts=contracts).ask_http().values():
            self.assert_states(answer, 403, 400)

    def test_denied_S_ERRORHEADERS(self) -> None:
        """A condition that does not hold is a 403 that states itself."""
        found = Authentication(Identity("internal", "alice"), conditions=(Meets(lambda _: False),))
        decision = self.entrances.gateway.good(found)
        serving: Any = self.entrances.gateway.serving
        serving.gateway = Replaced(serving.gateway, lambda *_: decision)
        for answer in self.entrances.ask_http().values():
            self.assert_states(answer, 403, 403)

    def test_admitted_S_ERRORHEADERS(self) -> None:
        """A 200 has no such header."""
        for answer in self.entrances.ask_http().values():
            self.assertEqual((answer.status, [*answer.headers]), (200, ["authorization"]))

    def test_other_contracts_S_ERRORHEADERS(self) -> None:
        """Other contracts and the gateway's own routes answer as before."""
        for line in ("GET /auth/envoy/x", "GET /auth/caddy/x", "GET /whoami"):
            for answer in self.entrances.ask_http(line, basic("alice", "no")).values():
                self.assertEqual(answer.status, 401)
                self.assertNotIn("x-error-status", answer.headers)

    def test_other_statuses_S_ERRORHEADERS(self) -> None:
        """A status that a contract wants in place of another one is also the one that is stated."""
        gateway = self.entrances.gateway
        answerer = Answerer(gateway.serving, gateway.clock)
        decision = Decision(Outcome("unavailable"), replies.UNAVAILABLE)
        for sent, stated in ((502, 403), (401, 401)):
            for has_error_headers, status in ((False, sent), (True, stated)):
                answers = Answers({503: sent}, has_error_headers=has_error_headers)
                reply, _ = answerer.dressed(Contract("own", (), answers), decision)
                headers = dict(reply.headers)
                expected = b"%d" % sent if has_error_headers else None
                self.assertEqual((reply.status, reply.body), (status, decision.reply.body))
                self.assertEqual(headers.get(b"X-Error-Status"), expected)

    def test_useless_S_ERRORHEADERS(self) -> None:
        """What a client sends in such a header never comes back."""
        answers = self.entrances.ask_http(
            "GET /authenticate", "", X_Error_Status="200", X_Error_Body="canary"
        )
        for answer in answers.values():
            self.assert_states(answer, 401, 401)
            self.assertNotIn("canary", str(answer))

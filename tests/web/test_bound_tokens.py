"""Tokens that are bound to a key (RFC 9449), at every entrance."""

from __future__ import annotations

from typing import Any

import jwt
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import capturedLogs, globalLogPublisher

from authotron.config import check
from authotron.daemon.compose import compose
from authotron.jose import keys
from authotron.model.errors import ConfigError, Rejected, Unavailable
from authotron.model.identity import Credential
from authotron.model.records import Record
from authotron.telemetry.metrics import Metrics
from authotron.testing.issuers import CLAIMS, EDWARDS, IDP
from authotron.testing.remotes import Respond
from authotron.testing.worlds import world
from tests.config.cases import BASE, laid_over
from tests.web.bound_case import (
    ALGORITHMS,
    ENTRANCES,
    INVALID_PROOF,
    OVER,
    Answer,
    BoundCase,
    thumbprint,
)
from tests.web.conversations import ALICE, answered
from tests.web.test_authorizer import ALLOWED, DENIED, SECTION, Pdp

ADMITTED = Answer(200, "")
REFUSED = Answer(401, INVALID_PROOF)
POLICY: dict[str, Any] = {
    "policy": {
        "rules": [{"name": "data", "subject": [["realm=internal"]], "permissions": ["/data/**:*"]}]
    }
}
EXCHANGE: dict[str, Any] = {
    "server": {"forwarded": {"host": "X-Forwarded-Host"}},
    "jwt": {"alg": "EdDSA", "key": keys.generate("EdDSA"), "secret": ...},
    "store": {"pepper": "a-pepper-of-more-than-16-bytes"},
    "tokens": {"exchange": {}},
}
NONCES: dict[str, Any] = {"tokens": {"bound": {"nonces": True, "window": 30}}}
OFF: dict[str, Any] = {"tokens": {"bound": None}}
CHALLENGE = f'DPoP algs="{ALGORITHMS}"'
INVALID_TOKEN = f'DPoP error="invalid_token", algs="{ALGORITHMS}"'


class ProofTests(BoundCase):
    """A token that is bound to a key counts only with a proof of each request."""

    def test_accepted(self) -> None:
        """Each request with a proof of its own passes, also if the decision is cached."""
        for signer in (self.signer, EDWARDS, IDP):
            self.signer = signer
            token = self.make_bound()
            for entrance in ENTRANCES * 2:
                with self.subTest(entrance, signer=signer.kid):
                    found = self.ask(entrance, f"DPoP {token}", self.proof(token))
                    self.assertEqual(found, ADMITTED)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_decision_is_cached(self) -> None:
        """All requests with a token share one cached decision, whatever their proofs are."""
        token = self.make_bound()
        for entrance in ENTRANCES:
            self.ask(entrance, f"dpop {token}", self.proof(token))
            self.ask(entrance, f"DPoP   {token}", self.proof(token))
        self.assertEqual(self.gateway.serving.gateway.decisions.remembered(), 2)  # and alice's

    def test_without_proof_S_DPOPONE(self) -> None:
        """Without a proof, or with two, the token is refused; a used proof does not help."""
        token = self.make_bound()
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                one, two = self.proof(token), self.proof(token)
                for proofs in ((), (one, two), (one, one), ("",), ("x",), (f"{one}, {two}",)):
                    self.assertEqual(self.ask(entrance, f"DPoP {token}", *proofs), REFUSED)
                self.assertEqual(self.ask(entrance, f"DPoP {token}", one), ADMITTED)
                self.assertEqual(self.ask(entrance, f"DPoP {token}"), REFUSED)

    def test_wrong_proof_S_DPOPURI_S_DPOPATH_S_DPOPTIME(self) -> None:
        """A proof for another request, token, time or key is refused."""
        token = self.make_bound()
        for entrance in ENTRANCES:
            for changes in (
                {"htm": "POST"}, {"htu": "https://app.example.org/data/y"}, {"htu": None},
                {"htu": "http://app.example.org/data/x"}, {"htu": "https://evil.example/data/x"},
                {"ath": None}, {"ath": "x"}, {"jti": None}, {"iat": None},
                {"iat": int(self.gateway.clock.seconds()) - 61},
                {"iat": int(self.gateway.clock.seconds()) + 61},
            ):  # fmt: skip
                with self.subTest(entrance, changes=changes):
                    proof = self.proof(token, **changes)
                    self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), REFUSED)
            other = self.proof(token, EDWARDS)
            expected = Answer(401, INVALID_TOKEN)
            self.assertEqual(self.ask(entrance, f"DPoP {token}", other), expected)

    def test_replay_S_DPOPREPLAY(self) -> None:
        """A proof counts once, whichever entrance it is sent to first."""
        token = self.make_bound()
        for first in ENTRANCES:
            proof = self.proof(token)
            self.assertEqual(self.ask(first, f"DPoP {token}", proof), ADMITTED)
            for entrance in ENTRANCES:
                with self.subTest(first, again=entrance):
                    self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), REFUSED)

    def test_replay_while_it_counts_S_DPOPREPLAY(self) -> None:
        """A proof that was used is refused until it has expired, and afterwards as well."""
        token = self.make_bound()
        proof = self.proof(token, iat=int(self.gateway.clock.seconds()) + 60)
        self.assertEqual(self.ask("site", f"DPoP {token}", proof), ADMITTED)
        for _ in range(13):
            self.gateway.clock.advance(10)
            self.assertEqual(self.ask("site", f"DPoP {token}", proof), REFUSED)

    def test_same_id_of_other_key(self) -> None:
        """The ids of proofs of different keys do not disturb each other."""
        tokens = []
        for signer in (self.signer, EDWARDS):
            self.signer = signer
            tokens.append((signer, self.make_bound()))
        for signer, token in tokens:
            found = self.ask("site", f"DPoP {token}", self.proof(token, signer, jti="same"))
            self.assertEqual(found, ADMITTED)

    def test_bearer_S_DPOPBEARER(self) -> None:
        """A bound token never counts as a bearer token, with or without a proof."""
        token = self.make_bound()
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                for proofs in ((), (self.proof(token),)):
                    found = self.ask(entrance, f"Bearer {token}", *proofs)
                    self.assertEqual(found.status, 401)
                    self.assertEqual(found.challenge, f'Basic realm="internal", {CHALLENGE}')
        answer = self.gateway.ask("GET /whoami", Authorization=f"Bearer {token}")
        self.assertEqual(answer.status, 401)

    def test_unbound_S_DPOPUNBOUND(self) -> None:
        """A token that is not bound to a key never counts under the scheme DPoP."""
        token = self.make_token(None)
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                found = self.ask(entrance, f"DPoP {token}", self.proof(token))
                self.assertEqual(found, Answer(401, INVALID_TOKEN))
                self.assertEqual(self.ask(entrance, f"Bearer {token}"), ADMITTED)

    def test_unknown_token(self) -> None:
        """A token that no provider knows is refused with the challenge of its scheme."""
        for entrance in ENTRANCES:
            found = self.ask(entrance, "DPoP aot_nothing", self.proof("aot_nothing"))
            self.assertEqual(found, Answer(401, INVALID_TOKEN))

    def test_revoked(self) -> None:
        """A bound token that was revoked is refused, although its proof is good."""
        token = self.make_bound()
        self.assertEqual(self.ask("fast path", f"DPoP {token}", self.proof(token)), ADMITTED)
        id_ = token.split("_")[1]
        self.assertEqual(self.gateway.ask(f"DELETE /tokens/{id_}", Authorization=ALICE).status, 204)
        for entrance in ENTRANCES:
            found = self.ask(entrance, f"DPoP {token}", self.proof(token))
            self.assertEqual(found, Answer(401, INVALID_TOKEN))

    def test_ambiguous_path_S_DPOPURI(self) -> None:
        """A path that a backend could read in another way is a 400, as the URI is not clear."""
        token = self.make_bound()
        for entrance in ENTRANCES:
            proof = self.proof(token, htu="https://app.example.org/data//x")
            found = self.ask(entrance, f"DPoP {token}", proof, uri="/data//x")
            self.assertEqual(found.status, 400)

    def test_stranger_S_DPOPURI(self) -> None:
        """What a peer states that is no trusted proxy does not count as method and URI."""
        self.start({"server": {"trusted_proxies": ["127.0.0.0/8"]}})
        token = self.make_bound()
        for entrance in ("site", "fast path"):
            self.assertEqual(self.ask(entrance, f"DPoP {token}", self.proof(token)).status, 400)

    def test_created_S_AUDIT(self) -> None:
        """The key to which a token is bound is logged when the token is created."""
        with capturedLogs() as logged:
            self.make_bound()
        [event] = [each for each in logged if each.get("event") == "tokens.created"]
        self.assertEqual(event["cnf"], {"jkt": thumbprint(self.signer)})

    def test_log_of_refusals(self) -> None:
        """Nothing of a proof is in the log of a refused request."""
        observer: Any = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.start({"logging": {"level": "debug"}})
        token = self.make_bound()
        proof = self.proof(token, htm="POST")
        self.ask("site", f"DPoP {token}", proof)
        [event] = [each for each in observer if each.get("event") == "auth.proof.refused"]
        self.assertEqual(event["reason"], "htm of the proof is not the method of the request")
        self.assertNotIn(proof.split(".")[1], repr(list(observer)))


class OwnRequestTests(BoundCase):
    """Requests to the gateway itself with bound tokens."""

    def test_whoami(self) -> None:
        """The gateway is asked by its name, over HTTP or HTTPS; a proof counts once."""
        token = self.make_bound()
        for uri in ("http://gate/whoami", "https://gate/whoami"):
            proof = self.proof(token, htu=uri)
            for status in (200, 401):
                answer = self.gateway.ask("GET /whoami", Authorization=f"DPoP {token}", DPoP=proof)
                self.assertEqual(answer.status, status)
        proof = self.proof(token, htu="https://other/whoami")
        answer = self.gateway.ask("GET /whoami", Authorization=f"DPoP {token}", DPoP=proof)
        self.assertEqual(answer.status, 401)

    def test_inherited_S_DPOPCHILD(self) -> None:
        """A token that a bound token creates is bound to the same key, or as requested."""
        token = self.make_bound()
        for cnf, signer in ((None, self.signer), ({"jkt": thumbprint(EDWARDS)}, EDWARDS)):
            proof = self.proof(token, htu="https://gate/tokens", htm="POST")
            body = {} if cnf is None else {"cnf": cnf}
            answer = self.gateway.post("/tokens", body, Authorization=f"DPoP {token}", DPoP=proof)
            self.assertEqual(answer.status, 201)
            self.assertEqual(answer.json()["cnf"], {"jkt": thumbprint(signer)})
            child = answer.json()["token"]
            self.assertEqual(self.ask("site", f"Bearer {child}").status, 401)
            found = self.ask("site", f"DPoP {child}", self.proof(child, signer))
            self.assertEqual(found, ADMITTED)

    def test_malformed_cnf_S_CNF(self) -> None:
        """A binding that cannot be enforced is refused, and no token is made."""
        malformed: tuple[Any, ...] = ({}, {"kid": "x"}, {"jkt": "x"}, {"jkt": None}, "x", [])
        for cnf in malformed:
            answer = self.gateway.post("/tokens", {"cnf": cnf}, Authorization=ALICE)
            self.assertEqual(answer.status, 400, cnf)
        tokens = self.gateway.ask("GET /tokens", Authorization=ALICE).json()
        self.assertEqual(tokens["tokens"], [])

    def test_no_credential(self) -> None:
        """A 401 without credentials names the scheme and the algorithms."""
        answer = self.gateway.ask("GET /whoami")
        self.assertTrue(answer.headers["www-authenticate"].endswith(f", {CHALLENGE}"))


class ExchangeTests(BoundCase):
    """Bound tokens and C{POST /token/exchange}."""

    over = EXCHANGE

    def exchange(self, credential: str, body: dict[str, Any], *proofs: str) -> tuple[int, Any]:
        fields = {"Authorization": credential, **({"DPoP": proofs[0]} if proofs else {})}
        answer = self.gateway.post("/token/exchange", body, **fields)
        return answer.status, answer.json()

    def exchange_proof(self, token: str | None, **changes: Any) -> str:
        claims = {"htm": "POST", "htu": "https://gate/token/exchange", **changes}
        return self.proof(token, **claims)

    def test_bound(self) -> None:
        """An exchanged token is bound as the body says, or to the key of a proof in the request."""
        for body, proofs in (
            ({"cnf": {"jkt": thumbprint(self.signer)}}, []),
            ({}, [self.exchange_proof(None)]),
        ):
            status, found = self.exchange(ALICE, body, *proofs)
            self.assertEqual(status, 200)
            self.assertEqual(found["token_type"], "DPoP")
            self.assertEqual(found["cnf"], {"jkt": thumbprint(self.signer)})
            token = found["token"]
            for entrance in ENTRANCES:
                proof = self.proof(token)
                self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), ADMITTED)
                self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), REFUSED)
                self.assertEqual(self.ask(entrance, f"Bearer {token}").status, 401)

    def test_plain(self) -> None:
        """Without either an exchanged token is a bearer token."""
        status, found = self.exchange(ALICE, {})
        self.assertEqual((status, found["token_type"], "cnf" in found), (200, "Bearer", False))

    def test_inherited_S_DPOPCHILD(self) -> None:
        """What comes of a bound token is bound, by exchange and by exchange of the exchanged."""
        token = self.make_bound()
        for _ in range(3):
            proof = self.exchange_proof(token)
            status, found = self.exchange(f"DPoP {token}", {"validity": 60}, proof)
            self.assertEqual(status, 200)
            self.assertEqual(found["cnf"], {"jkt": thumbprint(self.signer)})
            token = found["token"]
            self.assertEqual(self.ask("site", f"Bearer {token}").status, 401)

    def test_bad_proof(self) -> None:
        """A proof that is not accepted, or was used, makes no token, whatever the credential."""
        used = self.exchange_proof(None)
        self.exchange(ALICE, {}, used)
        for proof in (used, "x", self.exchange_proof(None, htm="GET"), self.proof(None)):
            expected = (400, {"error": "invalid_dpop_proof"})
            self.assertEqual(self.exchange(ALICE, {}, proof), expected)

    def test_minted_jwt_S_DPOPBEARER(self) -> None:
        """The JWT that the gateway mints for a bound token is no way around the proof."""
        own = {"type": "own-jwt", "name": "own", "realm": "internal"}
        self.start(laid_over(EXCHANGE, {"providers": [*BASE["providers"], own]}))
        token = self.make_bound()
        head = [f"DPoP {token}", self.proof(token, htu="https://gate/authenticate")]
        answer = self.gateway.ask(
            "GET /authenticate", Authorization=head[0], DPoP=head[1],
            X_Original_Method="GET", X_Original_URI="/authenticate", X_Forwarded_Proto="https",
            X_Forwarded_Host="gate",
        )  # fmt: skip
        self.assertEqual(answer.status, 200)
        minted = answer.headers["authorization"]
        self.assertEqual(self.gateway.ask("GET /whoami", Authorization=minted).status, 401)


class PolicyTests(BoundCase):
    """Policies and bound tokens."""

    over = POLICY

    def test_proof_is_not_used_up_S_DPOPWRITES(self) -> None:
        """A request that the policies refuse stores nothing, so that its proof still counts."""
        token = self.make_bound()
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                proof = self.proof(token, htu="https://app.example.org/admin/x")
                for _ in range(2):
                    found = self.ask(entrance, f"DPoP {token}", proof, uri="/admin/x")
                    self.assertEqual(found.status, 403)
                self.assertEqual(self.records(), 0)

    def test_allowed(self) -> None:
        """A request that the policies allow passes once."""
        token = self.make_bound()
        for entrance in ENTRANCES * 2:
            with self.subTest(entrance):
                proof = self.proof(token)
                self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), ADMITTED)
                self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), REFUSED)

    def records(self) -> int:
        store: Any = self.gateway.serving.gateway.tokens
        found = self.successResultOf(
            Deferred.fromCoroutine(
                store.store.backend.records("replay", self.gateway.clock.seconds())
            )
        )
        return len(found)


class AuthorizerTests(BoundCase):
    """Bound tokens, and an authorizer that must also allow each request."""

    def setUp(self) -> None:
        super().setUp()
        self.action: Any = ALLOWED
        self.pdp = Pdp(lambda _: self.action)
        self.start({**POLICY, "authorizer": SECTION}, self.pdp)
        self.token = self.make_bound()

    def test_allowed_S_DPOPREPLAY(self) -> None:
        """A request that all allow passes once; the authorizer is asked about each good proof."""
        for entrance in ENTRANCES * 2:
            proof = self.proof(self.token)
            for expected in (ADMITTED, REFUSED):
                found = self.ask(entrance, f"DPoP {self.token}", proof)
                self.assertEqual(found, expected, entrance)
            without = self.ask(entrance, f"DPoP {self.token}")
            self.assertEqual(without, REFUSED, entrance)
        self.assertEqual(len(self.pdp.requests), 2 * len(ENTRANCES * 2))

    def test_denied_S_DPOPWRITES(self) -> None:
        """A request that the authorizer denies, or cannot judge, does not use up its proof."""
        for entrance in ENTRANCES:
            proof = self.proof(self.token)
            for action, status in ((DENIED, 403), (Respond(b"", 500), 503), (ALLOWED, 200)):
                self.action = action
                found = self.ask(entrance, f"DPoP {self.token}", proof)
                self.assertEqual(found.status, status, entrance)
        self.flushLoggedErrors()

    def test_observed(self) -> None:
        """With C{mode: observe} a denied request passes, and its proof counts once as well."""
        rules = {"policy": {**POLICY["policy"], "mode": "observe"}, "authorizer": SECTION}
        self.start(rules, self.pdp)
        token, self.action = self.make_bound(), DENIED
        for entrance in ENTRANCES:
            proof = self.proof(token)
            for expected in (ADMITTED, REFUSED):
                self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), expected, entrance)


class StatedTests(BoundCase):
    """Bound tokens about which a client asks without using them."""

    over = POLICY

    def test_question_about_policies(self) -> None:
        """C{POST /authz} answers what a bound token allows to a client that proves to have it."""
        certificate = {"x5t#S256": thumbprint(self.signer)}
        for token in (self.make_bound(), self.make_token(certificate)):
            for resource, allowed in (("/data/x", True), ("/admin", False)):
                asked = {"token": token, "resource": resource, "action": "GET", "namespace": "/"}
                answer = self.gateway.post("/authz", asked, Authorization=ALICE)
                self.assertEqual(answer.status, 204 if allowed else 403, answer.body)

    def test_identified(self) -> None:
        """A token that is to be revoked needs no proof."""
        credential = Credential("bearer", self.make_bound())
        authenticator = self.gateway.serving.gateway.authenticator
        stated = authenticator.identify([credential], None, is_stated=True)
        found = self.successResultOf(Deferred.fromCoroutine(stated))
        self.assertEqual((found.identity.username, found.conditions), ("alice", ()))
        used = Deferred.fromCoroutine(authenticator.identify([credential], None))
        self.failureResultOf(used, Rejected)


class LimitTests(BoundCase):
    """API tokens that are bound and limited."""

    def test_other_host_S_DPOPWRITES(self) -> None:
        """A request that the token does not allow is a 403, and stores nothing."""
        token = self.make_bound(hosts=["other.example.org"])
        for entrance in ENTRANCES:
            proof = self.proof(token)
            for _ in range(2):
                self.assertEqual(self.ask(entrance, f"DPoP {token}", proof).status, 403)


@define(eq=False)
class Broken:
    """A store whose records cannot be written."""

    error: Exception
    backend: Any

    async def add_record(self, record: Record, now: float) -> bool:
        raise self.error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


class OutageTests(BoundCase):
    """The ids of proofs cannot be stored."""

    def break_store(self, error: Exception) -> str:
        token = self.make_bound()
        proofs: Any = self.gateway.serving.gateway.proofs
        proofs._store = Broken(error, proofs._store)
        return token

    def test_unreachable_S_DPOPSTORE(self) -> None:
        """No request passes whose proof cannot be remembered; it is a 503."""
        token = self.break_store(Unavailable("gone"))
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                found = self.ask(entrance, f"DPoP {token}", self.proof(token))
                self.assertEqual(found, Answer(503, ""))

    def test_defect(self) -> None:
        """A defect of the store is logged, and lets no request pass."""
        token = self.break_store(ZeroDivisionError("secret"))
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                found = self.ask(entrance, f"DPoP {token}", self.proof(token))
                self.assertEqual(found.status, 500)
                self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


@define(eq=False)
class Slow:
    """A store that answers when a test wants it."""

    backend: Any
    asked: list[Deferred[bool]] = field(factory=list)
    cancelled: list[Deferred[bool]] = field(factory=list)

    async def add_record(self, record: Record, now: float) -> bool:
        self.asked.append(Deferred(self.cancelled.append))
        return await self.asked[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


class WaitingTests(BoundCase):
    """Requests that wait for the store."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.make_bound()
        proofs: Any = self.gateway.serving.gateway.proofs
        self.slow = proofs._store = Slow(proofs._store)

    def head(self) -> bytes:
        return (
            "GET /auth/traefik HTTP/1.1\r\nHost: gate\r\n"
            f"Authorization: DPoP {self.token}\r\nDPoP: {self.proof(self.token)}\r\n"
            "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /data/x\r\nX-Forwarded-Proto: https\r\n"
            "X-Forwarded-Host: app.example.org\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
        ).encode()

    def test_waits(self) -> None:
        """A request waits until its proof is stored; the next one on the connection as well."""
        for site in (self.gateway.public, self.gateway.entrance):
            channel, wire = self.gateway.connect(site)
            for number in (1, 2):
                channel.dataReceived(self.head())
                self.assertEqual(len(answered(wire.value())), number - 1)
                self.slow.asked.pop().callback(True)
                self.assertEqual([each.status for each in answered(wire.value())], [200] * number)
        self.assertEqual(self.gateway.handed_over(), 0)

    def test_client_leaves(self) -> None:
        """If the proxy closes its connection, the call of the store is cancelled."""
        for site in (self.gateway.public, self.gateway.entrance):
            channel, wire = self.gateway.connect(site)
            channel.dataReceived(self.head())
            channel.connectionLost()
            self.assertEqual(self.slow.cancelled, self.slow.asked)
            self.assertEqual(wire.value(), b"")


class NonceTests(BoundCase):
    """Proofs with nonces of the gateway."""

    over = NONCES

    def test_nonce(self) -> None:
        """The first refusal names the nonce for the next proofs."""
        token = self.make_bound()
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                first = self.ask(entrance, f"DPoP {token}", self.proof(token))
                challenge = f'DPoP error="use_dpop_nonce", algs="{ALGORITHMS}"'
                self.assertEqual((first.status, first.challenge), (401, challenge))
                for _ in range(2):
                    proof = self.proof(token, nonce=first.nonce)
                    self.assertEqual(self.ask(entrance, f"DPoP {token}", proof), ADMITTED)

    def test_old_nonce(self) -> None:
        """A nonce counts for one or two windows."""
        token = self.make_bound()
        nonce = self.ask("site", f"DPoP {token}", self.proof(token)).nonce
        self.gateway.clock.advance(30)
        found = self.ask("site", f"DPoP {token}", self.proof(token, nonce=nonce))
        self.assertEqual(found, ADMITTED)
        self.gateway.clock.advance(30)
        found = self.ask("site", f"DPoP {token}", self.proof(token, nonce=nonce))
        self.assertEqual(found.status, 401)
        self.assertNotEqual(found.nonce, nonce)


class ForeignTokenTests(BoundCase):
    """JWTs of an issuer that binds its tokens."""

    def setUp(self) -> None:
        issuer = {
            "type": "jwt",
            "name": "sso",
            "realm": "here",
            "secret": "a secret of thirty-two bytes ...",
            "bound_tokens": True,
        }
        self.over = {"providers": [issuer]}
        super().setUp()

    def token(self, **claims: Any) -> str:
        secret = "a secret of thirty-two bytes ..."
        return jwt.encode({**CLAIMS, **claims}, secret, "HS256")

    def test_bound_S_DPOPBEARER(self) -> None:
        """A JWT with C{cnf} counts only with a proof, and one without only as a bearer token."""
        bound = self.token(cnf={"jkt": thumbprint(self.signer)})
        plain = self.token()
        for entrance in ENTRANCES:
            with self.subTest(entrance):
                self.assertEqual(self.ask(entrance, f"DPoP {bound}", self.proof(bound)), ADMITTED)
                found = self.ask(entrance, f"Bearer {bound}", self.proof(bound))
                self.assertEqual(found.status, 401)
                found = self.ask(entrance, f"DPoP {plain}", self.proof(plain))
                self.assertEqual(found, Answer(401, INVALID_TOKEN))
                self.assertEqual(self.ask(entrance, f"Bearer {plain}"), ADMITTED)


class ConfigurationTests(BoundCase):
    """With and without the section `tokens.bound`."""

    over = OFF

    def test_off(self) -> None:
        """Without the section nothing names the scheme, and no bound token is issued."""
        for credential in ("", "DPoP x", "Bearer x"):
            answer = self.gateway.ask("GET /whoami", Authorization=credential)
            self.assertEqual(answer.status, 401)
            self.assertNotIn("DPoP", answer.headers["www-authenticate"])
        body = {"cnf": {"jkt": thumbprint(self.signer)}}
        answer = self.gateway.post("/tokens", body, Authorization=ALICE)
        self.assertEqual((answer.status, answer.json()["problems"]), (400, ["cnf: unknown key"]))

    def test_taken_away_S_DPOPBEARER(self) -> None:
        """Tokens that were bound before the section was removed are refused, under any scheme."""
        self.start({"tokens": {"bound": {}}})
        token, store = self.make_bound(), self.gateway.serving.gateway.tokens
        assert store is not None
        off = check.check(laid_over(BASE, laid_over(OVER, self.over)))
        found = compose(off, world(self.gateway.clock), Metrics(), store.store.backend)
        self.gateway.serving.gateway = found
        for entrance in ENTRANCES:
            for scheme in ("Bearer", "DPoP"):
                with self.subTest(entrance, scheme=scheme):
                    answer = self.ask(entrance, f"{scheme} {token}", self.proof(token))
                    self.assertEqual(answer.status, 401)

    def test_needs_store(self) -> None:
        """Without a token store that keeps records the configuration is refused."""
        given = laid_over(OVER, {"store": {"enabled": False}, "tokens": {"bound": {}}})
        problem = self.assertRaises(
            ConfigError, compose, check.check(laid_over(BASE, given)), world(), Metrics()
        )
        self.assertIn("tokens.bound: needs a token store that keeps records", str(problem))

"""Whatever JSON a token or a remote holds, a provider accepts it, rejects it, or is unavailable."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.authentication import Authenticator
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected, Unavailable
from authotron.model.identity import Credential
from authotron.plugin.interfaces import Affinity, IProvider
from authotron.providers import ecmwf_api
from authotron.telemetry.metrics import Metrics
from authotron.testing.issuers import CLAIMS, IDP, forged_jwt, key_set
from authotron.testing.remotes import Action, FakeRemote, ReceivedRequest, Respond, Script
from authotron.testing.worlds import NOW, as_deferred, clock_at, world
from tests import EXAMPLES
from tests.providers import (
    test_ecmwf_api,
    test_ecmwf_token_generator,
    test_efas_api,
    test_http,
    test_introspection,
    test_jwt,
    test_openid_offline,
)

HEADER = (
    *(
        "alg",
        "typ",
        "kid",
        "cty",
        "crit",
        "b64",
        "jku",
        "x5u",
        "x5c",
        "x5t",
        "x5t#S256",
        "jwk",
        "zip",
    ),
    *("iss", "enc"),
)
CLAIMED = (
    *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "typ", "azp", "scope", "preferred_username"),
    *("realm_access", "resource_access", "entitlements", "_claim_names", "events", "at_hash"),
    *(
        "token_use",
        "token_type",
        "use",
        "active",
        "username",
        "uid",
        "email",
        "roles",
        "attributes",
    ),
    *("scopes", "expires", "error", "access_token", "token"),
)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 5, NOW + 300, NOW - 30, 10**20, -(10**100), 0.5, 1e300, -0.0),
    *("", "x", "RS256", "none", "ID", "\x00", "é", "\u2028", "true", "-5", "1e999"),
    *([], [[]], ["a"], [None], ["a", 5], {}, {"a": {}}, {"roles": 5}, {"roles": ["r"]}),
)
VALUES = st.sampled_from(ODD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)


def objects(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), VALUES, max_size=4)


few = settings(max_examples=EXAMPLES // 4)
"""Settings for examples that cause many requests each."""

ANSWERS = st.binary(max_size=20) | (VALUES | objects(CLAIMED)).map(
    lambda said: json.dumps(said).encode()
)
"""Bodies of remotes: mostly JSON, which may hold C{Infinity}."""


EVERY: tuple[Callable[[FakeRemote], IProvider], ...] = (
    test_jwt.provider,
    partial(test_jwt.provider, issuer=CLAIMS["iss"], secret="s" * 64),
    partial(test_jwt.provider, accepts="any", typ="at+jwt", audience="us"),
    test_introspection.provider,
    partial(test_introspection.provider, accepts={"issuer": "x"}, typ="x"),
    test_openid_offline.provider,
    partial(test_openid_offline.provider, check="exchange", issuer="x"),
    test_ecmwf_token_generator.provider,
    lambda remote: ecmwf_api.make(test_ecmwf_api.config(), world(agents=remote)),
    test_efas_api.provider,
    test_http.provider,
)
"""Make one provider of each type that parses tokens or responses."""


def every(remote: FakeRemote) -> list[IProvider]:
    """Make one provider of each type, all of which ask one remote."""
    return [make(remote) for make in EVERY]


def in_turn(*plays: Action) -> Script:
    """Respond in turn; the last response answers all further requests."""
    rest = iter(plays)
    return lambda _: next(rest, plays[-1])


def gathered(
    providers: Sequence[IProvider],
    credential: Credential,
    realm: str | None = None,
    clock: Clock | None = None,
) -> Deferred[Authentication]:
    """Ask several providers together."""
    authenticator = Authenticator(providers, [], clock or clock_at(NOW), Metrics(), 5.0)
    return Deferred.fromCoroutine(authenticator.identify([credential], realm))


class AnyJsonTests(SynchronousTestCase):
    """Providers of every type."""

    def judge(self, provider: IProvider, token: str) -> Any:
        credential = Credential("bearer", token)
        self.assertIsInstance(provider.affinity(credential), Affinity)
        return self.outcome(as_deferred(provider.authenticate, credential))

    def outcome(self, deferred: Deferred[Any]) -> Any:
        outcome = self.successResultOf(deferred.addErrback(lambda failure: failure.value))
        self.assertIsInstance(outcome, Authentication | Rejected | Unavailable)
        return outcome

    @few
    @given(objects(HEADER), objects(CLAIMED) | VALUES)
    def test_unsigned_T81a(self, header: dict[str, Any], claims: Any) -> None:
        """A token with any header and claims that its issuer did not sign yields no identity."""
        remote = FakeRemote(lambda _: Respond({}, 403))
        for provider in every(remote):
            for said in (header, {"alg": "RS256", "kid": "idp", **header}):
                outcome = self.judge(provider, forged_jwt(said, claims))
                self.assertNotIsInstance(outcome, Authentication)

    @few
    @given(objects(HEADER), objects(CLAIMED))
    def test_signed_T94(self, header: dict[str, Any], claims: dict[str, Any]) -> None:
        """A signed token with any claims is accepted or refused, and never a defect."""
        signed = {name: value for name, value in header.items() if name in {"typ", "cty", "x5c"}}
        token = IDP.sign({**CLAIMS, **claims}, signed)
        remote = FakeRemote(lambda _: Respond(key_set(IDP)))
        for make in EVERY[:3]:
            self.judge(make(remote), token)

    @few
    @given(ANSWERS, ANSWERS, st.sampled_from((200, 201, 400, 401, 403, 404, 500)))
    def test_answers_T94(self, first: bytes, second: bytes, status: int) -> None:
        """Any first or second response of a remote causes no defect."""
        for token in ("opaque", IDP.sign(), test_openid_offline.offline()):
            for make in EVERY:
                remote = FakeRemote(in_turn(Respond(first, status), Respond(second)))
                self.judge(make(remote), token)

    @few
    @given(objects(CLAIMED), objects(CLAIMED))
    def test_granted_T94(self, answer: dict[str, Any], claims: dict[str, Any]) -> None:
        """Any member of a response that is good otherwise causes no defect."""

        def play(question: ReceivedRequest) -> Action:
            if "certs" in question.address:
                return Respond(key_set(IDP))
            access = IDP.sign({**CLAIMS, **claims})
            good = {"active": True, "scope": "offline_access", "access_token": access}
            return Respond(
                json.dumps({**good, "username": "tess", "uid": "tess", **answer}).encode()
            )

        for provider in every(FakeRemote(play)):
            self.judge(provider, "opaque")

    @few
    @given(st.lists(st.dictionaries(st.sampled_from((*IDP.jwk(), "crv", "x", "y", "d")), VALUES)))
    def test_keys_T94(self, odd: list[dict[str, Any]]) -> None:
        """Odd keys in a set are ignored; good keys beside them are used."""
        keys = [*odd, *({**IDP.jwk(), "kid": "odd", **each} for each in odd), IDP.jwk()]
        provider = test_jwt.provider(
            FakeRemote(lambda _: Respond(json.dumps({"keys": keys}).encode()))
        )
        outcome = self.judge(provider, IDP.sign())
        self.assertTrue(isinstance(outcome, Authentication) or "Infinity" in json.dumps(keys))

    @few
    @given(VALUES, VALUES)
    def test_discovery_T94(self, issuer: Any, jwks_uri: Any) -> None:
        """Any discovery document causes no defect."""
        said = {"issuer": CLAIMS["iss"], "jwks_uri": "https://idp.example/certs"}
        for described in (issuer, {**said, "issuer": issuer}, {**said, "jwks_uri": jwks_uri}):
            remote = FakeRemote(in_turn(Respond(json.dumps(described).encode())))
            self.judge(test_jwt.provider(remote, cert_uri=None, issuer=CLAIMS["iss"]), IDP.sign())


class GatewayTests(SynchronousTestCase):
    """Several providers together."""

    @few
    @given(objects(HEADER), objects(CLAIMED))
    def test_together_T81b(self, header: dict[str, Any], claims: dict[str, Any]) -> None:
        """Several providers together refuse a token or report an outage, and nothing else."""
        remote = FakeRemote(lambda _: Respond({}, 403))
        credential = Credential("bearer", forged_jwt({"alg": "RS256", **header}, claims))
        deferred = gathered(every(remote), credential)
        self.failureResultOf(deferred, Rejected, Unavailable)
        self.assertEqual(self.flushLoggedErrors(), [])

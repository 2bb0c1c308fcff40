"""A whole gateway whose signing keys are in its token store."""

from __future__ import annotations

import re
from typing import Any

import jwt
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.waiters import Waiters
from authotron.config import check
from authotron.daemon.compose import compose
from authotron.daemon.live_keys import LiveKeys
from authotron.daemon.live_records import LiveRecords
from authotron.gateway.gateway import Gateway
from authotron.model.errors import ConfigError
from authotron.net.world import World
from authotron.testing.worlds import run_at_once
from authotron.web.replies import Reply
from tests.config.cases import BASE, laid_over
from tests.jose.rings import DAY
from tests.web.conversations import ALICE, InMemoryGateway, answered

KEYS = {"alg": "ES256", "sealing_key": "s" * 32, "rotation": "30d"}
OVER: dict[str, Any] = {"jwt": KEYS, "store": {"type": "memory"}}


class SigningKeysCase(SynchronousTestCase):
    """A gateway that follows its keys."""

    def setUp(self) -> None:
        self.gateway = InMemoryGateway(OVER)
        self.serving, self.clock = self.gateway.serving, self.gateway.clock
        self.world = World(self.clock, run_at_once)
        self.keys = LiveKeys(self.serving, self.world)

    def start(self) -> None:
        self.keys.start()
        self.addCleanup(self.keys.stop)

    def token(self, site: Any = None) -> str:
        answer = self.gateway.ask("GET /authenticate", site, Authorization=ALICE)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.headers["authorization"].removeprefix("Bearer ")

    def kid(self, site: Any = None) -> str:
        kid: str = jwt.get_unverified_header(self.token(site))["kid"]
        return kid

    def kids(self) -> list[str]:
        """Return the ids of the published keys."""
        answer = self.gateway.ask("GET /.well-known/jwks.json")
        return [key["kid"] for key in answer.json()["keys"]]

    def composed(self, **keys: Any) -> Gateway[Reply]:
        """Compose another configuration on the same store."""
        config = check.check(laid_over(BASE, {**OVER, "jwt": {**KEYS, **keys}}))
        tokens = self.serving.gateway.tokens
        store = None if tokens is None else tokens.store.backend
        return compose(config, self.world, self.gateway.metrics, store)


class FollowingTests(SigningKeysCase):
    """What clients, backends and operators see."""

    def test_not_known(self) -> None:
        """While the keys are not known, requests get a 503, and the gateway is not ready."""
        for line in ("GET /authenticate", "GET /.well-known/jwks.json"):
            for site in (self.gateway.public, self.gateway.entrance):
                answer = self.gateway.ask(line, site, Authorization=ALICE)
                self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        self.assertEqual(self.gateway.ask("GET /ready", self.gateway.operations).status, 503)

    def test_outage_is_no_refusal(self) -> None:
        """A JWT of the gateway is not refused while it cannot be verified."""
        provider = {"type": "own-jwt", "name": "own", "realm": "internal"}
        jwt_ = {**KEYS, "aud": "here", "emit_aud": True}
        over = {**OVER, "jwt": jwt_, "providers": [*BASE["providers"], provider]}
        gateway = InMemoryGateway(over)
        keys = LiveKeys(gateway.serving, self.world)
        keys.start()
        self.addCleanup(keys.stop)
        answer = gateway.ask("GET /authenticate", Authorization=ALICE)
        token = answer.headers["authorization"]
        self.assertEqual(gateway.ask("GET /whoami", Authorization=token).status, 200)
        found: Any = gateway.serving.gateway.minter.keys
        found.ring = found._view = None
        gateway.serving.gateway.decisions.invalidate()
        self.assertEqual(gateway.ask("GET /whoami", Authorization=token).status, 503)

    def test_waits(self) -> None:
        """While the keys are read for the first time, requests wait for them."""
        tokens = self.serving.gateway.tokens
        assert tokens is not None
        opening = tokens.store._opening = Waiters()
        self.start()
        found = [self.gateway.connect() for _ in range(2)]
        for (channel, _), path in zip(
            found, ("authenticate", ".well-known/jwks.json"), strict=True
        ):
            line = f"GET /{path} HTTP/1.1\r\nHost: g\r\nAuthorization: {ALICE}\r\n\r\n"
            channel.dataReceived(line.encode())
        self.assertEqual([wire.value() for _, wire in found], [b"", b""])
        tokens.store._opening = None
        opening.succeed(None)
        for _, wire in found:
            [answer] = answered(wire.value())
            self.assertEqual(answer.status, 200)

    def test_published(self) -> None:
        """The active key and the next one are published, for five minutes at most."""
        self.start()
        answer = self.gateway.ask("GET /.well-known/jwks.json")
        self.assertEqual(answer.headers["cache-control"], "public, max-age=300")
        [active, _] = answer.json()["keys"]
        self.assertEqual(self.kid(), active["kid"])
        self.assertFalse({"d", "k"} & active.keys())
        claims = jwt.decode(self.token(), jwt.PyJWK(active), ["ES256"], {"verify_iat": False})
        self.assertEqual(claims["sub"], "internal-alice")

    def test_rotation_T48(self) -> None:
        """From the moment of a rotation no JWT of the earlier key is handed out, on either way."""
        self.start()
        old, new = self.kids()
        self.clock.advance(30 * DAY - 5)
        for site in (self.gateway.entrance, self.gateway.public) * 2:
            self.assertEqual(self.kid(site), old)
        self.clock.advance(5)
        for site in (self.gateway.entrance, self.gateway.public) * 2:
            self.assertEqual(self.kid(site), new)
        self.assertEqual(self.kids()[:2], [new, old])

    def test_rotation_before_a_look_T48(self) -> None:
        """The change does not depend on timers, which a process that was stopped calls late."""
        self.start()
        old, new = self.kids()
        self.clock.advance(30 * DAY - 5)
        self.assertEqual(self.kid(), old)
        self.keys.stop()
        self.clock.rightNow += 5
        self.assertEqual((self.kid(self.gateway.entrance), self.kids()), (new, [new, old]))

    def test_retired_key_T48(self) -> None:
        """If a key is retired, the JWTs that it has signed are replaced at the next look."""
        self.start()
        old, new = self.kids()
        self.clock.advance(DAY)
        self.assertEqual(self.kid(), old)
        follower: Any = self.keys._follower
        plan = follower.keys.plan
        change = follower._shared.change(lambda ring: ring.without(old, self.clock.seconds(), plan))
        self.successResultOf(Deferred.fromCoroutine(change))
        self.clock.advance(10)
        for site in (self.gateway.entrance, self.gateway.public):
            self.assertEqual(self.kid(site), new)
        self.assertNotIn(old, self.kids())

    def test_authenticated_once(self) -> None:
        """After a rotation clients are not authenticated again."""
        self.start()
        self.clock.advance(30 * DAY - 5)
        old = self.kid()
        self.serving.gateway.authenticator.providers = []
        self.clock.advance(5)
        self.assertNotEqual(self.kid(), old)

    def test_ready(self) -> None:
        """Operators see the keys, when they change, and how old this knowledge is."""
        self.start()
        self.clock.advance(7)
        answer = self.gateway.ask("GET /ready", self.gateway.operations)
        self.assertEqual(answer.status, 200)
        active, following = self.kids()
        self.assertEqual(
            answer.json()["keys"],
            {"age": 7.0, "active": active, "next": following, "changes": "2027-02-14T08:00:00Z"},
        )
        text = self.gateway.metrics.text()[0].decode()
        [age] = re.findall(r"^authotron_signing_keys_age_seconds (\S+)$", text, re.MULTILINE)
        self.assertEqual(float(age), 7.0)

    def test_lifetime_of_the_key_set(self) -> None:
        """The published keys may be cached for as long as configured, with keys in files too."""
        gateway = InMemoryGateway({"jwt": {"key_set_lifetime": "1m"}})
        answer = gateway.ask("GET /.well-known/jwks.json")
        self.assertEqual(answer.headers["cache-control"], "public, max-age=60")


class ReloadedTests(SigningKeysCase):
    """What happens to the keys when the configuration changes."""

    def reload(self, gateway: Gateway[Reply], *, is_same_store: bool = True) -> None:
        prepared = self.keys.prepare(gateway, is_same_store=is_same_store)
        self.successResultOf(Deferred.fromCoroutine(prepared))
        self.serving.gateway = gateway
        self.keys.replace()

    def test_kept(self) -> None:
        """The keys stay the same."""
        self.start()
        kids = self.kids()
        self.reload(self.composed(exp=60))
        self.assertEqual((self.kids(), self.kid()), (kids, kids[0]))

    def test_other_store(self) -> None:
        """The keys move on to another store."""
        self.start()
        kids = self.kids()
        other = InMemoryGateway(OVER, self.clock).serving.gateway
        self.reload(other, is_same_store=False)
        self.assertEqual((self.kids(), self.kid()), (kids, kids[0]))
        alone = LiveKeys(self.serving, self.world)
        self.successResultOf(Deferred.fromCoroutine(alone.read()))
        self.assertEqual(self.kids(), kids)

    def test_wrong_sealing_key(self) -> None:
        """A reload with a sealing key that does not fit is refused."""
        self.start()
        prepared = self.keys.prepare(self.composed(sealing_key="t" * 32), is_same_store=True)
        failure = self.failureResultOf(Deferred.fromCoroutine(prepared), ConfigError)
        self.assertIn("jwt.sealing_key: the signing keys in the token store", str(failure.value))
        self.assertEqual(len(self.kids()), 2)

    def test_switched_off(self) -> None:
        """Without a sealing key the keys of the configuration count, and nothing is followed."""
        self.start()
        gateway = InMemoryGateway({"store": {"type": "memory"}}, self.clock).serving.gateway
        self.reload(gateway)
        self.assertEqual((self.kids(), self.keys.is_needed), ([], False))
        self.assertNotIn("keys", self.gateway.ask("GET /ready", self.gateway.operations).json())
        self.assertIn(
            "authotron_signing_keys_age_seconds 0.0", self.gateway.metrics.text()[0].decode()
        )


class SharedRecordsTests(SynchronousTestCase):
    """A gateway that follows the records of its store anyway, because it knows revocations."""

    def test_noticed_at_once(self) -> None:
        """A change of the keys is noticed when the records are read."""
        gateway = InMemoryGateway({**OVER, "revocation": {}})
        world = World(gateway.clock, run_at_once)
        records, keys = LiveRecords(gateway.serving, world), LiveKeys(gateway.serving, world)
        for each in (records, keys):
            each.start()
            self.addCleanup(each.stop)
        follower: Any = keys._follower
        found = follower.keys.ring
        change = follower._shared.change(
            lambda ring: ring.without(
                found.keys[1].kid, gateway.clock.seconds(), follower.keys.plan
            )
        )
        self.successResultOf(Deferred.fromCoroutine(change))
        gateway.clock.advance(0.5)
        self.assertGreater(follower.keys.ring.version, found.version)


class ConfigurationTests(SynchronousTestCase):
    """Configurations that cannot work."""

    def test_problems(self) -> None:
        """Each problem names its key, and what to do."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"sealing_key": "s" * 31}, "jwt.sealing_key: is shorter than 32 bytes"),
            ({"alg": "HS256"}, "jwt.sealing_key: needs jwt.alg ES256, RS256 or EdDSA, not HS256"),
            ({"sealing_key": ..., "key": "x"}, "jwt.rotation: needs jwt.sealing_key"),
            (
                {"sealing_key": ..., "rotation": ..., "key": "x", "previous_sealing_key": "s" * 32},
                "jwt.previous_sealing_key: needs jwt.sealing_key",
            ),
            ({"previous_sealing_key": "s"}, "jwt.previous_sealing_key: is shorter than 32 bytes"),
            ({"rotation": "5m"}, "jwt.rotation: is shorter than 360 s"),
            ({"rotation": "1h", "exp": "9h"}, "jwt.rotation: is shorter than a part in 8"),
        ]
        for keys, wanted in cases:
            content = laid_over(BASE, {**OVER, "jwt": {**KEYS, **keys}})
            error = self.assertRaises(ConfigError, check.check, content)
            self.assertIn(wanted, str(error))

    def test_store_is_needed(self) -> None:
        """Without a token store there is no place for the keys."""
        content = laid_over(BASE, {"jwt": KEYS})
        error = self.assertRaises(ConfigError, check.check, content)
        self.assertIn("jwt.sealing_key: needs a token store", str(error))

    def test_memory(self) -> None:
        """A warning says that a store in memory loses the keys."""
        [warning] = [each for each in check.check(laid_over(BASE, OVER)).warnings if "keys" in each]
        self.assertIn("type memory loses the signing keys", warning)

"""The jwt provider."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import jwt as pyjwt
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.errors import ConfigError, Rejected, Unavailable
from authotron.model.identity import Credential
from authotron.plugin.interfaces import (
    Affinity,
    IDescribesRemote,
    IMayAskRemotes,
    IProvider,
    IReachable,
)
from authotron.providers import jwt
from authotron.testing.contracts import ProviderContract
from authotron.testing.issuers import CLAIMS, IDP, NEXT, Signer, forged_jwt, key_set
from authotron.testing.remotes import Action, FakeRemote, Hang, Respond, start
from authotron.testing.worlds import NOW, clock_at, world

CERTS = "https://idp.example/certs"
ISSUER = "https://idp.example/realms/x"


def config(**given: Any) -> jwt.Config:
    return section.read(jwt.Config, {"type": "jwt", "name": "it", "realm": "here", **given})


def provider(remote: FakeRemote | None = None, **given: Any) -> IProvider:
    found = remote or FakeRemote(lambda _: Respond(key_set(IDP)))
    return jwt.make(config(**{"cert_uri": CERTS, **given}), world(agents=found))


def bearer(token: str) -> Credential:
    return Credential("bearer", token)


class JwtContractTests(ProviderContract, SynchronousTestCase):
    """The jwt provider is a provider."""

    def provider(self) -> IProvider:
        return provider(secret="secret" * 6)

    def good(self) -> Credential:
        return bearer(IDP.sign())

    def bad(self) -> Credential:
        return bearer(NEXT.sign(header={"kid": "idp"}))


class JwtTests(SynchronousTestCase):
    """Rules of the jwt provider."""

    def affinity(self, token: str, **given: Any) -> Affinity:
        return provider(**given).affinity(bearer(token))

    def test_issuer(self) -> None:
        """A token is for providers with its issuer, and not for those with another issuer."""
        self.assertIs(self.affinity(IDP.sign(), issuer=ISSUER), Affinity.LIKELY)
        self.assertIs(self.affinity(IDP.sign(), issuer=ISSUER + "/"), Affinity.FOREIGN)
        self.assertIs(self.affinity(IDP.sign()), Affinity.POSSIBLE)

    def test_foreign_T36(self) -> None:
        """An opaque token, or a JWT for another purpose than access, is not for the provider."""
        self.assertIs(self.affinity("opaque"), Affinity.FOREIGN)
        self.assertIs(self.affinity(IDP.sign(typ="Offline"), issuer=ISSUER), Affinity.FOREIGN)

    def test_any(self) -> None:
        """With `accepts: any` the provider is asked about every token."""
        for token in ("opaque", IDP.sign(iss="other"), IDP.sign(typ="ID")):
            self.assertIs(self.affinity(token, issuer=ISSUER, accepts="any"), Affinity.POSSIBLE)

    def test_discovery(self) -> None:
        """The key set is discovered from the issuer."""
        described = {"issuer": ISSUER, "jwks_uri": CERTS}
        remote = FakeRemote(
            {
                "idp.example/realms/x/.well-known/openid-configuration": Respond(described),
                "idp.example/certs": Respond(key_set(IDP)),
            }
        )
        judge = provider(remote, cert_uri=None, issuer=ISSUER)
        self.successResultOf(start(judge.authenticate(bearer(IDP.sign()))))

    def test_removed_key_after_reload(self) -> None:
        """
        A decision that relies on a key which the refresh after a reload removes is not used longer
        than until that refresh; a decision by a shared secret does not depend on the key set.
        """
        plays: list[Action] = [Respond(key_set(IDP)), Hang(), Respond(key_set(NEXT))]
        place = world(agents=FakeRemote(lambda _: plays.pop(0)))
        settings = config(cert_uri=CERTS, secret="secret" * 6)
        before = jwt.make(settings, place)
        found = self.successResultOf(start(before.authenticate(bearer(IDP.sign()))))
        self.assertEqual(found.fresh_until, found.expires)
        place.clock.advance(10)  # type: ignore[attr-defined]
        after = jwt.make(settings, place)
        found = self.successResultOf(start(after.authenticate(bearer(IDP.sign()))))
        self.assertEqual(found.fresh_until, 0)
        symmetric = pyjwt.encode(dict(CLAIMS), "secret" * 6, "HS256")
        found = self.successResultOf(start(after.authenticate(bearer(symmetric))))
        self.assertEqual(found.fresh_until, found.expires)

    def test_id_token_T36(self) -> None:
        """An ID token is rejected."""
        deferred = start(provider().authenticate(bearer(IDP.sign(typ="ID"))))
        self.failureResultOf(deferred, Rejected)

    def test_id_token_without_type_T81d(self) -> None:
        """An ID token without type is rejected; the configured type would accept it."""
        for token in (
            IDP.sign(at_hash="x"),
            IDP.sign(token_use="id"),
            IDP.sign(token_type="refresh"),
        ):
            self.assertIs(self.affinity(token), Affinity.FOREIGN)
            self.failureResultOf(start(provider().authenticate(bearer(token))), Rejected)
            self.successResultOf(start(provider(typ="JWT").authenticate(bearer(token))))

    def test_other_kinds_T99(self) -> None:
        """A signed token of another type is rejected."""
        for typ in ("statuslist+jwt", "application/Secevent+JWT", "entity-statement+jwt"):
            token = IDP.sign(header={"typ": typ})
            self.assertIs(self.affinity(token), Affinity.FOREIGN)
            self.failureResultOf(start(provider().authenticate(bearer(token))), Rejected)
            self.successResultOf(start(provider(typ=typ).authenticate(bearer(token))))

    def test_unsigned_T81a(self) -> None:
        """Members of any type in an unsigned header or claims cause no defect."""
        odd: tuple[Any, ...] = (None, True, 5, 0.5, "x", [], ["x"], {}, {"x": []})
        for value in odd:
            for name in ("typ", "iss", "alg", "kid"):
                for token in (
                    forged_jwt({"alg": "RS256", "kid": "idp", name: value}),
                    forged_jwt({"alg": "RS256", "kid": "idp"}, {**CLAIMS, name: value}),
                ):
                    with self.subTest(f"{name} {value}"):
                        judge = provider(issuer=ISSUER)
                        self.assertIsInstance(judge.affinity(bearer(token)), Affinity)
                        self.failureResultOf(start(judge.authenticate(bearer(token))), Rejected)

    def test_header_types_T81a(self) -> None:
        """A signed token is refused if a registered member of its header is of another type."""
        members: dict[str, tuple[Any, ...]] = {
            **dict.fromkeys(("cty", "jku", "x5u", "x5t", "x5t#S256"), (5, [], {}, True)),
            "x5c": ("x", {}),
            "jwk": ("x", []),
            **dict.fromkeys(("crit", "zip"), (["x"], True, None, "DEF", [])),
        }
        for name, values in members.items():
            for value in values:
                with self.subTest(f"{name} {value}"):
                    token = IDP.sign(header={name: value})
                    self.failureResultOf(start(provider().authenticate(bearer(token))), Rejected)
        token = IDP.sign(
            header={"cty": "x", "x5c": ["x"], "jwk": {}, "jku": "https://x", "other": 5}
        )
        self.successResultOf(start(provider().authenticate(bearer(token))))

    def test_long_header_T81a(self) -> None:
        """A header above 16 KiB is not parsed."""
        token = IDP.sign(header={"x5c": ["x" * 12_300]})
        self.failureResultOf(start(provider().authenticate(bearer(token))), Rejected)
        token = IDP.sign(header={"x5c": ["x" * 12_000]})
        self.successResultOf(start(provider().authenticate(bearer(token))))

    def test_half_pair_T94(self) -> None:
        """A signed token that holds half of a surrogate pair is refused."""
        for claim in ({"sub": "\ud800"}, {"x": {"y": ["\udfff"]}}, {"\ud800": "x"}):
            token = IDP.sign({**CLAIMS, **claim})
            self.failureResultOf(start(provider().authenticate(bearer(token))), Rejected)

    def test_encoding_T95(self) -> None:
        """Signed claims in another encoding than UTF-8, or with a byte order mark, are refused."""
        for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig"):
            token = IDP.sign(json.dumps(dict(CLAIMS)).encode(encoding))
            self.failureResultOf(start(provider().authenticate(bearer(token))), Rejected)
            header = json.dumps({"alg": "RS256", "kid": "idp"}).encode(encoding)
            self.failureResultOf(
                start(provider().authenticate(bearer(forged_jwt(header)))), Rejected
            )

    def test_own_token_T36(self) -> None:
        """A JWT that the gateway minted, with a secret that backends know, is rejected."""
        minted = pyjwt.encode(dict(CLAIMS), "conformance-secret-of-32-bytes-or-more", "HS256")
        self.failureResultOf(start(provider().authenticate(bearer(minted))), Rejected)

    def test_outage_T70(self) -> None:
        """Without keys the provider is unavailable and not reachable."""
        judge = provider(FakeRemote(lambda _: Respond({}, 503)))
        self.failureResultOf(start(judge.authenticate(bearer(IDP.sign()))), Unavailable)
        self.assertTrue(IReachable.providedBy(judge))
        self.failureResultOf(start(IReachable(judge).check_reachable()), Unavailable)

    def test_config(self) -> None:
        """The configuration needs keys or a secret, and known algorithms."""
        for given in (
            {},
            {"cert_uri": CERTS, "algorithms": ["HS256"]},
            {"cert_uri": CERTS, "algorithms": ["none"]},
            {"secret": "short"},
            {"issuer": "no address"},
            {"cert_uri": CERTS, "unknown": 1},
        ):
            self.assertRaises(ConfigError, config, **given)
        config(secret="s" * 64, algorithms=["HS512"])

    def test_secret_as_long_as_the_hash_T96(self) -> None:
        """A listed HMAC algorithm needs a secret as long as its hash."""
        for algorithm, size in (("HS256", 32), ("HS384", 48), ("HS512", 64)):
            config(secret="s" * size, algorithms=[algorithm])
            for listed in ([algorithm], ["RS256", algorithm]):
                self.assertRaises(
                    ConfigError, config, secret="s" * (size - 1), algorithms=listed, cert_uri=CERTS
                )
        self.assertRaises(ConfigError, config, secret="s" * 31, algorithms=["RS256"])

    def test_short_secret_T96(self) -> None:
        """Without a list, HMAC algorithms whose hash is longer than the secret are not accepted."""
        fitting = {32: 1, 47: 1, 48: 2, 63: 2, 64: 3}
        for size, accepted in fitting.items():
            judge = provider(secret="s" * size)
            tokens = [
                pyjwt.encode(dict(CLAIMS), "s" * size, alg) for alg in ("HS256", "HS384", "HS512")
            ]
            for token in tokens[:accepted]:
                self.successResultOf(start(judge.authenticate(bearer(token))))
            for token in tokens[accepted:]:
                self.failureResultOf(start(judge.authenticate(bearer(token))), Rejected)
        self.flushWarnings()  # PyJWT warns when it signs with a short secret

    def test_local_by_credential_D5(self) -> None:
        """The provider asks its issuer only for a key that was not fetched yet."""
        clock = clock_at(NOW)
        remote = FakeRemote(lambda _: Respond(key_set(IDP)))
        judge = jwt.make(config(cert_uri=CERTS, secret="s" * 32), world(clock, remote))
        shared, unknown = Signer("", "HS256", "s" * 32).sign(), NEXT.sign()
        local = IMayAskRemotes(judge).is_local
        for token, is_local in ((IDP.sign(), False), (unknown, False), (shared, True)):
            self.assertEqual(local(bearer(token)), is_local)
        for token in ("opaque", forged_jwt({"alg": 5}), forged_jwt({"alg": "RS256", "kid": []})):
            self.assertTrue(local(bearer(token)))
        self.successResultOf(start(judge.authenticate(bearer(IDP.sign()))))
        self.assertTrue(local(bearer(IDP.sign())))
        self.assertFalse(local(bearer(unknown)))
        self.failureResultOf(start(judge.authenticate(bearer(unknown))), Rejected)
        self.assertTrue(local(bearer(unknown)))
        clock.advance(10)
        self.assertFalse(local(bearer(unknown)))

    def test_local_D5(self) -> None:
        """The provider is local with a secret, or once the keys are fetched."""
        self.assertTrue(provider(cert_uri=None, secret="s" * 32).local)
        judge = provider()
        self.assertFalse(judge.local)
        self.successResultOf(start(IReachable(judge).check_reachable()))
        self.assertTrue(judge.local)


class RefreshTests(SynchronousTestCase):
    """Which requests wait until keys are fetched again."""

    def test_known_key_never_waits_H_KEYS(self) -> None:
        """While an issuer drops packets, JWTs with a known key are verified at once, for a day."""
        for given in ({"cert_uri": CERTS}, {"issuer": ISSUER}):
            clock = clock_at(NOW)
            described = Respond({"issuer": ISSUER, "jwks_uri": CERTS})
            remote = FakeRemote(
                {
                    "idp.example/realms/x/.well-known/openid-configuration": described,
                    "idp.example/certs": Respond(key_set(IDP)),
                }
            )
            judge = jwt.make(config(**given), world(clock, remote))
            token = bearer(IDP.sign(exp=NOW + 90_000))
            self.successResultOf(start(judge.authenticate(token)))
            remote.script = lambda _: Hang()
            for _ in range(143):
                clock.advance(600)
                self.assertTrue(judge.local and IMayAskRemotes(judge).is_local(token))
                self.successResultOf(start(judge.authenticate(token)))
            clock.advance(600)
            self.assertNoResult(start(judge.authenticate(token)))

    def test_without_kid_H_KEYS(self) -> None:
        """JWTs without C{kid} do not wait either, and an unknown key does not delay others."""
        clock, remote = clock_at(NOW), FakeRemote(lambda _: Respond(key_set(IDP)))
        judge = jwt.make(config(cert_uri=CERTS), world(clock, remote))
        plain = bearer(IDP.sign(header={"kid": None}, exp=NOW + 9000))
        self.successResultOf(start(judge.authenticate(plain)))
        remote.script = lambda _: Hang()
        clock.advance(600)
        unknown = start(judge.authenticate(bearer(NEXT.sign(exp=NOW + 9000))))
        self.successResultOf(start(judge.authenticate(plain)))
        self.assertNoResult(unknown)


class KeyFileTests(SynchronousTestCase):
    """Key sets in files, and key sets that want a token or other headers."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.remote = FakeRemote(lambda _: Respond(key_set(IDP)))
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, name: str, content: Any) -> str:
        path = self.folder.absolute() / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def made(self, **given: Any) -> IProvider:
        return jwt.make(config(**given), world(self.clock, self.remote))

    def test_key_set_in_file_W_JWKS(self) -> None:
        """Keys in a file are used without any request, with and without an issuer."""
        path = self.write("keys.json", key_set(IDP))
        for given in ({}, {"issuer": ISSUER}, {"secret": "s" * 32}):
            judge = self.made(jwks_file=path, **given)
            self.successResultOf(start(judge.authenticate(bearer(IDP.sign()))))
            self.failureResultOf(start(judge.authenticate(bearer(NEXT.sign()))), Rejected)
        self.assertEqual(self.remote.requests, [])

    def test_replaced_file_W_JWKS(self) -> None:
        """A file is read anew for an unknown key, and after 600 s; if it is bad, the keys stay."""
        judge = self.made(jwks_file=self.write("keys.json", key_set(IDP)))
        self.successResultOf(start(judge.authenticate(bearer(IDP.sign()))))
        self.write("keys.json", key_set(IDP, NEXT))
        self.successResultOf(start(judge.authenticate(bearer(NEXT.sign()))))
        for bad in ("", "{", "[]", '{"keys": []}'):
            self.write("keys.json", bad)
            self.clock.advance(600)
            token = bearer(NEXT.sign(exp=int(self.clock.seconds()) + 300))
            self.successResultOf(start(judge.authenticate(token)))
        self.write("keys.json", key_set(IDP))
        self.clock.advance(600)
        token = bearer(IDP.sign(exp=int(self.clock.seconds()) + 300))
        self.successResultOf(start(judge.authenticate(token)))
        token = bearer(NEXT.sign(exp=int(self.clock.seconds()) + 300))
        self.failureResultOf(start(judge.authenticate(token)), Rejected)

    def test_bad_file_W_JWKS(self) -> None:
        """A file without a usable key, or one without effect, is a mistake that says so."""
        good = self.write("good.json", key_set(IDP))
        token = self.write("token", "abc")
        for given, reason in (
            ({"jwks_file": self.write("empty.json", {"keys": []})}, "has no usable key"),
            ({"jwks_file": self.write("list.json", "[]")}, "is not a key set"),
            ({"jwks_file": self.write("bad.json", "{")}, "is not strict JSON"),
            ({"jwks_file": str(self.folder / "none")}, "No such file"),
            ({"jwks_file": good, "cert_uri": CERTS}, "not both"),
            ({"jwks_file": good, "token_file": token}, "have no effect"),
            ({"secret": "s" * 32, "token_file": token}, "have no effect"),
            ({"cert_uri": CERTS, "token_file": self.write("blank", " ")}, "does not hold a bearer"),
            ({"cert_uri": CERTS, "token_file": self.write("two", "a b")}, "does not hold a bearer"),
            ({"cert_uri": CERTS, "headers_file": self.write("h", "a: b\nx")}, "line 2 is not"),
            ({"cert_uri": CERTS, "headers_file": self.write("c", "a: b\x01")}, "line 1 is not"),
        ):
            with self.subTest(reason):
                error = self.assertRaises(ConfigError, config, **given)
                self.assertIn(reason, str(error))

    def test_token_W_JWKS(self) -> None:
        """The token in a file is sent to the key set, and read anew for each request."""
        path = self.write("token", "first\n")
        judge = self.made(cert_uri=CERTS, token_file=path)
        self.successResultOf(start(judge.authenticate(bearer(IDP.sign()))))
        self.write("token", "second")
        self.clock.advance(10)
        self.failureResultOf(start(judge.authenticate(bearer(NEXT.sign()))), Rejected)
        sent = [each.headers.get("authorization") for each in self.remote.requests]
        self.assertEqual(sent, ["Bearer first", "Bearer second"])

    def test_headers_W_JWKS(self) -> None:
        """The headers in a file are sent to the key set, beside the usual ones."""
        path = self.write("headers", "# of the proxy\nX-Api-Key: k e y\n\naCCept:text/plain\n")
        judge = self.made(cert_uri=CERTS, headers_file=path)
        self.successResultOf(start(judge.authenticate(bearer(IDP.sign()))))
        [asked] = self.remote.requests
        self.assertEqual(
            (asked.headers["x-api-key"], asked.headers["accept"]), ("k e y", "text/plain")
        )

    def test_unreadable_token_W_JWKS(self) -> None:
        """If the file of the token is gone, keys cannot be fetched, and the log names the file."""
        path = self.write("token", "first")
        judge = self.made(cert_uri=CERTS, token_file=path)
        Path(path).unlink()
        failure = self.failureResultOf(start(judge.authenticate(bearer(IDP.sign()))), Unavailable)
        self.assertIn(f"cannot read {path}", failure.getErrorMessage())
        self.assertEqual(self.remote.requests, [])

    def test_token_of_discovery_W_JWKS(self) -> None:
        """By discovery, the token goes to the host of the issuer, and to no other host."""
        path = self.write("token", "first")
        for url, sent in (
            ("https://idp.example/openid/v1/jwks", "Bearer first"),
            ("https://other.example/openid/v1/jwks", None),
            ("https://idp.example:6443/openid/v1/jwks", None),
        ):
            described = Respond({"issuer": ISSUER, "jwks_uri": url})
            self.remote = FakeRemote(
                lambda asked, answer=described: (  # type: ignore[misc] # bound to this round
                    answer if "well-known" in asked.address else Respond(key_set(IDP))
                )
            )
            judge = self.made(issuer=ISSUER, token_file=path)
            self.successResultOf(start(judge.authenticate(bearer(IDP.sign()))))
            found = [each.headers.get("authorization") for each in self.remote.requests]
            self.assertEqual(found, ["Bearer first", sent])


class KeyListTests(SynchronousTestCase):
    """What C{authotron doctor} says about a key set."""

    def described(self, **given: Any) -> str:
        judge = provider(**given)
        self.successResultOf(start(IReachable(judge).check_reachable()))
        return IDescribesRemote(judge).describe_remote()

    def test_keys_by_name_and_algorithm_W_DOCTOR(self) -> None:
        """The keys are listed with C{kid} and algorithms."""
        text = self.described()
        self.assertIn("1 key: ", text)
        self.assertIn('"idp" ', text)
        self.assertIn("256", text)

    def test_no_key_for_the_accepted_algorithms_W_DOCTOR(self) -> None:
        """A key set without a key for the accepted algorithms is unavailable."""
        refused = self.assertRaises(Unavailable, self.described, algorithms=["EdDSA"])
        self.assertIn("no key fits the accepted algorithms EdDSA, Ed25519; 1 key", str(refused))

    def test_shared_secret_has_no_key_set_W_DOCTOR(self) -> None:
        """A provider with a shared secret alone lists no keys."""
        self.assertEqual(self.described(cert_uri=None, secret="s" * 32), "")


class ReloadTests(SynchronousTestCase):
    """Keys after a reload, which builds new providers in the same world."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.play: Action = Respond(key_set(IDP))
        self.remote = FakeRemote(lambda _: self.play)
        self.world = world(self.clock, self.remote)

    def made(self, **given: Any) -> IProvider:
        return jwt.make(config(**{"cert_uri": CERTS, **given}), self.world)

    def test_issuer_is_down_D1(self) -> None:
        """Fetched keys are used further if the issuer is unreachable after a reload."""
        for given in ({}, {"cert_uri": None, "issuer": ISSUER}):
            described = Respond({"issuer": ISSUER, "jwks_uri": CERTS})
            self.remote.script = {
                "idp.example/realms/x/.well-known/openid-configuration": described,
                "idp.example/certs": Respond(key_set(IDP)),
            }
            before, token = self.made(**given), bearer(IDP.sign())
            self.successResultOf(start(before.authenticate(token)))
            self.remote.script = lambda _: Respond({}, 500)
            self.successResultOf(start(self.made(**given).authenticate(token)))
            self.clock.advance(10)
            self.successResultOf(start(self.made(**given).authenticate(token)))

    def test_removed_key_D1(self) -> None:
        """A reload fetches the keys anew: those that were removed are not used any more."""
        before = self.made()
        self.successResultOf(start(before.authenticate(bearer(IDP.sign()))))
        self.play = Hang()
        self.clock.advance(10)
        after = self.made()
        self.successResultOf(start(after.authenticate(bearer(IDP.sign()))))
        self.assertEqual(len(self.remote.requests), 2)
        self.remote.finish_all(json.dumps(key_set(NEXT)).encode())
        self.play = Respond(key_set(NEXT))
        self.failureResultOf(start(after.authenticate(bearer(IDP.sign()))), Rejected)
        self.successResultOf(start(after.authenticate(bearer(NEXT.sign()))))

    def test_changed_D1(self) -> None:
        """Keys are fetched by what the new configuration says, if that differs."""
        before = self.made()
        self.successResultOf(start(before.authenticate(bearer(IDP.sign()))))
        for given in ({"cert_uri": CERTS + "2"}, {"timeout": 1}, {"connections": 1}):
            self.assertTrue(before.local)
            self.assertFalse(self.made(**given).local)
        self.assertTrue(self.made(issuer=ISSUER, audience="x", leeway=5).local)

    def test_let_go_D1(self) -> None:
        """A key set is dropped once no configuration uses it."""
        gc.freeze()  # what was there before need not be searched
        self.addCleanup(gc.unfreeze)
        before = self.made()
        self.successResultOf(start(before.authenticate(bearer(IDP.sign()))))
        del before
        gc.collect()
        self.assertFalse(self.made().local)

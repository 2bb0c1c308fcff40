"""Which providers may look for credentials in the same part of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import check
from authotron.daemon.compose import compose
from authotron.gateway.outcomes import Decision
from authotron.model.errors import ConfigError
from authotron.model.request import Presented
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import world
from tests.config.cases import BASE, laid_over
from tests.config.test_credentials import TOKENS
from tests.mtls.issuing import root

STAFF = BASE["providers"][0]
KEY = {"header": "X-API-Key"}


class ProblemCase(SynchronousTestCase):
    """Collects the problems of a configuration."""

    def problems(self, *providers: Any, **over: Any) -> list[str]:
        config = check.check(laid_over(BASE, {"providers": list(providers), **over}))
        try:
            compose(config, world(Clock()), Metrics())
        except ConfigError as error:
            return [str(each) for each in error.problems]
        return []


class ProblemTests(ProblemCase):
    """Combinations that cannot work."""

    def test_half_of_a_password_provider(self) -> None:
        """One half of Basic cannot be a user name and password."""
        [found] = self.problems({**STAFF, "credentials": {"basic": "password"}})
        self.assertEqual(
            found,
            "providers[0].credentials: one half of a Basic credential can only be a token, and the "
            "provider judges Basic credentials",
        )

    def test_two_schemes(self) -> None:
        """One carrier cannot carry credentials of two schemes."""
        key = {"credentials": KEY}
        [found] = self.problems({**TOKENS, **key}, {**STAFF, **key})
        self.assertEqual(
            found,
            "providers[1].credentials: header x-api-key carries Bearer credentials of 'keys', so "
            "it cannot carry Basic credentials",
        )
        [found] = self.problems({**STAFF, **key}, store={"type": "memory", **key})
        self.assertIn("'token-store'", found)

    def test_several_providers(self) -> None:
        """Providers of one scheme may share a carrier; words of schemes keep others apart."""
        self.assertEqual(self.problems(*[{**TOKENS, "credentials": KEY}] * 2), [])
        words = [{"header": "Proxy-Authorization", "scheme": each} for each in ("Basic", "Bearer")]
        providers = ({**STAFF, "credentials": words[0]}, {**TOKENS, "credentials": words[1]})
        self.assertEqual(self.problems(*providers), [])

    def test_header_with_a_fact_T27b(self) -> None:
        """A header in which a proxy states a fact carries no credential."""
        nginx = {"type": "nginx", "headers": {"path": "X-API-Key"}}
        for server in ({"contracts": [nginx]}, {"forwarded": {"host": "x-api-key"}}):
            [found] = self.problems({**TOKENS, "credentials": KEY}, server=server)
            self.assertEqual(
                found,
                "providers[0].credentials: header x-api-key states a fact in a contract of a proxy",
            )


class CertificateTests(ProblemCase):
    """Providers that verify the certificates of clients."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        file = folder.absolute() / "ca.pem"
        file.write_bytes(root().pem)
        keys = {"type": "mtls", "name": "m", "realm": "machines", "ca_file": str(file)}
        self.mtls: dict[str, Any] = keys

    def contract(self, **headers: str) -> dict[str, Any]:
        return {"contracts": [{"type": "nginx", "headers": headers}]}

    def test_not_stated_S_MTLSHEADER(self) -> None:
        """A proxy must state the certificate, in a header that is configured, or by gRPC."""
        [found] = self.problems(STAFF, self.mtls)
        self.assertTrue(found.startswith("providers[1]: no proxy states the certificates"), found)
        self.assertEqual(self.problems(self.mtls, server=self.contract(certificate="X-Cert")), [])
        server = {"listen": ["grpc:tcp:9191:interface=127.0.0.1"]}
        self.assertEqual(self.problems(self.mtls, server=server), [])

    def test_header_of_another_S_MTLSHEADER(self) -> None:
        """The header with the certificate carries no other credential."""
        key = {**TOKENS, "credentials": {"header": "X-Cert"}}
        [found] = self.problems(self.mtls, key, server=self.contract(certificate="x-cert"))
        self.assertIn("states a fact", found)

    def test_no_challenge(self) -> None:
        """A 401 does not ask for a certificate, which a client cannot add to a request."""
        server = self.contract(certificate="X-Cert")
        config = check.check(laid_over(BASE, {"providers": [self.mtls, STAFF], "server": server}))
        gateway = compose(config, world(Clock()), Metrics())
        fixed = gateway.decisions.decide(Presented())
        assert isinstance(fixed, Decision)
        self.assertIn((b"WWW-Authenticate", b'Basic realm="internal"'), fixed.reply.headers)
        self.assertEqual(gateway.credential_names.headers, ("Authorization",))

    def test_trust(self) -> None:
        """Without configured proxies every program of the machine can state a certificate."""
        for server, count in (({}, 1), ({"trusted_proxies": ["127.0.0.1"]}, 0)):
            server.update(self.contract(certificate="X-Cert"))
            config = check.check(laid_over(BASE, {"providers": [self.mtls], "server": server}))
            found = [each for each in config.warnings if "certificate of any client" in each]
            self.assertEqual(len(found), count)

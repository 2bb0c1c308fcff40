"""The claims of every type of provider, as they arrive in the decisions of a policy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import check, plugins
from authotron.config.sources import Sources
from authotron.daemon.compose import compose
from authotron.gateway.gateway import Gateway
from authotron.gateway.policy import Asked
from authotron.model.authentication import Authentication
from authotron.model.carriers import CERTIFICATE
from authotron.model.identity import Credential
from authotron.model.request import Facts
from authotron.net.world import World
from authotron.telemetry.metrics import Metrics
from authotron.testing.issuers import IDP, key_set
from authotron.testing.oauth import OAuthServer
from authotron.testing.remotes import FakeRemote, Respond, start
from authotron.testing.worlds import NOW, clock_at, world
from tests import directories
from tests.config.cases import BASE, ROOT, laid_over
from tests.directories import Server, person
from tests.mtls.issuing import named, presented
from tests.providers import (
    test_ecmwf_api,
    test_ecmwf_token_generator,
    test_efas_api,
    test_http,
    test_introspection,
    test_mtls,
    test_openid_offline,
)
from tests.web.conversations import basic

NO_SOURCE = "own-jwt"
"""The type whose identities keep the source that another provider gave them."""

GOOD = Credential("bearer", "good")
ADMINS = f"cn=Admins,ou=Groups,{directories.BASE}"


def password(username: str, text: str) -> Credential:
    return Credential("basic", basic(username, text).removeprefix("Basic "))


def certificate(subject: x509.Name, *hosts: str) -> Credential:
    leaf = test_mtls.ROOT.issue(subject=subject, names=[*map(x509.DNSName, hosts)])
    return Credential("certificate", presented(leaf).as_word(), carrier=CERTIFICATE)


def tokens(server: OAuthServer) -> OAuthServer:
    """Let a server know one token, whose access token has groups and roles."""
    known = {"active": True, "sub": "u-1", "scope": "read offline_access", "group": ["a", "b"]}
    server.tokens["good"] = known
    access: dict[str, Any] = {"typ": "Bearer", "scope": "read offline_access", "group": ["a", "b"]}
    server.access_token = IDP.sign(**access, realm_access={"roles": ["reader"]})
    return server


def ldap_world(clock: Clock) -> World:
    server = Server(person("alice", ADMINS, mail=["a@b.org"]))
    server.passwords[f"uid=alice,ou=people,{directories.BASE}"] = "alice-secret"
    return directories.world(clock, localhost=server)


def of_remote(remote: FakeRemote) -> Any:
    return lambda clock: world(clock, remote)


Case = tuple[Mapping[str, Any], Credential, Any, list[str]]
"""The keys of a provider, a credential, a function that builds the world, and expected claims."""

CASES: dict[str, Case] = {
    "plain": (
        {"users": [{"username": "alice", "password": "wonder", "roles": ["reader"]}]},
        password("alice", "wonder"),
        world,
        ["username=alice", "role=reader"],
    ),
    "static-token": (
        {"tokens": [{"token": "t" * 40, "username": "robot", "attributes": {"team": "blue"}}]},
        Credential("bearer", "t" * 40),
        world,
        ["username=robot", "team=blue"],
    ),
    "ldap": (
        {**directories.SECTION, "attributes": {"mail": "email"}},
        password("alice", "alice-secret"),
        ldap_world,
        ["username=alice", "role=Admins", "email=a@b.org"],
    ),
    "jwt": (
        {"cert_uri": "https://idp.example/certs"},
        Credential(
            "bearer", IDP.sign(group=["a", "b"], level=5, realm_access={"roles": ["reader"]})
        ),
        of_remote(FakeRemote(lambda _: Respond(key_set(IDP)))),
        ["username=tess", "role=reader", "scope=it:openid", "group=a", "group=b", "level=5"],
    ),
    "openid-offline": (
        {
            "cert_uri": "https://iam.example/certs",
            "public_client_id": "app",
            "private_client_id": "gate",
            "private_client_secret": "secret",
            "iam_url": "https://iam.example/auth/",
        },
        GOOD,
        of_remote(tokens(test_openid_offline.keycloak())),
        ["username=tess", "role=reader", "scope=it:read", "group=a", "group=b"],
    ),
    "ecmwf-token-generator": (
        {
            "cert_uri": "https://gen.example/certs",
            "client_id": "gate",
            "client_secret": "secret",
            "token_generator_url": "https://gen.example/g",
        },
        GOOD,
        of_remote(tokens(test_ecmwf_token_generator.generator())),
        ["username=tess", "role=reader", "scope=it:read", "group=a"],
    ),
    "introspection": (
        {
            "url": f"https://{test_introspection.INTROSPECT}",
            "client_id": "gate",
            "client_secret": "secret",
        },
        GOOD,
        of_remote(tokens(OAuthServer())),
        ["username=u-1", "scope=it:read", "group=a", "group=b"],
    ),
    "http": (
        {"url": "https://accounts.example/who"},
        GOOD,
        of_remote(FakeRemote(test_http.knows_one)),
        ["username=tess", "role=reader", "scope=files:read", "mail=t@x"],
    ),
    "mtls": (
        {"ca_file": "ca.pem", "roles": ["host"]},
        certificate(named("ada"), "a.x", "b.x"),
        world,
        ["username=ada", "role=host", "commonname=ada", "dnsname=a.x", "dnsname=b.x"],
    ),
    "ecmwf-api": (
        {"uri": "https://api.example/v1/"},
        GOOD,
        of_remote(FakeRemote(test_ecmwf_api.knows_one)),
        ["username=tess", "ecmwf-email=tess@example.org"],
    ),
    "efas-api": (
        {"uri": "https://efas.example/user"},
        GOOD,
        of_remote(FakeRemote(test_efas_api.knows_one)),
        ["username=tess", "role=flood", "role=admin", "email=tess@example.org"],
    ),
}


class ProviderClaimsTests(SynchronousTestCase):
    """Each type of provider, in a gateway with a policy about its claims."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "ca.pem").write_bytes(test_mtls.ROOT.pem)

    def composed(self, type_: str, subjects: Sequence[list[str]], **keys: Any) -> Gateway[Any]:
        given, _, make_world, _ = CASES[type_]
        provider = {**given, "type": type_, "name": "it", "realm": "here", **keys}
        rules = [
            {"name": f"r{number}", "subject": [each], "permissions": [f"/{number}:GET"]}
            for number, each in enumerate(subjects)
        ]
        nginx = {"type": "nginx", "headers": {"certificate": "X-SSL-Client-Cert"}}
        over = {"policy": {"rules": rules}, "server": {"contracts": [nginx]}}
        file = laid_over(BASE, over)
        config = check.check({**file, "providers": [provider]}, Sources(self.folder))
        return compose(config, make_world(clock_at(NOW)), Metrics())

    def allowed(self, type_: str, *subjects: list[str], **keys: Any) -> list[bool]:
        """Return for each subject whether a rule about it allows a request of the case's client."""
        gateway = self.composed(type_, subjects, **keys)
        identified = start(gateway.authenticator.identify([CASES[type_][1]], None))
        found: Authentication = self.successResultOf(identified)
        assert gateway.enforcement is not None
        access = gateway.enforcement.access(found)
        asked = [Asked(f"/{number}", "GET", "/", Facts) for number in range(len(subjects))]
        return [access.rule(each).allows for each in asked]

    def test_claims_arrive(self) -> None:
        """A rule that names the source and the claims of an identity allows its request."""
        for type_, (_, _, _, claims) in CASES.items():
            with self.subTest(type_):
                source = [f"@source:type={type_}", "@source:name=it", "@source:realm=here"]
                every = [*source, "@issuer=gate", "realm=here", *claims]
                self.assertEqual(self.allowed(type_, every, ["@source:type=other"]), [True, False])

    def test_chosen(self) -> None:
        """Every type of provider can leave claims out."""
        for type_, (_, _, _, claims) in CASES.items():
            with self.subTest(type_):
                stated = [each for each in claims if not each.startswith("username=")]
                keys = {"claims": {"ignore": stated}}
                found = self.allowed(type_, claims[:1], stated[:1], **keys)
                self.assertEqual(found, [True, False])

    def test_every_type(self) -> None:
        """Each type of provider is tested here, and listed in docs/policies.md."""
        types = {plugins.documented_type(each) for each in plugins.every("providers")}
        page = (ROOT / "docs/policies.md").read_text(encoding="utf-8")
        section = page.partition("### The source of an identity")[2].partition("\n###")[0]
        listed = {
            name
            for row in re.findall(r"^\| (`.*?`) \|", section, flags=re.MULTILINE)
            for name in re.findall(r"`([^`]+)`", row)
        }
        self.assertEqual(listed - {"@source:type=", "imported", "unknown"}, types)
        self.assertEqual(CASES.keys(), types - {NO_SOURCE})

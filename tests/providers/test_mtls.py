"""The mtls provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.config.sources import Sources
from authotron.model.authentication import Authentication
from authotron.model.client_certificate import ClientCertificate
from authotron.model.errors import ConfigError, Rejected, Unavailable
from authotron.model.identity import Credential
from authotron.mtls.names import NAMES
from authotron.plugin.interfaces import IProvider, IReachable
from authotron.policy.claims import values_of
from authotron.providers import mtls
from authotron.testing.contracts import ProviderContract
from authotron.testing.worlds import NOW, as_deferred, clock_at, world
from tests.mtls.issuing import DAY, TODAY, der, named, presented, root

ROOT = root()


def credential(leaf: x509.Certificate, *issuers: Any) -> Credential:
    return Credential("certificate", presented(leaf, *issuers).as_word())


class MtlsCase(SynchronousTestCase):
    """Builds providers that trust one authority."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "ca.pem").write_bytes(ROOT.pem)

    def config(self, **keys: Any) -> mtls.Config:
        given = {"type": "mtls", "name": "it", "realm": "here", "ca_file": "ca.pem", **keys}
        wanted = {key: value for key, value in given.items() if value is not ...}
        return section.read(mtls.Config, wanted, sources=Sources(self.folder))

    def provider(self, clock: Clock | None = None, **keys: Any) -> IProvider:
        return mtls.make(self.config(**keys), world(clock))

    def ask(self, leaf: x509.Certificate, **keys: Any) -> Authentication:
        judge = self.provider(**keys)
        return self.successResultOf(as_deferred(judge.authenticate, credential(leaf)))

    def reason(self, leaf: x509.Certificate, **keys: Any) -> str:
        judge = self.provider(**keys)
        failure = self.failureResultOf(as_deferred(judge.authenticate, credential(leaf)), Rejected)
        return str(failure.value)

    def problem(self, **keys: Any) -> str:
        [problem] = self.assertRaises(ConfigError, self.config, **keys).problems
        return str(problem).replace(str(self.folder.absolute()), "FOLDER")


class MtlsContractTests(ProviderContract, MtlsCase):
    """The mtls provider is a provider."""

    def provider(self, clock: Clock | None = None, **keys: Any) -> IProvider:
        return MtlsCase.provider(self, clock, **keys)

    def good(self) -> Credential:
        return credential(ROOT.issue())

    def bad(self) -> Credential:
        return credential(root("stranger").issue())


class MtlsTests(MtlsCase):
    """Rules of the mtls provider."""

    def test_identity(self) -> None:
        """The common name is the user name; the other claims are attributes."""
        leaf = ROOT.issue(subject=named("ada"), names=[x509.DNSName("a.example")])
        found = self.ask(leaf)
        self.assertEqual(found.identity[:3], ("here", "ada", ()))
        self.assertEqual(found.identity.attributes["dnsname"], "a.example")
        self.assertEqual(found.identity.attributes["serialnumber"], str(leaf.serial_number))

    def test_username(self) -> None:
        """The user name may be any claim that has one value."""
        names = [x509.RFC822Name("ada@example.org"), x509.DNSName("a.x"), x509.DNSName("b.x")]
        leaf = ROOT.issue(names=names)
        self.assertEqual(
            self.ask(leaf, username_claim="email").identity.username, "ada@example.org"
        )
        self.assertIn("2 values of dnsname", self.reason(leaf, username_claim="dnsname"))
        self.assertIn("0 values of upn", self.reason(leaf, username_claim="upn"))

    def test_wildcard_S_MTLSNAME(self) -> None:
        """A name of any number of hosts is the name of no user."""
        for leaf, claim in (
            (ROOT.issue(names=[x509.DNSName("*.example.org")]), "dnsname"),
            (ROOT.issue(subject=named("*.example.org")), "commonname"),
        ):
            self.assertIn("more than one host", self.reason(leaf, username_claim=claim))

    def test_null_byte_S_MTLSNAME(self) -> None:
        """A certificate for C{admin} and a null byte is not that of C{admin}."""
        self.assertIn("not printable", self.reason(ROOT.issue(subject=named("admin\0.x"))))

    def test_roles(self) -> None:
        """Every client has the configured roles, and those that claims of its certificate name."""
        units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, each) for each in ("ops", "dev")]
        leaf = ROOT.issue(subject=named("ada", *units))
        found = self.ask(leaf, roles=["machine"], roles_claims=["organizationalunit", "upn"])
        self.assertEqual(found.identity.roles, ("machine", "ops", "dev"))
        self.assertEqual(found.identity.attributes["organizationalunit"], '["ops","dev"]')

    def test_list_as_name_S_MTLSNAME(self) -> None:
        """A name that looks like a list of names is one claim, and not one for each element."""
        units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, each) for each in ('["ops"]',)]
        for name in ('["admin"]', '["a","admin"]', "[]", "["):
            found = self.ask(ROOT.issue(subject=named(name, *units)))
            attributes = found.identity.attributes
            self.assertEqual(list(values_of(attributes["commonname"])), [name])
            self.assertEqual(list(values_of(attributes["organizationalunit"])), ['["ops"]'])

    def test_attributes(self) -> None:
        """An operator chooses which claims become attributes."""
        found = self.ask(ROOT.issue(), attributes={"include": ["serial", "issuer"]})
        self.assertEqual(set(found.identity.attributes), {"serialnumber", "issuer", "issuerchain"})
        found = self.ask(ROOT.issue(), attributes={"ignore": ["i", "s", "f", "c"]})
        self.assertEqual(dict(found.identity.attributes), {})

    def test_expiry_T41(self) -> None:
        """The authentication expires with the first certificate of the chain that does."""
        self.assertEqual(self.ask(ROOT.issue(end=TODAY + 0.5 * DAY)).expires, NOW + 43_200)
        self.assertEqual(self.ask(ROOT.issue(end=TODAY + 9000 * DAY)).expires, NOW + 86_400_000)

    def test_not_a_certificate_S_MTLSCHAIN(self) -> None:
        """A credential that is no certificate is rejected."""
        judge = self.provider()
        for word in ("", ":", "x", "AAAA", ClientCertificate(b"\0" * 9000).as_word(), "\xe9"):
            found = as_deferred(judge.authenticate, Credential("certificate", word))
            self.failureResultOf(found, Rejected)

    def test_purpose(self) -> None:
        """Whether a certificate must state its purpose is configured."""
        leaf = ROOT.issue(purposes=())
        self.assertIn("require_client_auth", self.reason(leaf))
        self.ask(leaf, require_client_auth=False)

    def test_names(self) -> None:
        """Every claim that a certificate can have may be configured."""
        self.assertEqual(set(get_args(mtls.ClaimName)), set(NAMES))


class ListsTests(MtlsCase):
    """Revocation lists."""

    def write(self, *revoked: x509.Certificate, **given: Any) -> None:
        found = ROOT.revocations(*revoked, **given)
        (self.folder / "crl.pem").write_bytes(found.public_bytes(serialization.Encoding.PEM))

    def test_revoked_S_MTLSCRL(self) -> None:
        """A revoked certificate is rejected."""
        leaf = ROOT.issue()
        self.write(leaf)
        self.assertEqual(self.reason(leaf, crl_file="crl.pem"), "the certificate is revoked")

    def test_fresh_S_MTLSCRL(self) -> None:
        """A certificate is looked up again after a minute, or when the list expires."""
        for end, fresh in ((TODAY + DAY, NOW + 60), (TODAY + DAY / 8640, NOW + 10)):
            self.write(end=end)
            found = self.ask(ROOT.issue(), crl_file="crl.pem")
            self.assertEqual((found.fresh_until, found.identity.username), (fresh, "robot"))
        self.assertIsNone(self.ask(ROOT.issue()).fresh_until)

    def test_described_S_MTLSCRL(self) -> None:
        """C{/ready} and C{authotron doctor} show whether a list has expired, and when it will."""
        self.write()
        good = self.provider(crl_file="crl.pem")
        assert isinstance(good, mtls.MtlsWithLists)
        self.successResultOf(ensureDeferred(good.check_reachable()))
        shown = good.describe_remote()
        self.assertTrue(shown.startswith("1 revocation list, the first expires 2027-01-1"), shown)
        late = self.provider(clock_at(NOW + 86_400), crl_file="crl.pem")
        assert isinstance(late, mtls.MtlsWithLists)
        failure = self.failureResultOf(ensureDeferred(late.check_reachable()), Unavailable)
        self.assertIn("has expired", str(failure.value))
        self.assertFalse(IReachable.providedBy(self.provider()))

    def test_expired_S_MTLSCRL(self) -> None:
        """A list that has expired is an outage and no refusal."""
        self.write()
        judge = self.provider(clock_at(NOW + 86_400), crl_file="crl.pem")
        leaf = ROOT.issue(end=TODAY + 9 * DAY)
        self.failureResultOf(as_deferred(judge.authenticate, credential(leaf)), Unavailable)


class ConfigTests(MtlsCase):
    """Mistakes in the configuration."""

    def test_files(self) -> None:
        """Files that cannot be used are problems of their keys."""
        (self.folder / "empty").write_text("")
        for keys, problem in (
            ({"ca_file": ...}, "ca_file: is missing"),
            ({"ca_file": "none"}, "ca_file: cannot read FOLDER/none: No such file or directory"),
            ({"ca_file": "empty"}, "ca_file: FOLDER/empty does not hold a certificate in PEM"),
            ({"crl_file": "none"}, "crl_file: cannot read FOLDER/none: No such file or directory"),
        ):
            self.assertEqual(self.problem(**keys), problem)

    def test_claims(self) -> None:
        """The name of a claim that does not exist is a problem."""
        self.assertIn("username_claim", self.problem(username_claim="CN"))
        self.assertIn("roles_claims[0]", self.problem(roles_claims=["ou"]))

    def test_credentials(self) -> None:
        """Where a proxy states certificates is a matter of its contract."""
        found = self.problem(credentials={"header": "X-SSL-Client-Cert"})
        self.assertIn("server.contracts", found)

    def test_der_is_public(self) -> None:
        """What the log shows of a certificate is its fingerprint alone."""
        shown = repr(ClientCertificate(der(ROOT.issue())))
        self.assertRegex(shown, r"^ClientCertificate\([0-9a-f]{64}\)$")

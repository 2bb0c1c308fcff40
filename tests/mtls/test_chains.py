"""Which certificates of clients lead to a trusted authority."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.client_certificate import ClientCertificate
from authotron.model.errors import Rejected
from authotron.mtls.chains import Authorities, Chain, load_authorities
from authotron.testing.issuers import rsa_key
from authotron.testing.worlds import NOW
from tests.mtls.issuing import (
    AUTHORITY,
    CLIENTS,
    DAY,
    NO_AUTHORITY,
    TODAY,
    Authority,
    Shape,
    altered,
    der,
    key,
    named,
    pem,
    presented,
    root,
    signed,
    usage,
)


class ChainsCase(SynchronousTestCase):
    """Verifies certificates by one trusted authority."""

    def setUp(self) -> None:
        self.root = root()

    def verify(
        self,
        leaf: x509.Certificate,
        *issuers: Authority,
        trusts: Authority | None = None,
        **given: Any,
    ) -> Chain:
        authorities = Authorities([(trusts or self.root).certificate], **given)
        return authorities.verify(presented(leaf, *issuers), NOW)

    def reason(self, leaf: x509.Certificate, *issuers: Authority, **given: Any) -> str:
        return str(self.assertRaises(Rejected, self.verify, leaf, *issuers, **given))


class AcceptedTests(ChainsCase):
    """Certificates that lead to a trusted authority."""

    def test_direct(self) -> None:
        """The authority has signed the certificate itself."""
        leaf = self.root.issue()
        self.assertEqual(self.verify(leaf), [leaf, self.root.certificate])

    def test_intermediate(self) -> None:
        """An authority in between is sent by the client, in any order, or trusted itself."""
        one = self.root.authority("one")
        two = one.authority("two")
        leaf = two.issue()
        whole = [leaf, two.certificate, one.certificate, self.root.certificate]
        for sent in ((two, one), (one, two), (one, two, self.root)):
            self.assertEqual(self.verify(leaf, *sent), whole)
        self.assertEqual(self.verify(leaf, trusts=two), whole[:2])

    def test_without_alternative_names(self) -> None:
        """Neither alternative names nor an identifier of the authority's key are needed."""
        self.verify(self.root.issue(subject=named("a", (NameOID.ORGANIZATION_NAME, "b"))))
        self.verify(self.root.issue(names=[x509.DNSName("a.example")]))

    def test_authority_without_usage(self) -> None:
        """An authority needs no key usage, and may name its own issuer by serial number."""
        aki = x509.AuthorityKeyIdentifier(b"x", [x509.DirectoryName(named("root"))], 5)
        for more in ((), (aki,)):
            own = root(more=more)
            self.verify(own.issue(), trusts=own)

    def test_several_purposes(self) -> None:
        """A certificate may be for servers as well, and the extension may be critical."""
        both = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        self.verify(self.root.issue(purposes=both))
        self.verify(self.root.issue(purposes=(), critical=[x509.ExtendedKeyUsage(both)]))

    def test_listed_itself(self) -> None:
        """The certificate of a client may be trusted itself, also one that it has signed."""
        for leaf in (
            self.root.issue(),
            root("own", basic=NO_AUTHORITY, purposes=CLIENTS, more=()).certificate,
        ):
            self.assertEqual(Authorities([leaf]).verify(presented(leaf), NOW), [leaf])

    def test_another_with_the_name(self) -> None:
        """Of two trusted authorities of one name that one counts which has signed."""
        first, second = (
            root(),
            Authority(root("other", subject=named("root")).certificate, key("other")),
        )
        trusted = Authorities([first.certificate, second.certificate])
        for each in (first, second):
            leaf = each.issue()
            self.assertEqual(trusted.verify(presented(leaf), NOW)[-1], each.certificate)


class RejectedTests(ChainsCase):
    """Certificates that are not accepted, with the reason for the log."""

    def test_validity_S_MTLSCHAIN(self) -> None:
        """A certificate counts from its first second to its last."""
        self.assertIn("expired", self.reason(self.root.issue(end=TODAY - 0.5 * DAY)))
        self.assertIn("not valid before", self.reason(self.root.issue(begin=TODAY + 0.5 * DAY)))
        self.verify(self.root.issue(begin=TODAY))
        self.verify(self.root.issue(end=TODAY))

    def test_validity_of_authorities_S_MTLSCHAIN(self) -> None:
        """An authority that has expired, or is not valid yet, vouches for no certificate."""
        wrong: tuple[dict[str, Any], ...] = ({"end": TODAY - DAY}, {"begin": TODAY + DAY})
        for dates in wrong:
            between = self.root.authority(**dates)
            self.assertIn("not valid", self.reason(between.issue(), between))
            old = root(**dates)
            self.assertIn("not valid", self.reason(old.issue(), trusts=old))

    def test_purpose_S_MTLSCHAIN(self) -> None:
        """A certificate for another purpose is none of a client."""
        for purpose in (
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.CODE_SIGNING,
            ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ):
            for requires in (True, False):
                why = self.reason(self.root.issue(purposes=(purpose,)), requires_purpose=requires)
                self.assertIn("not for TLS clients", why)

    def test_no_purpose_S_MTLSCHAIN(self) -> None:
        """A certificate that states no purpose is accepted only if that is configured."""
        leaf = self.root.issue(purposes=())
        self.assertIn("states no purpose", self.reason(leaf))
        self.verify(leaf, requires_purpose=False)

    def test_authority_for_servers_S_MTLSCHAIN(self) -> None:
        """An authority that may sign for servers alone vouches for no client."""
        between = self.root.authority(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))
        self.assertIn("not valid", self.reason(between.issue(), between))

    def test_unknown_authority_S_MTLSCHAIN(self) -> None:
        """The authority must be trusted: its name alone, or that it was sent, does not help."""
        stranger = root("stranger")
        why = self.reason(stranger.issue(), stranger)
        self.assertEqual(
            why, "no certificate in ca_file is of the authority that has signed it (CN=stranger)"
        )
        namesake = Authority(root("fake", subject=named("root")).certificate, key("fake"))
        for sent in ((), (namesake,), (namesake, self.root)):
            self.assertIn("not valid", self.reason(namesake.issue(), *sent))

    def test_self_signed_S_MTLSCHAIN(self) -> None:
        """A certificate with the name of the authority, signed by itself, is not the authority."""
        for basic in (x509.BasicConstraints(ca=False, path_length=None), None):
            fake = root("self", subject=named("root"), basic=basic, purposes=CLIENTS)
            self.assertIn("not valid", self.reason(fake.certificate))

    def test_client_as_authority_S_MTLSCHAIN(self) -> None:
        """The certificate of a client signs no other, with basic constraints or without."""
        for basic in (x509.BasicConstraints(ca=False, path_length=None), None):
            for more in ((), (usage("digital_signature"),)):
                client = Authority(
                    self.root.issue(key("c"), subject=named("c"), basic=basic, more=more), key("c")
                )
                self.assertIn("not valid", self.reason(client.issue(), client))

    def test_usage_of_authority_S_MTLSCHAIN(self) -> None:
        """An authority whose key must not sign certificates vouches for none."""
        between = self.root.authority(more=[usage("digital_signature", "crl_sign")])
        self.assertIn("not valid", self.reason(between.issue(), between))

    def test_path_length_S_MTLSCHAIN(self) -> None:
        """A chain is no longer than its authorities allow."""
        short = root("short", basic=x509.BasicConstraints(ca=True, path_length=0))
        self.verify(short.issue(), trusts=short)
        between = short.authority()
        self.assertIn("not valid", self.reason(between.issue(), between, trusts=short))

    def test_authority_as_client_S_MTLSCHAIN(self) -> None:
        """An authority is no client, not even a trusted one."""
        between = self.root.authority(purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        self.assertIn("not valid", self.reason(between.certificate))
        itself = root("both", purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        self.assertIn("not valid", self.reason(itself.certificate, trusts=itself))

    def test_critical_extension_S_MTLSCHAIN(self) -> None:
        """A critical extension that is not understood makes a certificate unusable."""
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        self.assertIn("not valid", self.reason(self.root.issue(critical=[odd])))
        self.verify(self.root.issue(more=[odd]))

    def test_name_constraints_S_MTLSCHAIN(self) -> None:
        """An authority vouches only for names that it may sign."""
        limits = x509.NameConstraints([x509.DNSName("example.org")], None)
        between = self.root.authority(critical=[limits])
        self.verify(between.issue(names=[x509.DNSName("a.example.org")]), between)
        why = self.reason(between.issue(names=[x509.DNSName("example.com")]), between)
        self.assertIn("not valid", why)

    def test_constrained_subjects_S_MTLSCHAIN(self) -> None:
        """An authority for some subjects alone vouches for none, as the limit is not observed."""
        limit = x509.DirectoryName(named("partner"))
        for limits in (x509.NameConstraints([limit], None), x509.NameConstraints(None, [limit])):
            for given in (
                {"critical": [limits]},
                {"more": (usage("key_cert_sign"), limits)},
            ):
                between = self.root.authority("limited", **given)
                self.assertIn("onstraint", self.reason(between.issue(), between))
                own = root("limited", **given)
                self.assertIn("onstraint", self.reason(own.issue(), trusts=own))

    def test_many_constraints_S_MTLSCHAIN(self) -> None:
        """A client cannot have very many names compared with very many constraints."""
        names = [x509.DNSName(f"{number:03}.example") for number in range(200)]
        limits = x509.NameConstraints(None, [x509.DNSName(f"{n:03}.x") for n in range(60)])
        stranger = Authority(self.root.certificate, key("stranger"))
        for authority in (self.root, stranger):
            between = authority.authority("limited", critical=[limits])
            self.assertIn("too many names", self.reason(between.issue(names=names), between))
        between = self.root.authority("limited", critical=[limits])
        self.verify(between.issue(names=names[:50]), between)

    def test_weak_signatures_S_MTLSCHAIN(self) -> None:
        """Signatures with SHA-1 or MD5, and keys of unusual kinds, are not accepted."""
        own = Authority(root().certificate, rsa_key(2048))
        authority = Authority(
            signed(
                Shape(**AUTHORITY, subject=named("rsa")), own.private, named("rsa"), own.private
            ),
            own.private,
        )
        leaf = authority.issue()
        self.verify(leaf, trusts=authority)
        for hashed, number in ((hashes.SHA1(), 5), (hashes.MD5(), 4)):
            weak = resigned(leaf, authority.private, hashed, number)
            self.assertIn("not valid", self.reason(weak, trusts=authority))
        short = self.root.issue(ec.generate_private_key(ec.SECP224R1()))
        self.assertIn("224 bits", self.reason(short))
        edwards = ed25519.Ed25519PrivateKey.generate()
        self.verify(self.root.issue(edwards))
        between = Authority(self.root.issue(edwards, **AUTHORITY, subject=named("ed")), edwards)
        leaf = signed(Shape(), key("client"), named("ed"), edwards, None)
        self.assertIn("not valid", self.reason(leaf, between))

    def test_rsa_keys_S_MTLSCHAIN(self) -> None:
        """RSA keys that are too short, too long or slow are not accepted."""
        for modulus, exponent, part in (
            ((1 << 1023) + 1, 65537, "1024 bits"),
            ((1 << 8192) + 1, 65537, "8193 bits"),
            ((1 << 3071) + 1, (1 << 3000) + 1, "unusual"),
        ):
            public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
            self.assertIn(part, self.reason(self.root.issue(_Public(public))))

    def test_changed_S_MTLSCHAIN(self) -> None:
        """A certificate of which one byte is another is not accepted."""
        whole = der(self.root.issue())
        authorities = Authorities([self.root.certificate])
        for place in range(0, len(whole), 5):
            changed = ClientCertificate(altered(whole, place))
            self.assertRaises(Rejected, authorities.verify, changed, NOW)

    def test_garbage_S_MTLSCHAIN(self) -> None:
        """Bytes that are no certificate are not accepted, nor a certificate with bytes behind."""
        authorities, good = Authorities([self.root.certificate]), der(self.root.issue())
        for raw in (b"\0", b"x" * 16_000, b"\x30\x80", good[:-1], good + b"\0", good * 2):
            for found in (ClientCertificate(raw), ClientCertificate(good, (raw,))):
                error = self.assertRaises(Rejected, authorities.verify, found, NOW)
                self.assertEqual(str(error), "the certificate is malformed")

    def test_circles_S_MTLSCHAIN(self) -> None:
        """Authorities that have signed each other many times are tried once for each name."""
        one, two = root("one"), root("two")
        crossed = [
            each.authority(name) for each, name in ((one, "two"), (two, "one")) for _ in "1234"
        ]
        self.assertIn("no certificate in ca_file", self.reason(one.issue(), *crossed))

    def test_odd_time_S_MTLSCHAIN(self) -> None:
        """A clock that shows no time at all accepts no certificate."""
        authorities = Authorities([self.root.certificate])
        leaf = presented(self.root.issue())
        for now in (0, -1e20, 1e20, float("nan")):
            self.assertRaises(Rejected, authorities.verify, leaf, now)


def resigned(
    leaf: x509.Certificate, private: rsa.RSAPrivateKey, hashed: Any, number: int
) -> x509.Certificate:
    """Sign a certificate again with an older hash, which the library does not use itself."""
    sha256 = bytes.fromhex("06092a864886f70d01010b")
    weak = sha256[:-1] + bytes([number])
    body = leaf.tbs_certificate_bytes.replace(sha256, weak)
    signature = private.sign(body, padding.PKCS1v15(), hashed)
    whole = der(leaf).replace(leaf.tbs_certificate_bytes, body).replace(leaf.signature, signature)
    changed = x509.load_der_x509_certificate(whole.replace(sha256, weak))
    private.public_key().verify(
        signature, changed.tbs_certificate_bytes, padding.PKCS1v15(), hashed
    )
    return changed


class _Public:
    """A key of which the test has the public half alone."""

    def __init__(self, public: rsa.RSAPublicKey) -> None:
        self._public = public

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public


class LoadTests(SynchronousTestCase):
    """The file with the trusted authorities."""

    def load(self, content: bytes | None) -> Chain | str:
        file = Path(self.mktemp())
        if content is not None:
            file.write_bytes(content)
        try:
            return load_authorities(file)
        except ValueError as problem:
            return str(problem).replace(str(file), "FILE")

    def test_several(self) -> None:
        """A file may have several certificates, with text between them."""
        one, two = root("one").certificate, root("two").certificate
        text = f"# the first\n{pem(one)}\n# the second\n{pem(two)}"
        self.assertEqual(self.load(text.encode()), [one, two])

    def test_problems(self) -> None:
        """A file without a certificate, or with a broken one, is a problem."""
        broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        for content, problem in (
            (None, "cannot read FILE: No such file or directory"),
            (b"", "FILE does not hold a certificate in PEM"),
            (der(root().certificate), "FILE does not hold a certificate in PEM"),
            (broken, "FILE holds a certificate that cannot be parsed"),
        ):
            self.assertEqual(self.load(content), problem)

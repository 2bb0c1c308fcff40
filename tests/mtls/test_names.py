"""What the certificate of a client says about the client."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Rejected
from authotron.mtls.names import NAMES, Claims, claims_of
from tests.mtls.issuing import UPN, named, principal, root

ROOT = root()


def claims(**shape: Any) -> Claims:
    return claims_of([ROOT.issue(**shape), ROOT.certificate])


SAN = x509.ObjectIdentifier("2.5.29.17")
"""The extension with alternative names."""


def tagged(tag: int, content: bytes) -> bytes:
    """Return a short value of DER."""
    return bytes([tag, len(content)]) + content


class NamesTests(SynchronousTestCase):
    """The claims of a certificate."""

    def test_subject(self) -> None:
        """The parts of the subject are claims, each with all its values."""
        subject = named(
            "Ada",
            (NameOID.COUNTRY_NAME, "DE"),
            (NameOID.STATE_OR_PROVINCE_NAME, "NRW"),
            (NameOID.LOCALITY_NAME, "Bonn"),
            (NameOID.POSTAL_CODE, "53175"),
            (NameOID.STREET_ADDRESS, "Weg 1"),
            (NameOID.ORGANIZATION_NAME, "Example, Inc."),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "ops"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "dev"),
        )
        found = claims(subject=subject)
        wanted = {
            "commonname": ("Ada",),
            "country": ("DE",),
            "province": ("NRW",),
            "locality": ("Bonn",),
            "postalcode": ("53175",),
            "streetaddress": ("Weg 1",),
            "organization": ("Example, Inc.",),
            "organizationalunit": ("ops", "dev"),
        }
        self.assertEqual({name: found[name] for name in wanted}, wanted)
        self.assertTrue(found["subject"][0].startswith("CN=Ada,OU=dev,OU=ops"))

    def test_alternative_names(self) -> None:
        """The alternative names are claims by their kind; other kinds are left out."""
        names = [
            x509.DNSName("a.example.org"),
            x509.DNSName("b.example.org"),
            x509.RFC822Name("ada@example.org"),
            x509.IPAddress(ip_address("2001:db8::1")),
            x509.UniformResourceIdentifier("spiffe://example.org/ns/a"),
            principal("ada@corp.example"),
            x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
            x509.DirectoryName(named("else")),
        ]
        found = claims(names=names)
        wanted = {
            "dnsname": ("a.example.org", "b.example.org"),
            "email": ("ada@example.org",),
            "ipaddress": ("2001:db8::1",),
            "uri": ("spiffe://example.org/ns/a",),
            "upn": ("ada@corp.example",),
        }
        self.assertEqual({name: found[name] for name in wanted}, wanted)

    def test_numbers(self) -> None:
        """Serial number, fingerprints and the key of the authority are claims."""
        one = ROOT.authority("one")
        aki = x509.AuthorityKeyIdentifier(b"\x01\xab", None, None)
        leaf = one.issue(more=[aki])
        chain = [leaf, one.certificate, ROOT.certificate]
        found = claims_of(chain)
        prints = [each.fingerprint(hashes.SHA256()).hex().upper() for each in chain]
        self.assertEqual(found["serialnumber"], (str(leaf.serial_number),))
        self.assertEqual(found["fingerprint"], (prints[0],))
        self.assertEqual(found["issuerchain"], (",".join(prints[1:]),))
        self.assertEqual(found["akid"], ("01AB",))
        self.assertEqual(found["issuer"], ("CN=one",))

    def test_missing(self) -> None:
        """What a certificate does not say is no claim; a certificate may have no subject."""
        found = claims(subject=x509.Name([]), names=[x509.DNSName("a.example")])
        self.assertEqual(
            set(found), {"dnsname", "issuer", "serialnumber", "fingerprint", "issuerchain"}
        )
        self.assertLessEqual(set(found), set(NAMES))

    def test_long_principal(self) -> None:
        """A long user principal name has its length in several bytes."""
        text = "a" * 300
        name = x509.OtherName(UPN, b"\x0c\x82\x01\x2c" + text.encode())
        self.assertEqual(claims(names=[name])["upn"], (text,))

    def test_malformed_principals_S_MTLSNAME(self) -> None:
        """A user principal name that is no UTF8String makes a certificate unusable."""
        for raw in (
            b"", b"\x0c", b"\x0c\x05ada", b"\x0c\x02ada", b"\x16\x03ada", b"\x0c\x80ada",
            b"\x0c\x02\xff\xfe", b"\x0c\x88" + b"\xff" * 8, b"\x0c\x81\x03ada",
        ):  # fmt: skip
            other = bytes.fromhex("060a2b060104018237140203") + tagged(0xA0, raw)
            names = x509.UnrecognizedExtension(SAN, tagged(0x30, tagged(0xA0, other)))
            error = self.assertRaises(Rejected, claims, more=[names])
            self.assertIn("malformed", str(error))

    def test_unprintable_S_MTLSNAME(self) -> None:
        """A null byte, or another invisible character, makes a certificate unusable."""
        for text in ("admin\0.example.org", "adm\0in", "admin\n", "ad\u202emin", "\x7f"):
            error = self.assertRaises(Rejected, claims, subject=named(text))
            self.assertIn("commonname", str(error))
            self.assertRaises(Rejected, claims, names=[principal(text)])

    def test_bytes_in_alternative_names_S_MTLSNAME(self) -> None:
        """Alternative names with bytes that are not ASCII, or null bytes, are refused."""
        for tag in (0x81, 0x82, 0x86):
            for text in (b"a\0b", "ä".encode(), b"\xff", b"a\nb"):
                odd = x509.UnrecognizedExtension(SAN, tagged(0x30, tagged(tag, text)))
                self.assertRaises(Rejected, claims, more=[odd])

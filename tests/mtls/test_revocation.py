"""Which certificates are revoked, by a file of revocation lists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.internet.defer import ensureDeferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Rejected, Unavailable
from authotron.mtls.chains import Chain
from authotron.mtls.revocation import RevocationLists
from authotron.testing.worlds import NOW, clock_at, run_at_once
from tests.mtls.issuing import DAY, TODAY, Authority, key, root, usage


def as_pem(*lists: x509.CertificateRevocationList) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in lists)


class RevocationCase(SynchronousTestCase):
    """Checks chains by a file of revocation lists."""

    def setUp(self) -> None:
        self.clock = clock_at(NOW)
        self.file = Path(self.mktemp())
        self.root = root()
        self.leaf = self.root.issue()
        self.lists = RevocationLists(self.file, self.clock, run_at_once)
        self.versions = 0

    def write(self, content: bytes) -> None:
        """Write another version of the file; its time differs, however fast the test is."""
        self.file.write_bytes(content)
        self.versions += 1
        os.utime(self.file, (NOW, NOW + self.versions))

    def revoke(self, *revoked: x509.Certificate, **given: Any) -> None:
        self.write(as_pem(self.root.revocations(*revoked, **given)))

    def check(self, *chain: x509.Certificate) -> float:
        whole: Chain = chain or (self.leaf, self.root.certificate)
        return float(self.successResultOf(ensureDeferred(self.lists.check(whole))))

    def failure(self, *chain: x509.Certificate) -> Exception:
        whole: Chain = chain or (self.leaf, self.root.certificate)
        failure = self.failureResultOf(ensureDeferred(self.lists.check(whole)))
        self.assertTrue(failure.check(Rejected, Unavailable), failure)
        assert isinstance(failure.value, Exception)
        return failure.value

    def assertUnavailable(self, part: str, *chain: x509.Certificate) -> None:
        found = self.failure(*chain)
        self.assertIsInstance(found, Unavailable)
        self.assertIn(part, str(found))


class RevocationTests(RevocationCase):
    """Rules of revocation lists."""

    def test_listed_S_MTLSCRL(self) -> None:
        """A certificate is rejected if the list of its authority has its serial number."""
        self.revoke(self.leaf)
        self.assertEqual(str(self.failure()), "the certificate is revoked")
        self.assertEqual(self.check(self.root.issue(), self.root.certificate), NOW + 86_400)

    def test_authority_S_MTLSCRL(self) -> None:
        """An authority between may be revoked, too; each certificate needs a list."""
        between = self.root.authority()
        chain = (between.issue(), between.certificate, self.root.certificate)
        self.revoke()
        self.assertUnavailable("that CN=intermediate has signed", *chain)
        self.write(as_pem(self.root.revocations(), between.revocations(end=TODAY + 0.5 * DAY)))
        self.clock.advance(1)
        self.assertEqual(self.check(*chain), NOW + 43_200)
        self.write(as_pem(self.root.revocations(between.certificate), between.revocations()))
        self.clock.advance(1)
        self.assertEqual(str(self.failure(*chain)), "an authority of the certificate is revoked")

    def test_binary(self) -> None:
        """A file may have one list in DER."""
        self.write(self.root.revocations(self.leaf).public_bytes(serialization.Encoding.DER))
        self.assertIsInstance(self.failure(), Rejected)

    def test_changed_file_S_MTLSCRL(self) -> None:
        """A file that has changed is read again, within a second."""
        self.revoke()
        self.check()
        self.revoke(self.leaf)
        self.check()
        self.clock.advance(1)
        self.assertIsInstance(self.failure(), Rejected)

    def test_unchanged_file(self) -> None:
        """A file that has not changed is not read again."""
        self.revoke(self.leaf)
        self.failure()
        same = self.file.stat()
        self.write(as_pem(self.root.revocations()).ljust(same.st_size, b"\n")[: same.st_size])
        os.utime(self.file, ns=(same.st_atime_ns, same.st_mtime_ns))
        self.clock.advance(1)
        self.assertEqual(self.file.stat().st_size, same.st_size)
        self.assertIsInstance(self.failure(), Rejected)

    def test_expired_S_MTLSCRL(self) -> None:
        """A list that has expired is an outage, never a permission, until there is a new one."""
        self.revoke()
        self.check()
        self.clock.advance(86_400)
        self.assertUnavailable("has expired")
        self.revoke(end=TODAY + 2 * DAY)
        self.clock.advance(1)
        self.check()

    def test_newest(self) -> None:
        """Of several lists of an authority the newest counts."""
        older = self.root.revocations(begin=TODAY - 2 * DAY, end=TODAY - DAY)
        self.write(as_pem(older, self.root.revocations(self.leaf), older))
        self.assertIsInstance(self.failure(), Rejected)

    def test_older_S_MTLSCRL(self) -> None:
        """An older list never replaces a newer one, unless the newer one has expired."""
        self.revoke(self.leaf, begin=TODAY - 0.5 * DAY)
        self.failure()
        self.revoke(begin=TODAY - DAY, end=TODAY + 3 * DAY)
        self.clock.advance(1)
        self.assertIsInstance(self.failure(), Rejected)
        self.clock.advance(86_400)
        self.check()

    def test_forged_S_MTLSCRL(self) -> None:
        """A list that the authority has not signed, or must not sign, does not count."""
        self.write(as_pem(self.root.revocations(signer=key("other"))))
        self.assertUnavailable("no revocation list")
        quiet = root("quiet", more=[usage("key_cert_sign")])
        self.write(as_pem(quiet.revocations()))
        self.clock.advance(1)
        self.assertUnavailable("no revocation list", quiet.issue(), quiet.certificate)
        plain = root("plain", more=())
        self.write(as_pem(plain.revocations()))
        self.clock.advance(1)
        self.check(plain.issue(), plain.certificate)

    def test_namesake_S_MTLSCRL(self) -> None:
        """The list of another authority of the same name says nothing."""
        other = Authority(self.root.certificate, key("other"))
        self.write(as_pem(other.revocations(), self.root.revocations(self.leaf)))
        self.assertIsInstance(self.failure(), Rejected)

    def test_unusable_S_MTLSCRL(self) -> None:
        """A list that stands for some certificates alone, or is of the future, is an outage."""
        partly = x509.IssuingDistributionPoint(
            None, None, only_contains_user_certs=True, only_contains_ca_certs=False,
            only_some_reasons=None, indirect_crl=False, only_contains_attribute_certs=False,
        )  # fmt: skip
        for given, part in (
            ({"critical": [partly]}, "critical extension"),
            ({"critical": [x509.DeltaCRLIndicator(1)]}, "critical extension"),
            ({"begin": TODAY + 0.5 * DAY}, "or a clock is wrong"),
        ):
            self.revoke(**given)
            self.assertUnavailable(part)

    def test_no_file_S_MTLSCRL(self) -> None:
        """Without a file that can be read at the beginning no certificate is accepted."""
        self.assertUnavailable("No such file")
        for content in (
            b"",
            b"garbage",
            b"-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n",
        ):
            self.write(content)
            self.assertUnavailable("no usable revocation list")
        self.file.unlink()
        self.file.mkdir()
        self.assertUnavailable("")

    def test_size_S_MTLSCRL(self) -> None:
        """A file that is larger than 10 MiB is not read."""
        with self.file.open("wb") as file:
            file.truncate(10 * 2**20 + 1)
        self.assertUnavailable("more than 10 MiB")

    def test_broken_later_S_MTLSCRL(self) -> None:
        """If a new content cannot be used, the earlier lists stay, with one warning."""
        seen = EventLoggingObserver()
        globalLogPublisher.addObserver(seen)
        self.addCleanup(globalLogPublisher.removeObserver, seen)
        self.revoke(self.leaf)
        self.failure()
        self.write(b"garbage")
        for _ in range(3):
            self.clock.advance(1)
            self.assertIsInstance(self.failure(), Rejected)
        self.assertIsInstance(self.check(self.root.issue(), self.root.certificate), float)
        events = [each for each in seen if each.get("event") == "mtls.revocation.unreadable"]
        self.assertEqual(len(events), 1)
        self.file.unlink()
        self.clock.advance(1)
        self.failure()
        self.clock.advance(86_400)
        self.assertUnavailable("has expired")

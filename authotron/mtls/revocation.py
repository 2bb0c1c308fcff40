"""
Check whether certificates are revoked, using the certificate revocation lists (CRL, RFC 5280
section 5) in a file.

The file with the revocation lists is read again when it changes. If a changed file cannot be used,
the revocation lists read earlier stay in use; each revocation list is used until it expires.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from authotron.concurrency.single_flight import SingleFlight
from authotron.model.errors import Rejected, Unavailable
from authotron.mtls.chains import Chain
from authotron.net.world import Threads

_LARGEST = 10 * 2**20
"""Maximum number of bytes of the file with revocation lists."""

_INTERVAL = 1.0
"""
Minimum number of seconds between two checks whether the file with revocation lists has
changed.
"""

_PEM = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)

_Version = tuple[int, int, int]
"""
The modification time, size and inode number of a file; a change of the file is detected
by them.
"""


@define(eq=False)
class _List:
    """
    One revocation list.

    @ivar revoked: the serial numbers of the certificates that the list revokes.
    @ivar signers: whether an authority has signed the list, by the fingerprint of the authority's
        certificate.
    """

    content: x509.CertificateRevocationList = field(repr=False)
    issuer: x509.Name
    revoked: frozenset[int] = field(repr=False)
    begin: dt.datetime
    end: dt.datetime
    signers: dict[bytes, bool] = field(factory=dict, init=False, repr=False)

    def is_signed_by(self, authority: x509.Certificate) -> bool:
        """
        Return whether an authority has signed this revocation list, and may sign
        revocation lists.
        """
        name = authority.fingerprint(SHA256())
        if name not in self.signers:
            self.signers[name] = _may_sign(authority) and self.content.is_signature_valid(
                authority.public_key()  # type: ignore[arg-type] # the library rejects other types of keys
            )
        return self.signers[name]


@frozen
class _Content:
    """The revocation lists that were read from one version of the file."""

    version: _Version
    lists: Sequence[_List]


@define(eq=False)
class RevocationLists:
    """The revocation lists in a file; the file is read again when it changes."""

    _file: Path
    _clock: IReactorTime
    _threads: Threads
    _content: _Content | None = field(default=None, init=False)
    _next_look: float = field(default=0.0, init=False)
    _problem: str = field(default="", init=False)
    _flights: SingleFlight[_Content] = field(factory=SingleFlight, init=False)
    _log = Logger()

    async def check(self, chain: Chain) -> float:
        """
        Check that no certificate of a verified chain is revoked, except that the trusted authority
        at the end of the chain is not checked.

        @return: the time, in seconds since the epoch, at which the first of the consulted
            revocation lists expires.

        @raise Rejected: a certificate is revoked.
        @raise Unavailable: the file has no revocation list of the authority that issued a
            certificate.
        """
        content = await self._current()
        now = dt.datetime.fromtimestamp(self._clock.seconds(), dt.UTC)
        ends = []
        for place, certificate in enumerate(chain[:-1]):
            found = await self._threads(
                partial(self._list_of, content, certificate, chain[place + 1])
            )
            self._check_validity(found, now)
            if certificate.serial_number in found.revoked:
                whose = "the certificate" if place == 0 else "an authority of the certificate"
                raise Rejected(f"{whose} is revoked")
            ends.append(found.end.timestamp())
        return min(ends, default=float("inf"))

    async def check_current(self) -> None:
        """
        Check that the file with revocation lists can be used, and that none of the lists has
        expired.

        @raise Unavailable: the file cannot be used, or one of its revocation lists has expired.
        """
        now = dt.datetime.fromtimestamp(self._clock.seconds(), dt.UTC)
        for each in (await self._current()).lists:
            self._check_validity(each, now)

    def describe(self) -> str:
        """
        Return a text that states how many revocation lists the file has, and when the first of them
        expires.
        """
        found = () if self._content is None else self._content.lists
        ends = [f"{each.end:%Y-%m-%d %H:%M}" for each in found]
        lists = "list" if len(ends) == 1 else "lists"
        return f"{len(ends)} revocation {lists}, the first expires {min(ends, default='never')}"

    def _check_validity(self, found: _List, now: dt.datetime) -> None:
        if now >= found.end:
            raise Unavailable(
                f"{self._file}: the revocation list of {_shown(found.issuer)} has expired "
                f"({found.end:%Y-%m-%d %H:%M}); write a new one to the file"
            )

    def _list_of(
        self, content: _Content, certificate: x509.Certificate, authority: x509.Certificate
    ) -> _List:
        """
        Return the newest list of the authority that has issued a certificate.

        Verifying the signature of a long revocation list takes milliseconds, so this method is
        called in a thread.

        @raise Unavailable: the file has no revocation list that the authority has signed.
        """
        found = [
            each
            for each in content.lists
            if each.issuer == certificate.issuer and each.is_signed_by(authority)
        ]
        if not found:
            raise Unavailable(
                f"{self._file} has no revocation list that {_shown(certificate.issuer)} has "
                "signed; add it to the file"
            )
        return max(found, key=lambda each: each.begin)

    async def _current(self) -> _Content:
        """
        Return the revocation lists of the file; if the file has changed, read it again first.

        @raise Unavailable: the file cannot be used, and no earlier version of the file is in use.
        """
        if self._content is not None and self._clock.seconds() < self._next_look:
            return self._content
        return await self._flights.result("", self._look)

    async def _look(self) -> _Content:
        known = self._content
        now = dt.datetime.fromtimestamp(self._clock.seconds(), dt.UTC)
        try:
            found = await self._threads(partial(_read, self._file, known, now))
        except Unavailable as unavailable:
            if known is None:
                raise
            self._warn(str(unavailable))
            found = None
        else:
            self._problem = ""
        self._next_look = self._clock.seconds() + _INTERVAL
        if found is not None:
            self._content = known = found
        assert known is not None
        return known

    def _warn(self, problem: str) -> None:
        """
        Log a warning that the file with revocation lists cannot be used, once for each
        reason.
        """
        if problem != self._problem:
            self._problem = problem
            self._log.warn(
                "revocation lists are not read again: {reason}; the earlier ones stay in use until "
                "they expire",
                reason=problem,
                event="mtls.revocation.unreadable",
            )


def _read(file: Path, known: _Content | None, now: dt.datetime) -> _Content | None:
    """
    Read the file with revocation lists if it has changed since it was last read, or else return
    C{None}.

    @param known: what was read from the file earlier.

    @raise Unavailable: the file cannot be read, or has a revocation list that cannot be used.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if known is not None and version == known.version:
                return None
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                raise Unavailable(f"{file} is no file, or has more than {_LARGEST >> 20} MiB")
            content = opened.read(_LARGEST + 1)
    except OSError as error:
        raise Unavailable(f"cannot read {file}: {error.strerror or error}") from None
    try:
        lists = [_list(each, now) for each in _parsed(content)]
        if known is not None:
            _check_not_older(lists, known.lists, now)
        return _Content(version, lists)
    except ValueError as error:
        raise Unavailable(f"{file} has no usable revocation list: {error}") from None
    except Exception as error:  # noqa: BLE001 - the parser raises many types of errors
        why = type(error).__name__
        raise Unavailable(f"{file} has no usable revocation list: {why}") from None


def _parsed(content: bytes) -> list[x509.CertificateRevocationList]:
    """
    Parse one or more revocation lists in PEM, or a single revocation list in DER.

    @raise ValueError: the content has no revocation list, or has a malformed revocation list.
    """
    blocks = _PEM.findall(content)
    if blocks:
        return [x509.load_pem_x509_crl(each) for each in blocks]
    return [x509.load_der_x509_crl(content)]


def _list(crl: x509.CertificateRevocationList, now: dt.datetime) -> _List:
    """
    Convert a revocation list to a form in which serial numbers are found quickly.

    @raise ValueError: the list has a critical extension (it covers only some certificates), does
        not state when it expires, or is not valid yet.
    """
    if any(each.critical for each in crl.extensions):
        raise ValueError("a revocation list has a critical extension, which is not supported")
    if crl.next_update_utc is None:
        raise ValueError("a revocation list does not state when it expires (nextUpdate)")
    if crl.last_update_utc > now:
        raise ValueError(
            f"a list is valid from {crl.last_update_utc:%Y-%m-%d %H:%M}, or a clock is wrong"
        )
    revoked = frozenset(each.serial_number for each in crl)
    return _List(crl, crl.issuer, revoked, crl.last_update_utc, crl.next_update_utc)


def _check_not_older(new: Sequence[_List], known: Sequence[_List], now: dt.datetime) -> None:
    """
    Check that a file does not replace a revocation list by an older one of the same authority,
    which would make revoked certificates valid again. A list that has expired may be replaced.

    @raise ValueError: a revocation list is older than the one in use.
    """
    newest: dict[x509.Name, dt.datetime] = {}
    for each in new:
        newest[each.issuer] = max(each.begin, newest.get(each.issuer, each.begin))
    for each in known:
        begin = newest.get(each.issuer, each.begin)
        if begin < each.begin and now < each.end:
            raise ValueError(
                f"the list of {_shown(each.issuer)} of {begin:%Y-%m-%d %H:%M} is older than the "
                f"list in use, of {each.begin:%Y-%m-%d %H:%M}"
            )


def _may_sign(authority: x509.Certificate) -> bool:
    """Return whether the key usage of an authority allows it to sign revocation lists."""
    try:
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.crl_sign


def _shown(name: x509.Name) -> str:
    return ascii(name.rfc4514_string())[1:-1]

"""
Write the values of LDAP attributes as bytes in filters, and as text in identities.

Some attributes hold bytes that are not text, such as C{objectGUID} and C{objectSid} of Active
Directory. The encoding of an attribute is configured, and not guessed from its bytes: the 16 bytes
of an identifier may be valid UTF-8 by chance.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from enum import Enum
from uuid import UUID

from authotron.ldap.decoding import Entry

PRIMARY_GROUP_SID = "primaryGroupSid"
"""The placeholder for the SID of the primary group (C{objectSid} and C{primaryGroupID})."""

_SID_HEAD, _RID_SIZE = 8, 4
"""
Number of bytes before the first sub-authority of a SID, and number of bytes of each
sub-authority.
"""


class Encoding(Enum):
    """The ways in which the bytes of an LDAP attribute are written as text."""

    TEXT = "text"
    GUID = "guid"
    SID = "sid"
    BASE64 = "base64"
    HEX = "hex"


KNOWN: Mapping[str, Encoding] = {
    "objectguid": Encoding.GUID,
    "ms-ds-consistencyguid": Encoding.GUID,
    "objectsid": Encoding.SID,
    "sidhistory": Encoding.SID,
    "tokengroups": Encoding.SID,
}
"""Encodings of attributes of Active Directory, by their names in lower case."""


def attributes_behind(placeholder: str) -> tuple[str, ...]:
    """Return the attributes of an entry from which the value of a placeholder is made."""
    if placeholder in ("username", "dn"):
        return ()
    return ("objectSid", "primaryGroupID") if placeholder == PRIMARY_GROUP_SID else (placeholder,)


def raw_values(entry: Entry, placeholder: str) -> list[bytes]:
    """Return the values of a placeholder for an attribute of an entry, as bytes."""
    if placeholder == PRIMARY_GROUP_SID:
        return _primary_group_sids(entry)
    return values_of(entry, placeholder)


def values_of(entry: Entry, attribute: str) -> list[bytes]:
    """
    Return the values of an attribute, even if the server returned its name with options such as
    C{;binary}.
    """
    wanted = attribute.lower()
    found: list[bytes] = []
    for name, values in entry.attributes.items():
        bare, _, options = name.partition(";")
        if bare == wanted and not options.startswith("range="):
            found += values
    return found


def texts_of(entry: Entry, attribute: str, encodings: Mapping[str, Encoding]) -> list[str]:
    """
    Return the values of an attribute as text; values that the encoding cannot write are left out.

    @param encodings: encodings by the names of attributes in lower case.
    """
    encoding = encodings.get(attribute.lower(), Encoding.TEXT)
    written = (_write(raw, encoding) for raw in values_of(entry, attribute))
    return [text for text in written if text is not None]


def _write(raw: bytes, encoding: Encoding) -> str | None:
    if encoding is Encoding.BASE64:
        return b64encode(raw).decode()
    if encoding is Encoding.HEX:
        return raw.hex()
    if encoding is Encoding.GUID and len(raw) == 16:  # noqa: PLR2004 - the number of bytes of a UUID
        return str(UUID(bytes_le=raw))
    if encoding is Encoding.SID and _is_sid(raw):
        return _write_sid(raw)
    try:
        return raw.decode()  # some directories hold GUIDs and SIDs as text
    except UnicodeDecodeError:
        return None


def _is_sid(raw: bytes) -> bool:
    """Return whether bytes are a SID (MS-DTYP section 2.4.2.2)."""
    return len(raw) >= _SID_HEAD and raw[0] == 1 and len(raw) == _SID_HEAD + _RID_SIZE * raw[1]


def _write_sid(raw: bytes) -> str:
    authority = int.from_bytes(raw[2:_SID_HEAD], "big")
    parts = [raw[at : at + _RID_SIZE] for at in range(_SID_HEAD, len(raw), _RID_SIZE)]
    return "-".join(["S", "1", str(authority), *(str(int.from_bytes(p, "little")) for p in parts)])


def _primary_group_sids(entry: Entry) -> list[bytes]:
    """Return the SID of the user with its last part replaced by C{primaryGroupID}."""
    sids, ids = values_of(entry, "objectSid"), values_of(entry, "primaryGroupID")
    try:
        [sid], [group] = sids, [int(each) for each in ids]
        last = group.to_bytes(_RID_SIZE, "little")
    except (ValueError, OverflowError):
        return []
    if _is_sid(sid) and len(sid) > _SID_HEAD:
        return [sid[:-_RID_SIZE] + last]
    domain, _, _ = sid.rpartition(b"-")
    return [b"%s-%d" % (domain, group)] if sid.startswith(b"S-1-") else []

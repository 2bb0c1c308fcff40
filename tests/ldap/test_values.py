"""Values of attributes as text."""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from authotron.ldap.decoding import Entry
from authotron.ldap.values import KNOWN, Encoding, texts_of

GUID = UUID("8f4cd21e-8a4c-4d27-9a25-dbc3ce6d0a7e")
SID = bytes.fromhex("010500000000000515000000") + b"".join(
    number.to_bytes(4, "little") for number in (1004336348, 1177238915, 682003330, 512)
)


def texts(attribute: str, *raw: bytes, **encodings: Encoding) -> list[str]:
    return texts_of(Entry("cn=x", {attribute.lower(): raw}), attribute, {**KNOWN, **encodings})


class ValueTests(SynchronousTestCase):
    """Attributes whose bytes are not text."""

    def test_guid_L_BIN(self) -> None:
        """C{objectGUID} is written as Active Directory shows it, even if its bytes are UTF-8."""
        self.assertEqual(texts("objectGUID", GUID.bytes_le), [str(GUID)])
        self.assertEqual(
            texts("objectGUID", b"abcdefghijklmnop"), ["64636261-6665-6867-696a-6b6c6d6e6f70"]
        )
        self.assertEqual(texts("mS-DS-ConsistencyGuid", GUID.bytes_le), [str(GUID)])

    def test_sid_L_BIN(self) -> None:
        """C{objectSid} is written as in MS-DTYP section 2.4.2.1."""
        wanted = "S-1-5-21-1004336348-1177238915-682003330-512"
        self.assertEqual(texts("objectSid", SID), [wanted])
        self.assertEqual(texts("objectSid", bytes.fromhex("01010000000000010000000a")),
                         ["S-1-1-167772160"])  # fmt: skip

    def test_identifiers_as_text_L_BIN(self) -> None:
        """A directory that holds these identifiers as text is read as text."""
        self.assertEqual(texts("objectGUID", str(GUID).encode()), [str(GUID)])
        self.assertEqual(texts("objectSid", b"S-1-5-21-1-2-3-513"), ["S-1-5-21-1-2-3-513"])

    def test_stated_encodings_L_BIN(self) -> None:
        """Any attribute is written in the encoding that the configuration states."""
        for encoding, wanted in (
            (Encoding.HEX, "ff00"),
            (Encoding.BASE64, "/wA="),
        ):
            self.assertEqual(texts("id", b"\xff\x00", id=encoding), [wanted])
        self.assertEqual(texts("id", SID, id=Encoding.SID), texts("objectSid", SID))
        self.assertEqual(texts("id", b"\xff\x00"), [])
        self.assertEqual(texts("objectGUID", b"abcdefghijklmnop", objectguid=Encoding.TEXT),
                         ["abcdefghijklmnop"])  # fmt: skip

    def test_options_L_BIN(self) -> None:
        """An attribute that the directory returns with an option is the same attribute."""
        entry = Entry("cn=x", {"usercertificate;binary": (b"\xff",), "cn;range=0-1": (b"x",)})
        found = texts_of(entry, "userCertificate", {"usercertificate": Encoding.HEX})
        self.assertEqual((found, texts_of(entry, "cn", {})), (["ff"], []))

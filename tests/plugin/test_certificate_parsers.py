"""The headers in which proxies state the certificate of a client."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.client_certificate import (
    LARGEST,
    MOST_ISSUERS,
    ClientCertificate,
    from_word,
)
from authotron.plugin.certificate_parsers import beside, parse

A, B, C = b"\x30\x01a", b"\x30\x01b", b"\x30\x01c"
ENVOY, TRAEFIK, RFC = "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "Client-Cert"


def base64(raw: bytes) -> str:
    return b64encode(raw).decode()


def pem(*certificates: bytes) -> str:
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{base64(each)}\n-----END CERTIFICATE-----\n"
        for each in certificates
    )


class ParseTests(SynchronousTestCase):
    """The forms of the proxies."""

    def assertRefused(self, value: str, header: str = "", chain: str = "") -> None:
        self.assertRaises(ValueError, parse, value, header, chain)

    def test_nginx(self) -> None:
        """The form of nginx is PEM with percent-encoding, in any header."""
        for name in ("X-SSL-Client-Cert", "Client-Cert", "x"):
            self.assertEqual(parse(quote(pem(A)), name), ClientCertificate(A))

    def test_apache(self) -> None:
        """Apache states PEM with blanks in place of line ends."""
        for value in (pem(A).replace("\n", " "), pem(A).replace("\n", " ").strip()):
            self.assertEqual(parse(value, "X-Client-Cert"), ClientCertificate(A))

    def test_base64(self) -> None:
        """Caddy and HAProxy state Base64 of DER, perhaps between colons."""
        for value in (base64(A), f":{base64(A)}:"):
            self.assertEqual(parse(value, "X-Client-Cert"), ClientCertificate(A))
            self.assertEqual(parse(value, RFC), ClientCertificate(A))

    def test_chain_of_rfc_9440(self) -> None:
        """RFC 9440 has the certificates of authorities in a header of its own."""
        chain = f":{base64(B)}:, :{base64(C)}:"
        self.assertEqual(parse(f":{base64(A)}:", RFC, chain), ClientCertificate(A, (B, C)))
        self.assertEqual(beside("client-CERT"), "Client-Cert-Chain")
        self.assertEqual(beside("X-Client-Cert"), "")

    def test_traefik(self) -> None:
        """Traefik states Base64, with commas between the certificates."""
        value = f"{base64(A)},{base64(B)}"
        self.assertEqual(parse(value, TRAEFIK), ClientCertificate(A, (B,)))
        self.assertEqual(parse(quote(value), TRAEFIK), ClientCertificate(A, (B,)))

    def test_envoy(self) -> None:
        """Envoy states percent-encoded PEM among other properties."""
        own, whole = quote(pem(A)), quote(pem(A, B))
        for value, issuers in (
            (f'By=spiffe://a/b;Hash=ab12;Cert="{own}";Subject="";URI=spiffe://a/c', ()),
            (f'Hash=ab;Cert="{own}";Chain="{whole}";Subject="CN=\\"x\\",O=a;b"', (B,)),
            (f'Hash=ab;Chain="{whole}";DNS=a.example;DNS=b.example;', (B,)),
            (f"cert={own}", ()),
        ):
            self.assertEqual(parse(value, ENVOY), ClientCertificate(A, issuers), value)

    def test_several_elements_S_MTLSHEADER(self) -> None:
        """Envoy's header is refused if it has several elements: a client may have sent one."""
        mine, real = f'Cert="{quote(pem(A))}"', f'By=x;Hash=y;Cert="{quote(pem(B))}"'
        for before in (mine, "By=a", f'{mine};Subject="', f'{mine};Subject="\\', "x", f"{mine};"):
            self.assertRefused(f"{before},{real}", ENVOY)
        self.assertRefused(f"{real},", ENVOY)

    def test_odd_elements_S_MTLSHEADER(self) -> None:
        """An element without a certificate, or with two different ones, is refused."""
        one, other = quote(pem(A)), quote(pem(B))
        for value in (
            "", "Hash=ab", "By=a;URI=b", 'Cert=""', "x", "=", 'Cert="x', f'Cert="{one}"x',
            f'Cert="{one}";Cert="{other}"', f'Cert="{one}";cert="{one}"',
            f'Cert="{one}";Chain="{other}"', f'Cert="{quote(pem(A, B))}"', base64(A),
        ):  # fmt: skip
            self.assertRefused(value, ENVOY)

    def test_several_certificates_S_MTLSHEADER(self) -> None:
        """A header of one certificate must not have two, as after a client's own header."""
        for value in (f"{base64(A)},{base64(B)}", f":{base64(A)}:, :{base64(B)}:", pem(A, B)):
            self.assertRefused(value, "X-Client-Cert")
        for value in (f":{base64(A)}:, :{base64(B)}:", quote(pem(A)) + "," + quote(pem(B))):
            self.assertRefused(value, RFC)

    def test_odd_values_S_MTLSHEADER(self) -> None:
        """What is no certificate in a known form is refused."""
        good = pem(A)
        for value in (
            "", "x", ":", "::", ":::", "AAE", "A=AA", "%", "%zz", "%FF", "(null)", "-", "\xe9",
            "\0",
            good + "x", "x" + good, good[:-5], good.replace("CERTIFICATE", "PRIVATE KEY"),
            "-----BEGIN CERTIFICATE----------END CERTIFICATE-----",
        ):  # fmt: skip
            for name in ("X-Client-Cert", RFC, TRAEFIK):
                self.assertRefused(value, name)
        for chain in ("x", ":", "::", f":{base64(B)}:,", ","):
            self.assertRefused(f":{base64(A)}:", RFC, chain)

    def test_none(self) -> None:
        """Caddy states the name of a placeholder if the client has no certificate."""
        for name in ("", "X-Client-Cert", TRAEFIK):
            self.assertIsNone(parse("{http.request.tls.client.certificate_der_base64}", name))

    def test_bounds_S_MTLSHEADER(self) -> None:
        """One certificate has up to 16 KiB, and there are up to eight authorities beside it."""
        self.assertEqual(parse(base64(b"x" * LARGEST)), ClientCertificate(b"x" * LARGEST))
        for size in (LARGEST + 1, 2**20):
            self.assertRefused(base64(b"x" * size))
            self.assertRefused(f":{base64(A)}:", RFC, base64(b"x" * size))
        most = ",".join([base64(B)] * MOST_ISSUERS)
        found = parse(f":{base64(A)}:", RFC, most)
        assert found is not None
        self.assertEqual(len(found.issuers), MOST_ISSUERS)
        self.assertRefused(f":{base64(A)}:", RFC, f"{most},{base64(B)}")
        self.assertRefused(",".join([base64(A)] * 1000), TRAEFIK)


class WordTests(SynchronousTestCase):
    """Certificates as the value of a credential."""

    def test_round(self) -> None:
        """The word has no comma or blank, and stands for the same certificates."""
        for found in (ClientCertificate(A), ClientCertificate(b"\xfb" * 99, (B, C))):
            word = found.as_word()
            self.assertFalse(set(word) & {",", " "})
            self.assertEqual(from_word(word), found)


PARTS = some.sampled_from(
    (
        *(
            base64(A),
            pem(A),
            quote(pem(A)),
            "Cert=",
            "Chain=",
            "By=x",
            'Cert="',
            ":",
            ",",
            ";",
            '"',
        ),
        *("\\", " ", "%", "=", "-----BEGIN CERTIFICATE-----", "{a.b}", "\xe9", "\0", "%2C"),
    )
)


class AnyValueTests(SynchronousTestCase):
    """Values of any kind."""

    @given(some.lists(PARTS, max_size=6), some.sampled_from(["", ENVOY, TRAEFIK, RFC]), PARTS)
    def test_any_S_MTLSHEADER(self, parts: list[str], header: str, chain: str) -> None:
        """Whatever a header has, it is one certificate, none, or refused."""
        try:
            found = parse("".join(parts), header, chain)
        except ValueError:
            return
        if found is not None:
            self.assertEqual(from_word(found.as_word()), found)

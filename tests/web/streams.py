"""Random streams of bytes: mostly requests, mostly odd ones."""

from __future__ import annotations

from hypothesis import strategies as some

from authotron.model.token import PlainToken, checksum
from tests.web.conversations import ALICE, basic

GOOD = ALICE.encode()


def _token(id_: str) -> PlainToken:
    text = f"aot_{id_}_{'s' * 43}"
    return PlainToken(id_, text + checksum(text))


LIMITED: tuple[tuple[PlainToken, dict[str, list[str]]], ...] = (
    (_token("limitedHosts"), {"hosts": ["*.example.org", "api.example.com:8443"]}),
    (_token("limitedNets1"), {"networks": ["203.0.113.0/24", "2001:db8::/32", "192.0.2.7"]}),
    (_token("limitedBoth1"), {"hosts": ["*"], "networks": ["203.0.113.0/24"]}),
)
"""API tokens that are good for some requests only, and the limits of each."""

BEARERS = [b"Bearer " + token.text.encode() for token, _ in LIMITED]
"""Values of C{Authorization} that present the limited tokens."""

LINES = some.sampled_from(
    [
        *[b"GET /authenticate HTTP/1.1"] * 8,
        *[b"HEAD /authenticate HTTP/1.1", b"GET /auth HTTP/1.1", b"GET /_auth HTTP/1.0"] * 2,
        b"",
        b" ",
        b"get /authenticate HTTP/1.1",
        b"Head /authenticate HTTP/1.1",
        b"CANARY /authenticate HTTP/1.1",
        b"G@T /authenticate HTTP/1.1",
        b"GET /authenticate\xe9 HTTP/1.1",
        b"POST /authenticate HTTP/1.1",
        b"GET /authenticate HTTP/1.2",
        b"GET  /authenticate HTTP/1.1",
        b"GET /authenticate HTTP/1.1 ",
        b"GET /authenticate",
        b"GET\t/authenticate HTTP/1.1",
        b"GET //authenticate HTTP/1.1",
        b"GET /authenticate/ HTTP/1.1",
        b"GET /authenticate?x HTTP/1.1",
        b"GET /authenticate#x HTTP/1.1",
        b"GET /%61uthenticate HTTP/1.1",
        b"GET http://gateway/authenticate HTTP/1.1",
        b"GET http://gateway?x HTTP/1.1",
        b"GET http://u@gateway/authenticate HTTP/1.1",
        b"GET /authenticate?\xe9\xff HTTP/1.1",
        b"GET /caf\xc3\xa9 HTTP/1.1",
        b"GET /health HTTP/1.1",
        b"GET /whoami HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"PUT /auth/traefik HTTP/1.1",
        b"GET /auth/traefik?x HTTP/1.1",
        b"HEAD /auth/traefik HTTP/1.0",
        b"GET /auth/traefik/x HTTP/1.1",
        b"get /auth/caddy HTTP/1.1",
        b"CONNECT /auth/caddy/x HTTP/1.1",
        b"DELETE /auth/envoy/a/../b%2Fc?d HTTP/1.1",
        b"GET /auth/envoy/../traefik HTTP/1.1",
        b"GET /auth/envoy HTTP/1.1",
        b"GET /auth/envoy* HTTP/1.1",
        b"GET /auth/envoy/caf\xc3\xa9?\xff HTTP/1.1",
        b"GET /auth/nginx/\xff HTTP/1.1",
        b"GET /auth/nginx/x#y HTTP/1.1",
        b"POST http://gateway/auth/nginx/x HTTP/1.1",
        b"POST /auth/haproxy HTTP/1.1",
        b"PROPFIND /auth/apache HTTP/1.1",
        b"GET /auth/unknown HTTP/1.1",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"GET /authenticate HTTP/2.0",
        b"GET /AUTHENTICATE HTTP/1.1",
    ]
)
FIELDS = some.sampled_from(
    [
        *[b"Authorization: " + GOOD] * 6,
        *[b"Authorization: " + each for each in BEARERS] * 3,
        *[b"Host: gateway:8080"] * 4,
        b"authorization:" + GOOD,
        b"AUTHORIZATION:\t " + GOOD + b" \t",
        b"Authorization: " + basic("nobody", "x").encode(),
        b"Authorization:",
        b"Authorization : " + GOOD,
        b"Authorization\x00: x",
        b" Authorization: " + GOOD,
        b"Authorization: Basic \x85\x0b",
        b"X-Auth-Realm: internal",
        b"X-Auth-Realm: other",
        b"X-Auth-Realm:",
        b"x-auth-realm: INTERNAL",
        b"X-Auth-Realm: \xff",
        b"X-Request-ID: 7",
        b"X-Request-ID: \xff\x80",
        b"Cookie: a=b; c",
        b"X-Original-URI: /a?b=%00",
        *[b"X-Forwarded-Method: GET", b"X-Forwarded-Uri: /a/../b"] * 2,
        b"X-Forwarded-Uri:",
        b"X-Authotron-Host: a.example.org",
        b"X-Authotron-Client: 203.0.113.7",
        b"Connection: keep-alive, X-Forwarded-Host",
        b"Connection: Upgrade, Close",
        b"Upgrade: websocket",
        b"Expect: 100-continue",
        b"TE: trailers",
        b"Host:",
        b"X-Forwarded-For: 203.0.113.7, 10.0.0.1",
        b"x-forwarded-for:\t203.0.113.8 \t",
        b"X-Forwarded-For: unknown",
        b"X-Forwarded-For: 203.0.113.9:51234",
        b"X-Forwarded-For: 10.0.0.1:80,",
        b"X-Forwarded-For: 203.0.113.7",
        *[b"X-Forwarded-Host: a.example.org"] * 4,
        b"X-Forwarded-Host: api.example.com:8443",
        b"X-Forwarded-Host: example.org",
        b"X-Forwarded-Host: a.example.org, b.example.org",
        b"X-Forwarded-Host: \xe9.example.org",
        b"X-Forwarded-Host:",
        b"X-Forwarded-Host : a.example.org",
        b"x-forwarded-HOST:\t A.Example.ORG. \t",
        b"X_Forwarded_Host: a.example.org",
        b"X: \x01",
        b"X: \x00",
        b"X: \x7f",
        b"X: a\rb",
        b"X: a\nb",
        b"X: a\nAuthorization: " + GOOD,
        b"X: a\rAuthorization: " + GOOD,
        b"X: a\x0bb",
        b"X:",
        b":",
        b": x",
        b"nocolon",
        b"\tfolded",
        b" folded: x",
        b"(: x",
        b"X\xff: x",
        b"X@Y: x",
        b"Host: a..b",
        b"Host: a.",
        b"Host: " + b"a" * 64,
        b"Host: \xff",
        b"Host:",
        b"Host: [::1]:80",
        b"Host: a b",
        b"Host: a,b",
        b"Host: a:b",
        b"Host: [:::]",
        b"Host: [::1.2.3.4]",
        b"Host: user@a",
        b"Connection: close",
        b"Connection: Close",
        b"Connection: keep-alive",
        b"Connection: close, x",
        b"Connection: x close",
        b"Connection:",
        b"Connection: upgrade",
        b"Content-Length: 0",
        b"Content-Length: 00",
        b"Content-Length: +0",
        b"Content-Length: 3",
        b"Content-Length:",
        b"Content-Length: 0, 0",
        b"Content-Length: x",
        b"Content-Length: 70000",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: 3 ",
        b"Content-Length: 0x3",
        b"Content-Length: 3, 3",
        b"Content-Length : 3",
        *[b"Transfer-Encoding: chunked"] * 3,
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: CHUNKED\t",
        b"expect:100-CONTINUE",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:",
        b"Transfer-Encoding : chunked",
        b"Expect: 100-continue",
        b"Upgrade: websocket",
        b"TE: trailers",
        b"X-Long: " + b"x" * 9000,
        b"X-Longer: " + b"x" * 16500,
        b"X-Longest: " + b"x" * 65_500,
    ]
)
ENDS = some.sampled_from([*[b"\r\n"] * 40, b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n "])


SIZES = some.sampled_from(
    [
        *[b"3"] * 8,
        *[b"0"] * 4,
        b"003",
        b"3;x=y",
        b'3;x="a;b"',
        b"0;x",
        b"+3",
        b"-3",
        b"0x3",
        b"3 ",
        b" 3",
        b"3 ;x",
        b"3; x",
        b"3;",
        b"1_0",
        b"ffffffff",
        b"00000000000000000",
        b"3;" + b"x" * 1100,
        b"",
        b"x",
    ]
)
TRAILERS = some.sampled_from(
    [*[b"\r\n"] * 8, b"X: y\r\n\r\n", b"X : y\r\n", b"", b"\n", b" X: y\r\n"]
)


@some.composite
def chunked_bodies(draw: some.DrawFn) -> bytes:
    """Generate chunked bodies, mostly valid; the last chunk may be missing."""
    chunks = [
        draw(SIZES)
        + draw(ENDS)
        + draw(some.sampled_from([b"abc", b"abc", b"a\r\n", b"ab"]))
        + b"\r\n"
        for _ in range(draw(some.integers(0, 3)))
    ]
    return b"".join(chunks) + draw(SIZES) + draw(ENDS) + draw(TRAILERS)


CHUNKED_BODIES = chunked_bodies()


@some.composite
def requests(draw: some.DrawFn) -> bytes:
    lines = [draw(LINES), *draw(some.lists(FIELDS, max_size=5))]
    if draw(some.integers(0, 5)) == 0:
        lines += [b"Host: gateway", b"Transfer-Encoding: chunked"]
        return b"\r\n".join([*lines, b"", draw(CHUNKED_BODIES)])
    body = draw(some.sampled_from([*[b""] * 12, b"abc", b"0\r\n\r\n", b"\r\n"]))
    return b"".join(line + draw(ENDS) for line in lines) + draw(ENDS) + body


@some.composite
def streams(draw: some.DrawFn) -> list[bytes]:
    """Generate requests, some with bytes changed, cut into pieces at random."""
    chunks: list[bytes] = []
    for whole in draw(some.lists(requests(), min_size=1, max_size=4)):
        request, at = whole, draw(some.integers(0, len(whole)))
        if draw(some.integers(0, 4)) == 0:
            changed = draw(some.binary(max_size=2))
            request = whole[:at] + changed + whole[at + draw(some.integers(0, 2)) :]
        cuts = sorted(draw(some.lists(some.integers(0, len(request)), max_size=3)))
        pieces = [request[a:b] for a, b in zip([0, *cuts], [*cuts, len(request)], strict=True)]
        pipelined: int = draw(some.integers(0, 1))
        if chunks and pipelined:
            chunks[-1] += pieces.pop(0)
        chunks += pieces
    return chunks

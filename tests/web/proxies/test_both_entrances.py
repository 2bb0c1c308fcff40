"""The site and the fast path answer alike, whichever answers are configured."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tests import STREAMS
from tests.web.conversations import ALICE, InMemoryGateway, Wire, basic
from tests.web.proxies.test_belief import PROXY, STRANGER, TRUSTED
from tests.web.proxies.test_profiles import CUSTOM, EVERY, PROFILES

USERS = [
    {"username": "alice", "password": "wonder", "roles": ["a,b", "x"]},
    {"username": "many", "password": "p", "roles": ["r" * 3_000]},
    {"username": "zoë", "password": "p", "roles": ["é"]},
]
POLICY = {
    "rules": [{"name": "data", "subject": [["realm=internal"]], "permissions": ["/data/**:*"]}]
}

SERVERS = some.fixed_dictionaries(
    {
        "profile": some.sampled_from([*PROFILES]),
        "path_header": some.sampled_from([None, None, "X-Path"]),
        "encoding": some.sampled_from(["percent", "utf-8"]),
        "contracts": some.fixed_dictionaries(
            {
                "nginx": some.fixed_dictionaries(
                    {
                        "error_headers": some.sampled_from([False, False, True]),
                        "max_head_bytes": some.just(4_096),
                    }
                ),
                "envoy": some.just({"profile": "custom"}),
                "caddy": some.just({"profile": "remote-user", "max_head_bytes": 1_024}),
            }
        ),
        "custom": some.just(CUSTOM),
    }
)
LINES = some.sampled_from(
    [
        "GET /authenticate",
        "HEAD /authenticate",
        "HEAD /auth/nginx",
        "POST /auth/nginx/data/x",
        "GET /auth/envoy/data/x",
        "OPTIONS /auth/envoy/admin",
        "PURGE /auth/envoy/a//b",
        "GET /auth/caddy",
        "GET /auth/caddy/data/x?y",
        "GET /auth/traefik",
    ]
)
CREDENTIALS = some.sampled_from(
    [
        ALICE,
        basic("many", "p"),
        basic("many", "p"),
        basic("zoë", "p"),
        basic("alice", "no"),
        "x",
        f"{ALICE}, Bearer y",
    ]
)
FIELDS = some.sampled_from(
    [
        "X-Forwarded-Method: GET",
        "X-Forwarded-Uri: /data/x",
        "X-Forwarded-Uri: /a%2fb",
        "X-Original-Method: GET",
        "X-Original-URI: /data/x",
        "X-Original-URI: /admin",
        "X-Path: /mallory",
        "X-Who: mallory",
        "Remote-User: mallory",
        "Accept: application/json",
        "Connection: Upgrade",
        "Upgrade: websocket",
    ]
)


STATED = ["X-Forwarded-Method: GET", "X-Forwarded-Uri: /data/x", "X-Original-URI: /data/x"]
HOSTS = some.sampled_from(["Host: a.org"] * 9 + ["Host: a b"])


@some.composite
def heads(draw: some.DrawFn) -> bytes:
    """Draw the head of a question; most of them are well-formed and have one credential."""
    credentials = draw(
        some.lists(CREDENTIALS, min_size=1, max_size=1) | some.lists(CREDENTIALS, max_size=2)
    )
    lines = [f"Authorization: {each}" for each in credentials]
    lines += draw(some.just(STATED) | some.lists(FIELDS, max_size=6))
    text = [f"{draw(LINES)} HTTP/1.1", draw(HOSTS), *draw(some.permutations(lines)), "", ""]
    return "\r\n".join(text).encode()


class BothTests(SynchronousTestCase):
    """What both entrances send, and count."""

    def answers(self, over: Any, heads: list[bytes], peer: Any, which: str) -> tuple[Any, Any]:
        """Return the answers of an entrance, and the metrics of its gateway."""
        gateway = InMemoryGateway(over)
        found = []
        for head in heads:
            wire = Wire(peerAddress=peer)
            channel: Any = getattr(gateway, which).buildProtocol(peer)
            channel.makeConnection(wire)
            channel.dataReceived(head)
            found.append(_read(wire.value()))
        counted = ("authotron_answers", "authotron_unusable", "auth_requests", "authotron_http_req")
        lines = gateway.metrics.text()[0].decode().splitlines()
        return found, {line for line in lines if line.startswith(counted) and line[-4:] != " 0.0"}

    @settings(max_examples=max(3, STREAMS // 20))
    @given(
        SERVERS,
        some.sampled_from([{}, {"policy": POLICY}]),
        some.lists(heads(), min_size=4, max_size=12),
        some.sampled_from([PROXY, PROXY, PROXY, STRANGER]),
    )
    def test_equal_T59_T62(
        self, answers: dict[str, Any], more: dict[str, Any], asked: list[bytes], peer: Any
    ) -> None:
        """Both entrances send the same, also from the cache, and only a 200 has an identity."""
        over: dict[str, Any] = {
            "server": {**TRUSTED, "answers": answers},
            "providers": [{"type": "plain", "name": "s", "realm": "internal", "users": USERS}],
            **more,
        }
        fast, site = (
            self.answers(over, [*asked, *asked], peer, which) for which in ("entrance", "public")
        )
        self.assertEqual(fast, site)
        for status, headers, body in fast[0]:
            names = {name for name, _ in headers}
            if status == "HTTP/1.1 200 OK":
                self.assertIn("authorization", names)
                self.assertNotIn("mallory", str(headers))
            else:
                self.assertFalse(names & {"authorization", "x-path", *EVERY})
                self.assertNotIn(b"eyJ", body)


def _read(data: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return status line, headers and body of an answer, without what differs by chance."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = re.sub(r"eyJ[\w.-]+", "JWT", head.decode("latin-1")).split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return status, sorted((name.lower(), value) for name, value in pairs if name != "Date"), body

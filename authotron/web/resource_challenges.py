"""
Name the metadata of a protected resource in the challenge of a refusal (RFC 9728 section 5.1), so
that an OAuth client finds out where it gets a token.

The module is imported only if the configuration has protected resources.
"""

from __future__ import annotations

import re
from functools import lru_cache

from authotron.model.protected_resources import ProtectedResources
from authotron.model.request import Facts
from authotron.web.replies import Reply

_NAME = b"WWW-Authenticate"

_PARAMETER = rb'[A-Za-z0-9_-]+=(?:"(?:[^"\\]|\\.)*"|[^\s,"=]+)'
_CHALLENGE = re.compile(
    rb"(?P<scheme>[A-Za-z0-9-]+)(?P<parameters>(?: %b(?:, %b)*)?)(?:, |$)"
    % (_PARAMETER, _PARAMETER)
)
"""One challenge of those that the gateway joins in one header (RFC 9110 section 11.6.1)."""

_OF_TOKENS = frozenset({b"bearer", b"dpop"})
"""The schemes, in lower case, of the challenges that ask for an access token."""


def with_resource_metadata(reply: Reply, resources: ProtectedResources, facts: Facts) -> Reply:
    """
    Return a refusal whose challenge names the metadata of the protected resource that the client
    has requested; a reply without a challenge, or to a request for another service, is returned
    unchanged.
    """
    if _NAME not in reply.fields:
        return reply
    resource = resources.of_request(facts)
    if resource is None:
        return reply
    return _with_url(reply.status, reply.wire, reply.length, resource.metadata_url)


@lru_cache(maxsize=256)
def _with_url(status: int, wire: bytes, length: int, url: str) -> Reply:
    """
    Return a copy of a refusal, whose challenge also names a URL; there are only a few different
    refusals, so that copies are remembered.
    """
    reply, start = Reply(status, wire, length), _NAME + b": "
    lines = [
        start + with_url(line[len(start) :], url.encode()) if line.startswith(start) else line
        for line in reply.fields.split(b"\r\n")
    ]
    return Reply(status, b"\r\n".join(lines) + reply.body, length)


def with_url(challenges: bytes, url: bytes) -> bytes:
    """
    Return the value of the header C{WWW-Authenticate} with C{resource_metadata} in each challenge
    that asks for an access token. If no challenge asks for one, a Bearer challenge is added.
    """
    metadata = b'resource_metadata="%b"' % url
    found, at = list[bytes](), 0
    is_named = False
    while at < len(challenges):
        each = _CHALLENGE.match(challenges, at)
        if each is None:  # the value has another form, so that nothing can be inserted safely
            return challenges
        scheme, parameters = each.group("scheme", "parameters")
        if scheme.lower() in _OF_TOKENS:
            is_named = True
            parameters += b", " + metadata if parameters else b" " + metadata
        found.append(scheme + parameters)
        at = each.end()
    return b", ".join(found if is_named else [*found, b"Bearer " + metadata])

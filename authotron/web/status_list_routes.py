"""
The route C{GET /statuslists/ID}: backends fetch a Token Status List, to find out by themselves
whether a JWT still counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from authotron.gateway.status_lists import StatusLists
from authotron.gateway.stored_status_list import KIND, of_record
from authotron.jose.status_list import TYPE, list_claims
from authotron.model.errors import Unavailable
from authotron.web import replies
from authotron.web.later_routes import Call
from authotron.web.replies import Reply

_ID = re.compile(r"[A-Za-z0-9_-]{16}")

_UNKNOWN = replies.outage("The status list is temporarily unavailable")


async def status_list(call: Call, id_: str) -> Reply:
    """
    Answer with a signed Token Status List; the request needs no credentials.

    The status list of another process comes from the token store. If the token store cannot be
    reached, the reply is a 503: an older list could lack a revocation.
    """
    lists, events = call.gateway.status_lists, call.gateway.config.file.events
    if lists is None or events is None or events.status_list is None or not _ID.fullmatch(id_):
        return replies.NOT_FOUND
    try:
        found = await _found(call, lists, id_)
    except Unavailable:
        return _UNKNOWN
    if found is None:
        return replies.NOT_FOUND
    ttl = events.status_list.ttl
    claims = list_claims(lists.uri(id_), dict(found), call.clock.seconds(), ttl)
    body = call.gateway.minter.sign(claims, TYPE).encode()
    age = (b"Cache-Control", b"public, max-age=%d" % (ttl // 2))
    return replies.bytes_reply(200, f"application/{TYPE}", body, age)


async def _found(call: Call, lists: StatusLists, id_: str) -> Mapping[str, Any] | None:
    """
    Return the status list with an id, of this process or as another process has stored it, or
    C{None} if there is no such list.

    @raise Unavailable: the token store cannot be reached, or it is not known what is revoked.
    """
    records, revocations = call.serving.records, call.gateway.revocations
    if records is None or revocations is None or not revocations.index.is_usable:
        raise Unavailable("it is not known which credentials are revoked")
    own, now = lists.of_id(id_), call.clock.seconds()
    if own is not None:
        return own.statuses.encoded()
    record = await records.store.record(KIND, id_, now)
    if record is None:
        return None
    try:
        return of_record(record).published(revocations.index.known.values(), now)
    except ValueError:
        return None

"""
Divide the results of a search into pages (Authorization API 1.0, "Pagination").

The token of a page is not secret: it states how many candidates the previous pages have examined,
and a checksum of the search. By the checksum the gateway rejects the token of another search.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from attrs import frozen

from authotron.web.authzen.entities import Malformed

MOST_RESULTS = 1_000
"""Maximum number of results on one page of an AuthZEN search."""

_TOKEN = re.compile(r"([0-9]{1,9})\.([0-9a-f]{16})")


@frozen
class Page:
    """
    The page of search results that a client requests.

    @ivar is_wanted: whether the search request has the key C{page}, so that the reply must have
        this key, too.
    @ivar start: the number of candidates that the previous pages have examined.
    @ivar limit: the maximum number of results on the page.
    """

    is_wanted: bool
    start: int
    limit: int
    _checksum: str

    def reply(self, results: list[dict[str, Any]], end: int, total: int) -> dict[str, Any]:
        """
        Return the JSON reply to an AuthZEN search.

        @param end: the number of candidates that this page and all previous pages have examined, of
            C{total} candidates.
        """
        if end >= total and not self.is_wanted:
            return {"results": results}
        following = "" if end >= total else f"{end}.{self._checksum}"
        return {"page": {"next_token": following, "count": len(results)}, "results": results}


def parse_page(given: Mapping[str, Any]) -> Page:
    """
    Return the page that a search request asks for; if the request has no key C{page}, return the
    first page.

    @raise Malformed: the key C{page} is malformed, or the token in it belongs to another search.
    """
    page = given.get("page", {})
    if not isinstance(page, dict):
        raise Malformed("page must be an object")
    limit = page.get("limit", MOST_RESULTS)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise Malformed("page.limit must be a number that is not negative")
    checksum = _checksum(given, limit)
    start = _start(page["token"], checksum) if "token" in page else 0
    return Page("page" in given, start, min(limit, MOST_RESULTS), checksum)


def _checksum(given: Mapping[str, Any], limit: int) -> str:
    """
    Return the checksum of the parts of a search request that must not change from one page to the
    next.
    """
    parts = {key: given.get(key) for key in ("subject", "action", "resource", "context")}
    text = json.dumps([parts, limit], sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _start(token: object, checksum: str) -> int:
    found = _TOKEN.fullmatch(token) if isinstance(token, str) else None
    if found is None:
        raise Malformed("page.token is not a token of this service")
    if found[2] != checksum:
        raise Malformed("page.token belongs to a search with other entities or another limit")
    return int(found[1])

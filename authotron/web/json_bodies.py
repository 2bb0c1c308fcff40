"""Parse request bodies that are JSON objects, with limits on their size and depth."""

from __future__ import annotations

from typing import Any

from authotron.model import strict_json
from authotron.model.errors import Problem
from authotron.web import replies
from authotron.web.request import Request
from authotron.web.routing import EarlyReply


def read_object(request: Request, most: int) -> dict[str, Any]:
    """
    Parse the body of a request as one JSON object.

    @param most: the maximum number of JSON arrays and objects in the request body.

    @raise EarlyReply: the body is not a JSON object in UTF-8, is nested too deeply, or has a
        duplicate key.
    """
    try:
        found = strict_json.loads(request.content.getvalue(), most=most)
    except ValueError as error:
        reason = str(error) if not isinstance(error, UnicodeError) else "the body is not UTF-8"
        problem = Problem("", f"the body is not strict JSON in UTF-8: {reason}")
        raise EarlyReply(replies.malformed([problem])) from None
    if not isinstance(found, dict):
        raise EarlyReply(replies.malformed([Problem("", "the body must be a JSON object")]))
    return found

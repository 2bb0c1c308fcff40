"""The format of the documents in MongoDB, and the indexes of the collections."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import OperationFailure
from txmongo import filter as sorting

from authotron.model.token import Row, Token, mark_of
from authotron.plugin.token_rows import remembered_until
from authotron.stores.mongo_client import call_raw
from authotron.stores.mongo_errors import of_answer

FORM = 1
"""The version of the document format, which every document of authotron contains as C{form}."""

_POLICIES = "policies-"
"""The beginning of the ids of documents with policies."""

EVERY_POLICIES: Mapping[str, Any] = {"_id": {"$gt": _POLICIES, "$lt": "policies."}}
"""
A MongoDB query for all documents with policies: ids between the prefix with C{-} and the prefix
with C{.}, the next character in ASCII.
"""

_GRACE = 3600
"""Seconds from the expiry of a document until MongoDB deletes the document."""

REVOCATION_FIELDS = {"_id": 1, "realm": 1, "username": 1, "token": 1, "origin": 1, "fixed": 1}
"""The fields of an API token's document that are needed to record its revocation."""

_UNSUPPORTED = frozenset({67, 115, 238})
"""Error codes of MongoDB servers that do not support a kind of index."""


def token_document(token: Token, owner_id: str) -> dict[str, Any]:
    """
    Build the document that stores an API token, with the id of its owner in the collection of
    users.
    """
    row = token.row()
    return {
        "_id": row.pop("id"),
        "form": FORM,
        "token": {"token_string": row.pop("hashed"), "scopes": {}},
        "user_id": owner_id,
        "ends": date(row["expires"]),
        "lineage": list(token.lineage),
        **row,
    }


def row_of(document: Mapping[str, Any]) -> Row:
    """
    Convert a document to the row of an API token, which
    L{authotron.model.token.from_row} reads.
    """
    return {**document, "id": document["_id"], "hashed": document["token"]["token_string"]}


def revocation_document(document: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Build the document which records that an API token was revoked."""
    until = remembered_until(document, now)
    return {
        "realm": document["realm"],
        "username": document["username"],
        "mark": mark_of(document["token"]["token_string"]),
        "until": until,
        "ends": date(until),
    }


def policies_id(number: int) -> str:
    """
    Return the id of the document with the policies of a given number; ids are sorted by
    number.
    """
    return f"{_POLICIES}{number:012}"


def number_of_policies(id_: str) -> int:
    """Return the number in the id of a document with policies."""
    return int(id_.removeprefix(_POLICIES))


def tree_terms(id_: str) -> list[dict[str, Any]]:
    """Return the terms of a query that match an API token and all its descendants."""
    return [{"_id": id_}, {"lineage": id_}]


def date(seconds: float | None) -> datetime | None:
    """
    Convert seconds since the epoch to a date, the type by which MongoDB deletes
    expired documents.
    """
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


async def create_indexes(tokens: Any, revoked: Any, users: Any) -> None:
    """
    Create the indexes of the three MongoDB collections, except those that the server does not
    support.

    @raise Unavailable: MongoDB cannot be reached, or refuses to create an index.
    """
    ascending = sorting.ASCENDING
    await _create(
        (tokens, ascending("token.token_string"), {"unique": True}),
        (tokens, ascending(["realm", "username", "_id"]), {}),
        (tokens, ascending("ends"), {"expireAfterSeconds": _GRACE}),
        (tokens, ascending("lineage"), {}),
        (revoked, ascending("ends"), {"expireAfterSeconds": _GRACE}),
        (revoked, ascending(["realm", "username", "until"]), {}),
        (users, ascending(["username", "realm"]), {"unique": True}),
        (users, ascending("user_id"), {"unique": True}),
    )


async def create_record_indexes(records: Any) -> None:
    """
    Create the indexes of the MongoDB collection of records, except those that the server does not
    support.

    @raise Unavailable: MongoDB cannot be reached, or refuses to create an index.
    """
    await _create(
        (records, sorting.ASCENDING(["kind", "record", "_id"]), {}),
        (records, sorting.ASCENDING("until"), {}),
    )


async def _create(*indexes: tuple[Any, Any, dict[str, Any]]) -> None:
    for collection, fields, options in indexes:
        try:
            await call_raw(collection.create_index(sorting.sort(fields), **options))
        except OperationFailure as error:
            if error.code not in _UNSUPPORTED:
                raise of_answer(error) from None

"""
Connect to MongoDB by the library txmongo, and convert the exceptions that it raises.

Only the modules of the MongoDB store import txmongo or pymongo.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Protocol, TypeVar

from pydantic import SecretStr
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri
from twisted.internet.error import ConnectError, ConnectionClosed
from txmongo.connection import ConnectionPool
from txmongo.errors import TimeExceeded

from authotron.net import tls
from authotron.net.tls_gates import GatedConnections
from authotron.stores import mongo_errors

T = TypeVar("T")

_BATCH = 500
"""Number of documents that are requested from MongoDB in one batch."""

_DUPLICATE_CODES = frozenset({1, 11000})
"""Error codes by which MongoDB servers report a duplicate key."""

_ATTEMPT_TIMEOUT = 1.0
"""
Number of seconds in which a connection to MongoDB must be established, and its first command
answered.
"""

_FAILURES = (PyMongoError, TimeExceeded, ConnectionClosed, ConnectError)


class Target(Protocol):
    """The configuration keys for the address of a MongoDB server, and for TLS."""

    uri: SecretStr
    connections: int

    def verifier(self) -> tls.Verifier | None:
        """
        Build the verifier of the MongoDB server's certificate, or return
        C{None} if TLS is off.
        """


def connection_pool(config: Target, peer: GatedConnections | None) -> ConnectionPool:
    """Build the connection pool for the MongoDB server that a configuration section names."""
    pool = ConnectionPool(
        config.uri.get_secret_value(),
        pool_size=config.connections,
        ssl_context_factory=peer,
        retry_delay=_ATTEMPT_TIMEOUT,  # MongoConnections sets the delay between attempts to connect
        ping_interval=2,
        ping_timeout=2,
    )
    login = parse_uri(config.uri.get_secret_value())
    # txmongo would ignore the login of a URI that names no database
    if login["username"] and not login["database"]:
        options = {name.lower(): value for name, value in login["options"].items()}
        database, mechanism = options.get("authsource", "admin"), options.get("authmechanism")
        authenticated = pool.authenticate(
            database, login["username"], login["password"], mechanism or "DEFAULT"
        )
        # pool.authenticate fails while there is no connection, but still stores the login for later
        # connections, so the failure is ignored.
        authenticated.addErrback(lambda _: None)
    return pool


def tls_peer(config: Target) -> GatedConnections | None:
    """
    Build the verifier of the MongoDB server's certificate, or return C{None} if TLS is off.

    Every host in the URI must present a certificate that is valid for the first host, because
    txmongo accepts only one TLS configuration for all hosts.
    """
    verifier = config.verifier()
    if verifier is None:
        return None
    [(host, _), *_] = parse_uri(config.uri.get_secret_value())["nodelist"]
    return GatedConnections(verifier, host)


async def all_documents(collection: Any) -> AsyncIterator[Mapping[str, Any]]:
    """
    Yield all documents of a MongoDB collection.

    The documents are read by one cursor and not page by page, because a query for ids greater than
    the last id finds only ids of the same BSON type, and would miss the others.

    @raise Unavailable: MongoDB does not answer.
    """
    batches = collection.find(batch_size=_BATCH).batches()
    while some := await call(anext(batches, None)):
        for document in some:
            yield document


async def call(answer: Awaitable[T]) -> T:
    """
    Wait for an answer of MongoDB, and convert exceptions of the driver to L{Unavailable}.

    @raise Unavailable: MongoDB cannot be reached, or refuses the operation.
    @raise DuplicateKeyError: a document with the same unique key is stored already.
    """
    try:
        return await call_raw(answer)
    except DuplicateKeyError:
        raise
    except OperationFailure as error:
        if error.code in _DUPLICATE_CODES and "duplicate" in str(error).lower():
            raise DuplicateKeyError("duplicate key", error.code) from None
        raise mongo_errors.of_answer(error) from None


async def call_raw(answer: Awaitable[T]) -> T:
    """
    Wait for an answer of MongoDB. If the connection fails, L{Unavailable} is raised; exceptions for
    errors that MongoDB answers with are not converted.

    @raise Unavailable: MongoDB cannot be reached.
    @raise OperationFailure: MongoDB refuses the operation.
    """
    try:
        return await answer
    except OperationFailure:
        raise
    except _FAILURES as error:
        raise mongo_errors.of_connection(error) from None

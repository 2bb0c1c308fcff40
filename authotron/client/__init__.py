"""
For backends behind the gateway: verify the JWT of a request, and find out which user sent the
request.

Importing this module loads neither PyJWT nor cryptography: L{Verifier} and L{Client} load them when
they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from authotron.client.errors import (
    AuthotronError,
    Forbidden,
    InvalidToken,
    NoToken,
    Unauthenticated,
    Unavailable,
)
from authotron.client.user import User

# At run time __getattr__ imports the classes, so that PyJWT is loaded only when it is needed.
if TYPE_CHECKING:
    from authotron.client.gateway import Authenticated, Client
    from authotron.client.verifier import Verifier

__all__ = [
    "Authenticated",
    "AuthotronError",
    "Client",
    "Forbidden",
    "InvalidToken",
    "NoToken",
    "Unauthenticated",
    "Unavailable",
    "User",
    "Verifier",
]

_LATE = {
    "Authenticated": "authotron.client.gateway",
    "Client": "authotron.client.gateway",
    "Verifier": "authotron.client.verifier",
}
"""Names of classes that load PyJWT, and of the modules that define them."""


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

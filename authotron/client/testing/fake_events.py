"""The events and the status list of a fake gateway."""

from __future__ import annotations

import json
import queue
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from authotron.client.event_parser import ServerEvent
from authotron.client.user import User

_SIZE = 8192
"""Number of JWTs to which the status list of a fake gateway has places."""


class FakeEvents:
    """What a fake gateway has revoked, and the streams by which services listen to it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, ServerEvent] = {}
        self._callbacks: list[Callable[[ServerEvent], object]] = []
        self._streams: list[queue.SimpleQueue[bytes | None]] = []
        self._number = 0

    def on_event(self, callback: Callable[[ServerEvent], object]) -> None:
        """Call a function with each further event, in the thread that causes it."""
        self._callbacks.append(callback)

    def revoke(self, content: Mapping[str, Any]) -> str:
        """Send the event of a revocation, and return the id of the revocation."""
        self._number += 1
        id_ = f"revocation-{self._number}"
        shown = {"id": id_, "created": self._clock(), **content}
        self._known[id_] = ServerEvent("revocation", json.dumps(shown))
        self._send(self._known[id_])
        return id_

    def withdraw(self, id_: str) -> None:
        """Send the event which says that a revocation was withdrawn."""
        del self._known[id_]
        self._send(ServerEvent("revocation-withdrawn", json.dumps({"id": id_})))

    def stream(self) -> Iterator[bytes]:
        """Yield a stream of events, which waits for further events until it is closed."""
        waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._streams.append(waiting)
        first = [ServerEvent("reset", "{}"), *self._known.values(), ServerEvent("ready", "{}")]
        yield b"".join(map(_frame, first))
        while (piece := waiting.get()) is not None:
            yield piece

    def close(self) -> None:
        """End all streams, as a gateway does that stops."""
        streams, self._streams = self._streams, []
        for waiting in streams:
            waiting.put(None)

    def _send(self, event: ServerEvent) -> None:
        for callback in self._callbacks:
            callback(event)
        for waiting in self._streams:
            waiting.put(_frame(event))


def _frame(event: ServerEvent) -> bytes:
    return f"event: {event.name}\ndata: {event.data}\n\n".encode()


class FakeStatusList:
    """The status list of a fake gateway, in which each JWT has a place of its own."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._users: list[User] = []
        self._revoked: set[int] = set()

    def reference(self, user: User) -> dict[str, Any]:
        """Return the claim C{status} of a further JWT of a user."""
        self._users.append(user)
        return {"status_list": {"idx": (len(self._users) - 1) % _SIZE, "uri": self.uri}}

    def revoke(self, user: User) -> None:
        """Mark all JWTs of a user that the fake gateway has minted before as revoked."""
        self._revoked.update(at for at, each in enumerate(self._users) if each == user)

    def claims(self, now: float, ttl: int = 60) -> dict[str, Any]:
        """Return the claims of the JWT that contains the list."""
        packed = bytearray(_SIZE // 8)
        for index in self._revoked:
            packed[index % _SIZE // 8] |= 1 << index % 8
        encoded = urlsafe_b64encode(zlib.compress(bytes(packed), 9)).rstrip(b"=").decode()
        times = {"iat": int(now), "exp": int(now) + 2 * ttl, "ttl": ttl}
        return {"sub": self.uri, **times, "status_list": {"bits": 1, "lst": encoded}}

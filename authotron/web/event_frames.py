"""Write Server-Sent Events, in the format C{text/event-stream} of the HTML standard."""

from __future__ import annotations

HEARTBEAT = b": heartbeat\n\n"
"""A comment, which clients ignore, and by which both sides notice that a connection is lost."""


def frame(name: str, text: str, id_: str | None = None) -> bytes:
    """
    Return one event as bytes to send.

    @param text: the data of the event; each of its lines becomes a C{data} field.
    @param id_: the id that the client sends as C{Last-Event-ID} when it connects again, or C{None}
        if the client cannot resume at this event.
    """
    lines = [f"event: {name}"] + [f"data: {line}" for line in text.splitlines() or [""]]
    if id_ is not None:
        lines.append(f"id: {id_}")
    return "\n".join([*lines, "", ""]).encode()


def position(id_: str) -> bytes:
    """
    Return a frame that sets only the id at which the client resumes; clients report no event for
    it.
    """
    return f"id: {id_}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """Return a frame that states after how many milliseconds a client connects again."""
    return f"retry: {milliseconds}\n\n".encode()

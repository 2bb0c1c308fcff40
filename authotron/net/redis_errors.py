"""Describe error answers of Redis in words that an operator understands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from authotron.net.reasons import Reason

_IN_SCRIPT = re.compile(rb" -([A-Z]{4,}) ")
"""
A regular expression of the error code inside a Lua script, as Redis before
version 7 reports it.
"""

_COMMAND = re.compile(rb"'([a-z|-]{1,32})' command")
"""
A regular expression that finds, in an error answer of Redis, the name of the command that the user
may not run.
"""

_LINE_OF_SCRIPT = re.compile(rb"can't run this command .*@user_script:(\d{1,4})")
"""
A regular expression of the error answer of Redis 7.0 if the user may not run a command in a Lua
script; its group captures the number of the script line with the command.
"""

_CALL = re.compile(r"redis\.call\('([A-Z]+)'")

_REASONS = {
    "READONLY": (Reason.READ_ONLY, "the server is a replica"),
    "LOADING": (Reason.STARTING, "the server is loading its data"),
    "MASTERDOWN": (Reason.NOT_PRIMARY, "the server is a replica that has lost its primary"),
    "NOMASTERLINK": (Reason.NOT_PRIMARY, "the server is a replica that has lost its primary"),
    "CLUSTERDOWN": (Reason.BAD_ANSWER, "the server is a Redis Cluster, which is not supported"),
    "MOVED": (Reason.BAD_ANSWER, "the server is a Redis Cluster, which is not supported"),
    "TRYAGAIN": (Reason.BAD_ANSWER, "the server is a Redis Cluster, which is not supported"),
    "CROSSSLOT": (Reason.BAD_ANSWER, "the server is a Redis Cluster, which is not supported"),
    "NOAUTH": (Reason.NOT_ALLOWED, "the server wants a login; set store.password"),
    "WRONGPASS": (Reason.WRONG_LOGIN, "the user may also be disabled"),
    "NOREPLICAS": (Reason.READ_ONLY, "fewer replicas than min-replicas-to-write are connected"),
    "OOM": (Reason.NO_SPACE, "the memory of the server is full (maxmemory)"),
    "MISCONF": (Reason.READ_ONLY, "the server cannot write to its disk"),
    "DENIED": (Reason.NOT_ALLOWED, "the server wants a login from other machines (protected mode)"),
    "BUSY": (Reason.TIMED_OUT, "the server is busy with a script"),
}
"""The reason and the detail that error messages show for each error code of Redis."""


class ErrorAnswer(Exception):
    """
    Redis answered with an error.

    The text of the error answer is not kept, since it may repeat a secret in the command.

    @ivar code: the first word of the error answer, which is the error code.
    @ivar command: the Redis command that failed, or that the user may not run.
    @ivar line: the number of the line in a Lua script whose command the user may not run.
    """

    def __init__(self, code: str, command: str = "", line: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.command = command
        self.line = line

    def blame(self, words: Sequence[object]) -> None:
        """
        Set the attribute C{command} from the Redis command that was sent, or from a line of its
        script.
        """
        if self.line and len(words) > 1:
            line = str(words[1]).splitlines()[self.line - 1 : self.line]
            self.command = " or ".join(_CALL.findall("".join(line)))
        self.command = self.command or str(words[0])


def parse(text: bytes) -> ErrorAnswer:
    """
    Parse the text of an error answer of Redis; for an error inside a Lua script, the code of that
    error is used.
    """
    code = text.split(b" ")[0]
    if denied := _LINE_OF_SCRIPT.search(text):
        return ErrorAnswer("NOPERM", line=int(denied[1]))
    if code == b"ERR" and (inside := _IN_SCRIPT.search(text)):
        code = inside[1]
    named = _COMMAND.search(text) if code == b"NOPERM" else None
    return ErrorAnswer(code.decode("ascii", "replace"), named[1].decode().upper() if named else "")


def describe(error: ErrorAnswer) -> str:
    """Describe an error answer of Redis for log and error messages."""
    reason, detail = _REASONS.get(error.code, (Reason.BAD_ANSWER, f"an error for {error.command}"))
    if error.code == "NOPERM":
        reason, detail = Reason.NOT_ALLOWED, f"the user may not run {error.command} on its keys"
    return f"Redis: {reason}: {detail} ({error.code})"

"""What the error answers of Redis mean to an operator."""

from __future__ import annotations

import re
from collections.abc import Sequence

from authotron.net.reasons import Reason

_IN_SCRIPT = re.compile(rb" -([A-Z]{4,}) ")
"""The code of an error inside a Lua script, as Redis before version 7 reports it."""

_COMMAND = re.compile(rb"'([a-z|-]{1,32})' command")
"""The name of a command that the user may not run."""

_LINE_OF_SCRIPT = re.compile(rb"can't run this command .*@user_script:(\d{1,4})")
"""How Redis 7.0 says that the user may not run a command in this line of a script."""

_CALL = re.compile(r"redis\.call\('([A-Z]+)'")

_REASONS = {
    "READONLY": (Reason.READ_ONLY, "the server is a replica"),
    "LOADING": (Reason.STARTING, "the server is loading its data"),
    "MASTERDOWN": (Reason.NOT_PRIMARY, "the server is a replica that has lost its primary"),
    "NOMASTERLINK": (Reason.NOT_PRIMARY, "the server is a replica that has lost its primary"),
    "CLUSTERDOWN": (Reason.BAD_ANSWER, "it is a Redis Cluster, which is not supported"),
    "MOVED": (Reason.BAD_ANSWER, "it is a Redis Cluster, which is not supported"),
    "CROSSSLOT": (Reason.BAD_ANSWER, "it is a Redis Cluster, which is not supported"),
    "NOAUTH": (Reason.NOT_ALLOWED, "the server wants a login; set store.password"),
    "WRONGPASS": (Reason.WRONG_LOGIN, "or the user is disabled"),
    "NOREPLICAS": (Reason.READ_ONLY, "fewer replicas than min-replicas-to-write are connected"),
    "OOM": (Reason.NO_SPACE, "the memory of the server is full (maxmemory)"),
    "MISCONF": (Reason.READ_ONLY, "the server cannot write to its disk"),
    "DENIED": (Reason.NOT_ALLOWED, "the server wants a login from other machines (protected mode)"),
    "BUSY": (Reason.TIMED_OUT, "the server is busy with a script"),
}
"""What the codes of error answers mean."""


class ErrorAnswer(Exception):
    """
    Redis answered with an error.

    The text of the error is not kept, since it may repeat what was sent.

    @ivar code: the first word of the error.
    @ivar command: the command that failed, or that the user may not run.
    @ivar line: the line of a script whose command the user may not run, from 1.
    """

    def __init__(self, code: str, command: str = "", line: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.command = command
        self.line = line

    def blame(self, words: Sequence[object]) -> None:
        """Name the command that failed, of a command that was sent."""
        if self.line and len(words) > 1:
            line = str(words[1]).splitlines()[self.line - 1 : self.line]
            self.command = " or ".join(_CALL.findall("".join(line)))
        self.command = self.command or str(words[0])


def parse(text: bytes) -> ErrorAnswer:
    """Read the text of an error answer; an error inside a script counts as its own."""
    code = text.split(b" ")[0]
    if denied := _LINE_OF_SCRIPT.search(text):
        return ErrorAnswer("NOPERM", line=int(denied[1]))
    if code == b"ERR" and (inside := _IN_SCRIPT.search(text)):
        code = inside[1]
    named = _COMMAND.search(text) if code == b"NOPERM" else None
    return ErrorAnswer(code.decode("ascii", "replace"), named[1].decode().upper() if named else "")


def describe(error: ErrorAnswer) -> str:
    """Describe an error answer for the log of an operator."""
    reason, detail = _REASONS.get(error.code, (Reason.BAD_ANSWER, f"an error for {error.command}"))
    if error.code == "NOPERM":
        reason, detail = Reason.NOT_ALLOWED, f"the user may not run {error.command} on its keys"
    return f"Redis: {reason}: {detail} ({error.code})"

"""Real databases on loopback ports: Redis, and one that speaks the protocol of MongoDB."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

from attrs import define, field

from tests.functional import servers
from tests.functional.daemon import absolute, free_pair, needed
from tests.waiting import until

PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@define(eq=False)
class Database:
    """
    A database server for one test.

    @ivar kind: C{redis}, C{mongo} or C{mongo-java}, as the script is called.
    @ivar host: the address at which clients reach the server.
    @ivar wrapper: a command that starts another one, such as in a network namespace.
    """

    kind: str
    folder: Path = field(converter=absolute)
    environ: Mapping[str, str] = field(factory=dict)
    port: int = field(factory=free_pair)
    host: str = "127.0.0.1"
    wrapper: Sequence[str] = ()

    def start(self) -> Database:
        """Start the server with the data that it had, and wait until it answers."""
        if self.kind == "redis":
            needed("redis-server")
        elif self.kind == "mongo-java":
            needed("mvn")
        elif shutil.which("mongod") is None:
            needed("go")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._run("start", str(self.folder), str(self.port))
        return self

    def stop(self) -> None:
        self.tell(signal.SIGCONT)
        self._run("stop", str(self.folder))

    def freeze(self) -> None:
        """Stop the server from answering, while it keeps its connections."""
        self.tell(signal.SIGSTOP)
        until(self._stands_still, "frozen")

    def _stands_still(self) -> bool:
        """Return whether each thread has stopped, which the kernel does not do at once."""
        pid = (self.folder / f"{self.kind}.pid").read_text().strip()
        threads = Path("/proc", pid, "task").glob("*/stat")
        try:
            return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads)
        except OSError:  # A thread has ended meanwhile.
            return False

    def thaw(self) -> None:
        self.tell(signal.SIGCONT)

    def tell(self, number: signal.Signals) -> None:
        pid = self.folder / f"{self.kind}.pid"
        if pid.exists():
            with suppress(ProcessLookupError):  # it was killed
                os.killpg(int(pid.read_text()), number)

    @property
    def section(self) -> dict[str, Any]:
        """Return the section C{store} of an empty store that no other test uses."""
        mine = uuid4().hex[:12]
        if self.kind == "redis":
            return {"type": "redis", "host": self.host, "port": self.port, "prefix": f"{mine}:"}
        uri = f"mongodb://{self.host}:{self.port}"
        return {"type": "mongo", "uri": uri, "database": f"test_{mine}"}

    @property
    def authorities(self) -> str:
        return str(self.folder / "tls" / "ca.pem")

    def content(self) -> bytes:
        """Return all bytes that the server has written."""
        files = [path for path in (self.folder / f"{self.kind}-data").rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files)

    def _run(self, *words: str) -> None:
        servers.run(self.kind, *words, wrapper=self.wrapper, **{"PATH": PATH, **self.environ})


@cache
def shared(kind: str) -> Database:
    """Return one server for all tests that do not stop it; it ends with the process."""
    database = Database(kind, Path(mkdtemp(prefix=f"authotron-{kind}-"))).start()
    atexit.register(shutil.rmtree, database.folder, ignore_errors=True)
    atexit.register(database.stop)
    return database

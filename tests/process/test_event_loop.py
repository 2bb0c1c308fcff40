"""The event loop that processes of the gateway run on, and what must not depend on it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon, environment
from tests.waiting import DEADLINE, until

TWISTD = "from twisted.scripts.twistd import run; run()"
"""A program that is C{twistd} with the modules of this checkout."""

CHILDREN = """
import sys
from twisted.application.reactors import installReactor
installReactor(sys.argv[1])
from twisted.internet import reactor
from twisted.internet.defer import DeferredList, Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread

class Child(ProcessProtocol):
    def __init__(self):
        self.ended = Deferred()
    def processEnded(self, reason):
        self.ended.callback(reason.value.exitCode)

def start():
    children = [Child() for _ in range(5)]
    for child in children:
        command = ["sh", "-c", "sleep 0.1; exit 3"]
        reactor.spawnProcess(child, "/bin/sh", command, childFDs={})
    thread = deferToThread(lambda: "thread")
    ended = DeferredList([*(child.ended for child in children), thread])
    ended.addCallback(lambda found: print(*(value for _, value in found)))
    ended.addCallback(lambda _: reactor.stop())

reactor.callWhenRunning(start)
reactor.run()
"""
"""A program that starts processes without any pipe, and a thread, on one of Twisted's reactors."""


def need_uvloop() -> None:
    """
    Tests with uvloop.

    @raise SkipTest: uvloop is not installed. Under CI it must be.
    """
    if importlib.util.find_spec("uvloop") is None and not os.environ.get("CI"):
        raise SkipTest("uvloop is not installed")


class LoopCase(SynchronousTestCase):
    """Starts a gateway as C{authotron run} or as C{twistd authotron}."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.daemon = Daemon(self.folder).configure()

    def environ(self, loop: str, *, has_uvloop: bool = True) -> Mapping[str, str]:
        """
        Return the environment of a gateway.

        @param has_uvloop: otherwise C{import uvloop} fails.
        """
        paths = [str(Path(__file__).parents[2])]
        if not has_uvloop:
            module = self.folder / "packages" / "uvloop.py"
            module.parent.mkdir(exist_ok=True)
            module.write_text("raise ImportError('built for another machine')\n")
            paths.insert(0, str(module.parent))
        return environment({"AUTHOTRON_LOOP": loop, "PYTHONPATH": os.pathsep.join(paths)})

    def run_command(self) -> list[str]:
        return ["-m", "authotron", "run", "--config", str(self.daemon.file)]

    def twistd(self, *options: str) -> list[str]:
        words = ["-n", "--pidfile=", *options, "authotron", "--config", str(self.daemon.file)]
        return ["-c", TWISTD, *words]

    def launch(self, words: list[str], loop: str = "", *, has_uvloop: bool = True) -> None:
        with (self.folder / "log").open("wb") as log:
            self.daemon.process = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environ(loop, has_uvloop=has_uvloop),
            )
        self.addCleanup(self.daemon.stop)

    def serves(self, words: list[str], on: str, loop: str = "", *, has_uvloop: bool = True) -> None:
        """Start a gateway, check that it serves and which event loop its log names, and stop it."""
        self.launch(words, loop, has_uvloop=has_uvloop)
        until(self.answers, "answering", otherwise=self.daemon.log)
        self.assertIn(f"serves at http://127.0.0.1:{self.daemon.port} ({on})", self.daemon.log())
        self.daemon.tell(signal.SIGTERM)
        self.assertIn(self.daemon.exit_status(), (0, -signal.SIGTERM))
        self.assertNotIn("FATAL", self.daemon.log())

    def answers(self) -> bool:
        assert self.daemon.process.poll() is None, f"it ended by itself\n{self.daemon.log()}"
        with contextlib.suppress(OSError):
            return wire.ask(self.daemon.port, "/health").status == 200
        return False

    def refuses(self, words: list[str], loop: str, why: str, *, has_uvloop: bool = True) -> None:
        """Start a gateway that must exit with 78 and name the variable."""
        self.launch(words, loop, has_uvloop=has_uvloop)
        self.assertEqual(self.daemon.exit_status(), 78, self.daemon.log())
        log = self.daemon.log()
        self.assertIn("AUTHOTRON_LOOP: ", log)
        self.assertIn(why, log)
        self.assertNotIn("Traceback", log)
        self.assertNotIn("serves", log)


class ChoiceTests(LoopCase):
    """The event loop is chosen in the same way by every command that starts the gateway."""

    def test_uvloop_by_default(self) -> None:
        """Where uvloop is installed, C{authotron run} and C{twistd authotron} run on it."""
        need_uvloop()
        self.serves(self.run_command(), "uvloop")
        self.serves(self.twistd(), "uvloop")

    def test_epoll_without_uvloop(self) -> None:
        """Where uvloop cannot be imported, both run on epoll, and print no error."""
        for words in (self.run_command(), self.twistd()):
            self.serves(words, "epoll", has_uvloop=False)
            self.assertNotIn("Traceback", self.daemon.log())

    def test_plugin_that_imports_a_reactor(self) -> None:
        """The choice comes before the plugins of the configuration: txmongo imports the reactor."""
        need_uvloop()
        mongo = {"type": "mongo", "uri": "mongodb://127.0.0.1:9", "database": "d"}
        self.daemon.configure(store=mongo)
        self.serves(self.run_command(), "uvloop")
        self.serves(self.run_command(), "uvloop", "uvloop")

    def test_variable(self) -> None:
        """C{AUTHOTRON_LOOP=epoll} forces epoll."""
        self.serves(self.run_command(), "epoll", "epoll")
        self.serves(self.twistd(), "epoll", "epoll")

    def test_option_of_twistd(self) -> None:
        """C{twistd --reactor} comes before the default."""
        need_uvloop()
        self.serves(self.twistd("--reactor=uvloop"), "uvloop")
        self.serves(self.twistd("--reactor=epoll"), "epoll")
        self.serves(self.twistd("--reactor=poll"), "poll")

    def test_refused(self) -> None:
        """
        An unknown event loop, a forced one that is missing, and one that contradicts C{--reactor}
        end the start with status 78.
        """
        self.refuses(self.run_command(), "kqueue", "must be auto, uvloop or epoll")
        why = "cannot be imported (built for another machine); install authotron[fast]"
        for words in (self.run_command(), self.twistd()):
            self.refuses(words, "uvloop", why, has_uvloop=False)
        self.refuses(self.twistd("--reactor=epoll"), "uvloop", "runs epoll already")

    def test_option_without_uvloop(self) -> None:
        """C{twistd --reactor=uvloop} fails where uvloop is missing."""
        self.launch(self.twistd("--reactor=uvloop"), has_uvloop=False)
        self.assertNotEqual(self.daemon.exit_status(), 0)
        self.assertIn("built for another machine", self.daemon.log())


class WorkerTests(LoopCase):
    """Each worker chooses as a single process does."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon.configure(server={"workers": 2})

    def test_uvloop_by_default(self) -> None:
        """Workers run on uvloop where it is installed."""
        need_uvloop()
        self.serves(self.run_command(), "uvloop")
        self.assertNotIn("(epoll)", self.daemon.log())

    def test_variable(self) -> None:
        """C{AUTHOTRON_LOOP} reaches the workers."""
        self.serves(self.run_command(), "epoll", "epoll")
        self.assertNotIn("(uvloop)", self.daemon.log())

    def test_option_of_twistd(self) -> None:
        """C{twistd --reactor} reaches the workers."""
        need_uvloop()
        self.serves(self.twistd("--reactor=epoll"), "epoll")
        self.assertNotIn("(uvloop)", self.daemon.log())
        self.serves(self.twistd("--reactor=uvloop"), "uvloop")

    def test_refused(self) -> None:
        """A forced uvloop that is missing ends the service with status 78."""
        why = "install authotron[fast]"
        self.refuses(self.run_command(), "uvloop", why, has_uvloop=False)


class ReactorTests(SynchronousTestCase):
    """What the reactor on uvloop does as the one on epoll does."""

    def test_processes_and_threads(self) -> None:
        """Child processes without pipes are noticed when they end, and threads return results."""
        need_uvloop()
        for name in ("epoll", "uvloop"):
            with self.subTest(name):
                done = subprocess.run(
                    [sys.executable, "-c", CHILDREN, name],
                    capture_output=True,
                    check=False,
                    env=environment({"PYTHONPATH": str(Path(__file__).parents[2])}),
                    text=True,
                    timeout=DEADLINE,
                )
                self.assertEqual((done.stdout.split(), done.stderr), ([*"33333", "thread"], ""))

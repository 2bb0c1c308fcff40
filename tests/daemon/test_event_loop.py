"""The choice of the event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.trial.unittest import SynchronousTestCase

from authotron.daemon.event_loop import (
    VARIABLE,
    choose,
    name_of,
    prefer,
)
from authotron.daemon.uvloop.reactor import UvloopReactor, loop_of
from authotron.model.errors import ConfigError


class ChoiceCase(SynchronousTestCase):
    """Notes which reactor is installed."""

    def setUp(self) -> None:
        self.installed: list[str] = []
        self.has_uvloop = True

    def install(self) -> Mapping[str, Any]:
        def uvloop() -> None:
            if not self.has_uvloop:
                raise ImportError("No module named 'uvloop'")
            self.installed.append("uvloop")

        return {"uvloop": uvloop, "epoll": lambda: self.installed.append("epoll")}

    def problem(self, work: Any, *arguments: Any) -> str:
        """Return the only problem that a function reports, which begins with the variable."""
        [problem] = self.assertRaises(ConfigError, work, *arguments).problems
        self.assertEqual(problem.path, VARIABLE)
        return str(problem)


def running(kind: type) -> Any:
    """Return a reactor that was never started, without any descriptor."""
    return object.__new__(kind)


class ChooseTests(ChoiceCase):
    """The event loop of a process that serves clients."""

    def choose(self, value: str | None = None, reactor: Any = None) -> list[str]:
        environ = {} if value is None else {VARIABLE: value}
        choose(environ, reactor, self.install())
        return self.installed

    def test_uvloop_where_it_can_be_imported(self) -> None:
        """Without a wish the process runs on uvloop."""
        self.assertEqual(self.choose(), ["uvloop"])

    def test_epoll_without_uvloop(self) -> None:
        """Without a wish, and where uvloop cannot be imported, the process runs on epoll."""
        self.has_uvloop = False
        self.assertEqual(self.choose(), ["epoll"])

    def test_auto_is_the_default(self) -> None:
        """An empty variable, blanks, and C{auto} are as if the variable was not set."""
        for value in ("", " ", "auto"):
            with self.subTest(value):
                self.installed.clear()
                self.assertEqual(self.choose(value), ["uvloop"])

    def test_forced(self) -> None:
        """The variable forces either event loop."""
        for value in ("epoll", "uvloop", " epoll "):
            with self.subTest(value):
                self.installed.clear()
                self.assertEqual(self.choose(value), [value.strip()])

    def test_forced_but_missing(self) -> None:
        """Nothing is installed if uvloop is forced and missing; the error says what to do."""
        self.has_uvloop = False
        problem = self.problem(self.choose, "uvloop")
        self.assertIn("install authotron[fast]", problem)
        self.assertEqual(self.installed, [])

    def test_unknown_name(self) -> None:
        """Any other value is an error that lists the names, and does not repeat the value."""
        for value in ("asyncio", "Uvloop", "1"):
            with self.subTest(value):
                problem = self.problem(self.choose, value)
                self.assertIn("must be auto, uvloop or epoll", problem)
                self.assertNotIn(f" {value}", problem)
                self.assertEqual(self.installed, [])

    def test_reactor_of_twistd_stays(self) -> None:
        """A reactor that was installed before, as by C{twistd --reactor}, stays."""
        for value in (None, "auto", "epoll"):
            with self.subTest(value):
                self.assertEqual(self.choose(value, running(EPollReactor)), [])

    def test_reactor_of_twistd_contradicts_the_variable(self) -> None:
        """A reactor that was installed before must be the one that the variable forces."""
        problem = self.problem(self.choose, "uvloop", running(EPollReactor))
        self.assertIn("runs epoll already", problem)
        problem = self.problem(self.choose, "epoll", running(UvloopReactor))
        self.assertIn("runs uvloop already", problem)


class PreferTests(SynchronousTestCase):
    """The option C{--reactor} of C{twistd}, which workers must follow."""

    def prefer(self, name: str, **environ: str) -> dict[str, str]:
        prefer(environ, name)
        return environ

    def test_workers_inherit_the_option(self) -> None:
        """The option becomes the variable, unless the variable forces an event loop."""
        for value in ("", "auto"):
            self.assertEqual(self.prefer("epoll", AUTHOTRON_LOOP=value), {VARIABLE: "epoll"})
        self.assertEqual(self.prefer("uvloop"), {VARIABLE: "uvloop"})
        self.assertEqual(self.prefer("epoll", AUTHOTRON_LOOP="uvloop"), {VARIABLE: "uvloop"})

    def test_other_reactors(self) -> None:
        """Other reactors are for the process that C{twistd} starts alone."""
        for name in ("None", "poll", "asyncio", "default"):
            self.assertEqual(self.prefer(name), {})


class NameTests(SynchronousTestCase):
    """The names of event loops, as the log shows them."""

    def test_names(self) -> None:
        """The reactors on uvloop and epoll have the names by which they are chosen."""
        self.assertEqual(name_of(running(UvloopReactor)), "uvloop")
        self.assertEqual(name_of(running(EPollReactor)), "epoll")

    def test_loop(self) -> None:
        """Only the reactor on uvloop has an event loop of uvloop."""
        reactor = running(UvloopReactor)
        reactor.loop = loop = object()
        self.assertIs(loop_of(reactor), loop)
        self.assertIsNone(loop_of(running(EPollReactor)))

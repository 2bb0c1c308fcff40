"""Resources of processes, from a simulated /proc and from the real one."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from authotron.telemetry.process_usage import (
    _PAGE,
    _TICKS,
    Usage,
    together,
)


class TogetherTests(SynchronousTestCase):
    """The sum over several processes."""

    def setUp(self) -> None:
        self.proc = Path(self.mktemp())

    def process(self, name: str, *, pages: int = 0, files: int = 1, limit: str = "10") -> Path:
        """Simulate a process that used 1 and 2 ticks, and 3 and 4 ticks in children."""
        folder = self.proc / name
        (folder / "fd").mkdir(parents=True)
        for number in range(files):
            (folder / "fd" / str(number)).touch()
        zeros, more = "0 " * 10, "0 0 0 0"
        (folder / "stat").write_text(f"7 (a ) b) S {zeros}1 2 3 4 {more} 500 4096 {pages} 0\n")
        (folder / "limits").write_text(
            f"Limit  Soft Hard Units\nMax open files  {limit} 99 files\n"
        )
        return folder

    def together(self, *children: int) -> Usage:
        found = together(children, self.proc)
        assert found is not None
        return found

    def test_time_and_memory_are_added(self) -> None:
        """Processor time and memory are added up, with those of children that have ended."""
        self.process("self", pages=2)
        self.process("8", pages=3)
        found = self.together(8)
        self.assertEqual(found.seconds, 20 / _TICKS)
        self.assertEqual((found.virtual, found.resident), (8192, 5 * _PAGE))

    def test_files_are_of_the_process_nearest_to_its_limit(self) -> None:
        """Open files and their limit are those of the process nearest to its limit."""
        self.process("self", files=5, limit="50")
        self.process("8", files=4, limit="8")
        self.process("9", files=6, limit="unlimited")
        found = self.together(8, 9)
        self.assertEqual((found.files, found.most_files), (4, 8))

    def test_ended_process_is_left_out(self) -> None:
        """A process that has ended meanwhile is left out."""
        self.process("self", pages=2)
        self.assertEqual(self.together(8), self.together())

    def test_process_that_just_ended_has_no_files(self) -> None:
        """The time of a process that has just ended counts, but it has no open files."""
        self.process("self")
        for each in (ended := self.process("8", files=9)).joinpath("fd").iterdir():
            each.unlink()
        ended.joinpath("fd").rmdir()
        found = self.together(8)
        self.assertEqual((found.ticks, found.files), (20, 1))

    def test_system_without_proc(self) -> None:
        """On a system without /proc there is no result."""
        self.assertIsNone(together([], self.proc))


class OwnTests(SynchronousTestCase):
    """The resources of this process."""

    def use(self) -> Usage:
        found = together([])
        assert found is not None
        return found

    def test_open_file_is_counted(self) -> None:
        """An open file is counted, and the limit is that of the process."""
        before = self.use()
        self.addCleanup(os.close, os.open("/", os.O_RDONLY))
        self.assertEqual(self.use().files, before.files + 1)
        self.assertEqual(before.most_files, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def test_own_usage_is_plausible(self) -> None:
        """This process started in the past, at a constant time, and uses memory."""
        found = self.use()
        self.assertEqual(found.started, self.use().started)
        (made := Path(self.mktemp())).touch()
        self.assertLess(found.started, made.stat().st_mtime)
        self.assertLessEqual(found.ticks, round(sum(os.times()[:4]) * _TICKS))
        self.assertGreater(found.virtual, found.resident)
        self.assertGreater(found.resident, 1_000_000)

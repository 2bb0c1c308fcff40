"""What processes use, told by a kernel that the test plays, and by the real one."""

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
    """Several processes as if they were one."""

    def setUp(self) -> None:
        self.proc = Path(self.mktemp())

    def process(self, name: str, *, pages: int = 0, files: int = 1, limit: str = "10") -> Path:
        """One that has used 1, 2, 3 and 4 ticks, the latter two by its children."""
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

    def test_sum(self) -> None:
        """Time and memory are added up, of children that are gone as well."""
        self.process("self", pages=2)
        self.process("8", pages=3)
        found = self.together(8)
        self.assertEqual(found.seconds, 20 / _TICKS)
        self.assertEqual((found.virtual, found.resident), (8192, 5 * _PAGE))

    def test_files(self) -> None:
        """Files are those of the process that is nearest to its limit, and the limit is its own."""
        self.process("self", files=5, limit="50")
        self.process("8", files=4, limit="8")
        self.process("9", files=6, limit="unlimited")
        found = self.together(8, 9)
        self.assertEqual((found.files, found.most_files), (4, 8))

    def test_gone(self) -> None:
        """Who is gone meanwhile is left out."""
        self.process("self", pages=2)
        self.assertEqual(self.together(8), self.together())

    def test_just_ended(self) -> None:
        """Of one that has just ended its time is there, but not its files."""
        self.process("self")
        for each in (ended := self.process("8", files=9)).joinpath("fd").iterdir():
            each.unlink()
        ended.joinpath("fd").rmdir()
        found = self.together(8)
        self.assertEqual((found.ticks, found.files), (20, 1))

    def test_untold(self) -> None:
        """A system that tells nothing."""
        self.assertIsNone(together([], self.proc))


class OwnTests(SynchronousTestCase):
    """This process."""

    def use(self) -> Usage:
        found = together([])
        assert found is not None
        return found

    def test_files(self) -> None:
        """An open file is one more, and the limit is that of the process."""
        before = self.use()
        self.addCleanup(os.close, os.open("/", os.O_RDONLY))
        self.assertEqual(self.use().files, before.files + 1)
        self.assertEqual(before.most_files, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def test_others(self) -> None:
        """It began before now, always at the same time, and uses what it uses."""
        found = self.use()
        self.assertEqual(found.started, self.use().started)
        (made := Path(self.mktemp())).touch()
        self.assertLess(found.started, made.stat().st_mtime)
        self.assertLessEqual(found.ticks, round(sum(os.times()[:4]) * _TICKS))
        self.assertGreater(found.virtual, found.resident)
        self.assertGreater(found.resident, 1_000_000)

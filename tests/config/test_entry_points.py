"""The entry points of installed packages."""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from authotron.config.entry_points import entry_points


class EntryPointsTests(SynchronousTestCase):
    """Entry points of packages that are installed and removed while the process runs."""

    def setUp(self) -> None:
        self.site = Path(self.mktemp())
        self.site.mkdir()
        self.patch(sys, "path", [*sys.path, str(self.site.absolute())])
        self.times = count(1)

    def change(self) -> None:
        """Note a change of the folder; two within a tick of the file system's clock look alike."""
        now = next(self.times) * 1_000_000_000
        os.utime(self.site, ns=(now, now))

    def install(self, name: str) -> Path:
        metadata = self.site / f"{name}-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        points = metadata / "entry_points.txt"
        points.write_text(f"[authotron.samples]\n{name} = {name}.users\n[other]\nx = y\n")
        self.change()
        return points

    def names(self) -> list[str]:
        return sorted(point.name for point in entry_points("authotron.samples"))

    def test_installed(self) -> None:
        """A package that is installed after the first look is found, one without is not."""
        self.assertEqual(self.names(), [])
        self.install("bees")
        self.assertEqual(self.names(), ["bees"])
        self.install("ants")
        self.assertEqual(self.names(), ["ants", "bees"])

    def test_removed(self) -> None:
        """A package that is removed is not found again."""
        points = self.install("bees")
        self.assertEqual(self.names(), ["bees"])
        for each in [*points.parent.iterdir()]:
            each.unlink()
        points.parent.rmdir()
        self.change()
        self.assertEqual(self.names(), [])

    def test_no_folder(self) -> None:
        """An import path without a folder is passed over."""
        self.patch(sys, "path", [*sys.path, str(self.site / "absent")])
        self.install("bees")
        self.assertEqual(self.names(), ["bees"])

    def test_group(self) -> None:
        """Entry points of other groups are left out."""
        self.install("bees")
        self.assertEqual([point.value for point in entry_points("other")], ["y"])

"""Modules that are imported at their first use."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase


class PostponedTests(SynchronousTestCase):
    """The modules that the gateway rarely or never uses."""

    def outputs(self, program: str) -> list[str]:
        found = subprocess.run(
            [sys.executable, "-c", "from authotron.daemon import postponed\n" + program],
            check=True,
            capture_output=True,
            text=True,
        )
        return found.stdout.split()

    def test_not_before_use(self) -> None:
        """Importing C{twistd} imports neither the debugger nor the archives."""
        program = (
            "import sys\n"
            "postponed.postpone()\n"
            "import authotron.daemon.twistd, authotron.daemon.config_reader\n"
            "print(*{'bdb', '_lzma', '_bz2'} & {*sys.modules})\n"
        )
        self.assertEqual(self.outputs(program), [])

    def test_at_first_use(self) -> None:
        """A postponed module is imported when one of its names is used, in every spelling."""
        program = (
            "import sys\n"
            "postponed.postpone()\n"
            "import lzma, pdb\n"
            "from bz2 import *\n"
            "print(lzma.LZMAFile.__name__, pdb.Pdb.__name__, BZ2File.__name__)\n"
            "import lzma as again\n"
            "print(type(again).__name__, again is lzma, lzma is sys.modules['lzma'])\n"
        )
        found = self.outputs(program)
        self.assertEqual(found, ["LZMAFile", "Pdb", "BZ2File", "module", "True", "True"])

    def test_looked_for(self) -> None:
        """A program finds out that a postponed module exists without importing it."""
        program = (
            "import sys\n"
            "from importlib.util import find_spec\n"
            "postponed.postpone()\n"
            "print(find_spec('lzma').name, '_lzma' in sys.modules)\n"
        )
        self.assertEqual(self.outputs(program), ["lzma", "False"])

    def test_cannot_be_imported(self) -> None:
        """A module that this Python lacks is missing at once, so that programs notice it."""
        program = (
            "import sys\n"
            "from importlib.machinery import PathFinder\n"
            "found = PathFinder.find_spec\n"
            "PathFinder.find_spec = lambda name, *rest: (\n"
            "    None if name == '_lzma' else found(name, *rest))\n"
            "postponed.postpone()\n"
            "try:\n"
            "    import lzma\n"
            "except ImportError as error:\n"
            "    print(error.name)\n"
        )
        self.assertEqual(self.outputs(program), ["_lzma"])

    def test_threads(self) -> None:
        """If several threads use a postponed module first, its code runs once."""
        program = (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "postponed.postpone()\n"
            "import lzma\n"
            "with ThreadPoolExecutor(8) as threads:\n"
            "    found = {*threads.map(lambda _: lzma.LZMAFile, range(100))}\n"
            "print(len(found))\n"
        )
        self.assertEqual(self.outputs(program), ["1"])

    def test_unknown_name(self) -> None:
        """A name that a postponed module lacks is an error as in any module."""
        program = (
            "postponed.postpone()\n"
            "import pdb\n"
            "try:\n"
            "    pdb.made_up\n"
            "except AttributeError as error:\n"
            "    print('pdb' in str(error))\n"
            "print(hasattr(pdb, '__path__'))\n"
        )
        self.assertEqual(self.outputs(program), ["True", "False"])

    def test_loaded_before(self) -> None:
        """A module that is loaded already stays as it is."""
        program = "import lzma\npostponed.postpone()\nimport lzma as b\nprint(lzma is b)\n"
        self.assertEqual(self.outputs(program), ["True"])

    def test_full_collections(self) -> None:
        """Neither a gateway nor a worker visits all objects while it imports its modules."""
        program = (
            "import gc, sys\n"
            "from importlib import import_module\n"
            "from types import SimpleNamespace\n"
            "def stub(*_):\n"
            "    import_module('authotron.daemon.service')\n"
            "    print(gc.get_stats()[2]['collections'])\n"
            "sys.modules['authotron.daemon.twistd'] = SimpleNamespace(run=stub)\n"
            "sys.modules['authotron.daemon.workers.worker'] = SimpleNamespace(main=stub)\n"
        )
        gateway = "from authotron.cli import options\noptions.serve('config.yaml')\n"
        worker = "from authotron.daemon.workers import entry\nentry.main()\n"
        self.assertEqual(self.outputs(program + gateway), ["0"])
        self.assertEqual(self.outputs(program + worker), ["0"])

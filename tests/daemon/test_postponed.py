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
            "postponed.postpone()\n"
            "import lzma, pdb\n"
            "from bz2 import BZ2File\n"
            "print(lzma.LZMAFile.__name__, pdb.Pdb.__name__, BZ2File.__name__)\n"
            "import lzma as again\n"
            "print(type(again).__name__, again.LZMAFile is lzma.LZMAFile)\n"
        )
        self.assertEqual(self.outputs(program), ["LZMAFile", "Pdb", "BZ2File", "module", "True"])

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

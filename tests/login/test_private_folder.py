"""The folder of tokens: private, written at once, and not to be exchanged by another user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from authotron.login.errors import UnsafeFile
from authotron.login.private_folder import PrivateFolder


class PrivateFolderTests(SynchronousTestCase):
    """A folder that belongs to one user."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "cache" / "authotron"

    def folder(self, user: int | None = None) -> PrivateFolder:
        found = PrivateFolder(self.path, os.geteuid() if user is None else user)
        self.addCleanup(found.close)
        return found

    def write(self, content: bytes = b"content") -> None:
        folder = self.folder()
        with folder.replacing("name") as file:
            folder.write(file, content)

    def test_modes(self) -> None:
        """The folder has mode 0700 and its files 0600, whatever the umask."""
        earlier = os.umask(0)
        self.addCleanup(os.umask, earlier)
        self.write()
        lock = self.folder().try_lock("name")
        assert lock is not None
        self.addCleanup(os.close, lock)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in self.path.iterdir()}
        self.assertEqual(modes, {"name": 0o600, "name.lock": 0o600})
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)

    def test_replaced(self) -> None:
        """A shorter content replaces a longer one completely."""
        self.write(b"long" * 10_000)
        self.write(b"short")
        self.assertEqual(self.folder().read("name"), b"short")
        self.assertIsNone(self.folder().read("other"))

    def test_failure_keeps_the_old_content(self) -> None:
        """If the new content cannot be had, the old one stays, and no other file is left."""
        self.write()
        with self.assertRaises(LookupError), self.folder().replacing("name"):
            raise LookupError
        self.assertEqual([each.name for each in self.path.iterdir()], ["name"])
        self.assertEqual(self.folder().read("name"), b"content")

    def test_left_over(self) -> None:
        """What a killed process has left does not disturb the next one."""
        self.write()
        (self.path / "name.new").write_text("left")
        self.write(b"next")
        self.assertEqual(self.folder().read("name"), b"next")

    def test_link_as_folder(self) -> None:
        """A symbolic link is not followed to another folder."""
        target = self.path.parent / "target"
        target.mkdir(parents=True, mode=0o700)
        self.path.symlink_to(target)
        self.assertRaises(UnsafeFile, self.write)
        self.assertEqual(list(target.iterdir()), [])

    def test_links_as_files(self) -> None:
        """Neither symbolic nor further hard links are read, written or locked."""
        self.write()
        outside = self.path.parent / "outside"
        outside.write_text("untouched")
        outside.chmod(0o600)
        for make in (Path.symlink_to, Path.hardlink_to):
            for name in ("name", "name.new", "name.lock"):
                (self.path / name).unlink(missing_ok=True)
                make(self.path / name, outside)
            with self.subTest(make.__name__):
                self.assertRaises(UnsafeFile, self.folder().read, "name")
                self.assertRaises(UnsafeFile, self.folder().try_lock, "name")
                self.write()
                self.assertEqual(outside.read_text(), "untouched")

    def test_another_owner(self) -> None:
        """A folder of another user is not used."""
        self.write()
        self.assertRaises(UnsafeFile, self.folder(os.geteuid() + 1).read, "name")

    def test_open_to_others(self) -> None:
        """A folder or file that other users may use is not used; the message says what to do."""
        self.write()
        for path, mode in ((self.path, 0o750), (self.path / "name", 0o640)):
            kept = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode)
            with self.assertRaisesRegex(UnsafeFile, "use chmod"):
                self.folder().read("name")
            path.chmod(kept)

    def test_pipe(self) -> None:
        """A named pipe is refused at once, without waiting for a writer."""
        self.write()
        (self.path / "name").unlink()
        os.mkfifo(self.path / "name", 0o600)
        self.assertRaises(UnsafeFile, self.folder().read, "name")

    def test_huge(self) -> None:
        """A huge file is not read."""
        self.write(bytes(300_000))
        self.assertRaises(UnsafeFile, self.folder().read, "name")

    def test_lock(self) -> None:
        """Of two processes one gets the lock."""
        first = self.folder().try_lock("name")
        assert first is not None
        self.assertIsNone(self.folder().try_lock("name"))
        self.folder().unlock(first)
        again = self.folder().try_lock("name")
        assert again is not None
        self.folder().unlock(again)

    def test_cannot_be_created(self) -> None:
        """A folder that cannot be created is an error with its path."""
        self.path.parent.parent.mkdir(parents=True)
        self.path.parent.write_text("a file")
        with self.assertRaisesRegex(UnsafeFile, "authotron"):
            self.write()

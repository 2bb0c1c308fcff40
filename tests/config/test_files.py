"""
Files that root writes where another account may have put links.

With root's rights the other account is a real one without a name; else it is this very account.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import files
from authotron.config.section import read
from authotron.config.sources import Sources
from authotron.model.errors import Unavailable
from authotron.stores import sqlite
from authotron.testing.contracts import make_token
from authotron.testing.worlds import world

ROOT = os.geteuid() == 0
SERVICE = 54_321 if ROOT else os.geteuid()
OTHER = 54_322 if ROOT else os.geteuid()


def filesystem_user() -> int:
    """Return the user with whose rights the calling thread accesses files."""
    status = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("Uid:")]
    return int(line.split()[4])


class FilesCase(SynchronousTestCase):
    """A folder of the service account, and files that only root may access."""

    def setUp(self) -> None:
        self.top = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.top)
        self.top.chmod(0o755)
        self.folder = self.made("service", SERVICE)
        self.system = self.made("system", 0 if ROOT else SERVICE)
        self.secret = self.system / "secret"
        self.secret.write_text("of root")
        self.secret.chmod(0o600)
        self.file = self.folder / "tokens.db"

    def made(self, name: str, owner: int, mode: int = 0o755) -> Path:
        folder = self.top / name
        folder.mkdir()
        folder.chmod(mode)
        self.give(folder, owner)
        return folder

    def give(self, path: Path, owner: int) -> None:
        if ROOT:
            os.chown(path, owner, owner, follow_symlinks=False)

    def in_thread(self, work: Callable[[], Any]) -> Any:
        """Run C{work} in a new thread; return its value or exception."""
        found: list[Any] = []

        def run() -> None:
            try:
                found.append(work())
            except Exception as error:  # noqa: BLE001 - it is what the test looks at
                found.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found[0]

    def owner(self, path: Path) -> int:
        return path.lstat().st_uid


class OwnerTests(FilesCase):
    """Root takes the rights of the account that controls a path."""

    def acting(self, path: Path) -> Any:
        def work() -> int:
            files.act_as_owner(path)
            return filesystem_user()

        return self.in_thread(work)

    def test_root_takes_rights_of_the_folder_owner_T91a(self) -> None:
        """Root takes the rights of the account that owns the folder, in this thread alone."""
        self.assertEqual(self.acting(self.file), SERVICE)
        self.assertEqual(filesystem_user(), os.geteuid())
        self.assertEqual(self.acting(self.folder / "not" / "there"), SERVICE)

    def test_root_gives_up_its_groups_T91a(self) -> None:
        """Root gives up its groups, too, in this thread alone."""

        def work() -> list[str]:
            files.act_as_owner(self.file)
            status = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
            [line] = [line for line in status.splitlines() if line.startswith("Groups:")]
            return line.split()[1:]

        before = os.getgroups()
        expected = [str(SERVICE)] if ROOT else list(map(str, sorted(os.getgroups())))
        self.assertEqual(self.in_thread(work), expected)
        self.assertEqual(os.getgroups(), before)

    def test_owner_of_a_folder_above_controls_the_path_T91a(self) -> None:
        """An account that owns a folder above the file controls the path."""
        below = self.folder / "below"
        below.mkdir()
        self.give(below, 0)
        self.assertEqual(self.acting(below / "tokens.db"), SERVICE)

    def test_links_to_folders_are_followed_T91a(self) -> None:
        """Links on the way are followed to the account that they lead to, and back."""
        (self.system / "there").symlink_to(self.folder)
        (self.system / "relative").symlink_to("../service")
        (self.folder / "back").symlink_to(self.system)
        for path in ("system/there/x", "system/relative/x", "service/back/x", "system/there/../x"):
            self.assertEqual(self.acting(self.top / path), SERVICE, path)

    def test_links_to_files_are_followed_T91a(self) -> None:
        """A link of root to a file below the folder of an account leads to that account."""
        link = self.system / "tokens.db"
        link.symlink_to(self.file)
        self.assertEqual(self.acting(link), SERVICE)

    def test_root_remains_root_on_its_own_path_T91a(self) -> None:
        """Where root owns everything on the way, it remains root."""
        self.assertEqual(self.acting(self.system / "x"), os.geteuid())

    def test_file_in_a_sticky_folder_belongs_to_its_owner_T91a(self) -> None:
        """In a sticky folder an account controls the paths of what it put there."""
        shared = self.made("shared", 0 if ROOT else SERVICE, 0o1777)
        self.assertEqual(self.acting(shared / "x"), os.geteuid())
        (shared / "x").symlink_to(self.secret)
        self.give(shared / "x", SERVICE)
        self.assertEqual(self.acting(shared / "x"), SERVICE)

    def test_two_accounts_are_an_error_T91a(self) -> None:
        """If two accounts control a path, root fails with an error that names both."""
        below = self.folder / "below"
        below.mkdir()
        self.give(below, OTHER)
        found = self.acting(below / "tokens.db")
        if ROOT:
            self.assertIsInstance(found, PermissionError)
            self.assertIn("account 54321 and account 54322", str(found))
        else:
            self.assertEqual(found, os.geteuid())

    def test_circular_links_are_an_error_T91a(self) -> None:
        """A circle of symbolic links is an error, as in the kernel."""
        (self.system / "a").symlink_to("b")
        (self.system / "b").symlink_to("a")
        if ROOT:
            self.assertEqual(self.acting(self.system / "a" / "x").errno, errno.ELOOP)

    def test_rights_return_after_the_block_T91a(self) -> None:
        """After a block the thread has the rights that it had before."""

        def work() -> list[int]:
            before, groups = filesystem_user(), os.getgroups()
            with files.acting_as_owner(self.file):
                within = filesystem_user()
            self.assertEqual(groups, os.getgroups())
            return [before, within, filesystem_user()]

        self.assertEqual(self.in_thread(work), [os.geteuid(), SERVICE, os.geteuid()])


class OnceTests(FilesCase):
    """Small files are created once."""

    def setUp(self) -> None:
        super().setUp()
        self.small = self.folder / "small"

    def lacking(self, *calls: str) -> None:
        """Let the file system refuse nameless files, and some calls of C{os}."""
        opened = os.open

        def open_(path: Any, flags: int, *more: Any, **named: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "no")
            return opened(path, flags, *more, **named)

        def missing(*_: Any, **__: Any) -> None:
            raise OSError(errno.EPERM, "no")

        self.patch(os, "open", open_)
        for call in calls:
            self.patch(os, call, missing)

    def assert_made_once(self) -> None:
        for content in (b"first", b"second"):
            files.write_once(self.small, content)
        self.assertEqual(self.small.read_bytes(), b"first")
        self.assertEqual(self.small.stat().st_mode & 0o777, 0o600)
        self.assertEqual([*self.folder.iterdir()], [self.small])

    def test_file_is_created_whole_and_once_T91b(self) -> None:
        """A file is created once, with its whole content, for its account alone."""
        self.assert_made_once()

    def test_file_is_created_without_tmpfile_T91b(self) -> None:
        """A file is made whole and once on a file system without O_TMPFILE, such as NFS."""
        self.lacking()
        self.assert_made_once()

    def test_file_is_created_without_hard_links_T91b(self) -> None:
        """A file is made whole and once on a file system without hard links, such as FAT."""
        self.lacking("link")
        self.assert_made_once()

    def test_nothing_is_written_through_a_link_T91b(self) -> None:
        """Nothing is written if the name is a symbolic link, even to nowhere."""
        for target in (self.secret, self.system / "nowhere"):
            self.small.symlink_to(target)
            files.write_once(self.small, b"x")
            self.assertTrue(self.small.is_symlink())
            self.small.unlink()
        self.assertEqual(self.secret.read_text(), "of root")
        self.assertEqual([*self.system.iterdir()], [self.secret])

    def test_file_of_another_process_is_kept_T91b(self) -> None:
        """A file that appears while another process writes it is not changed."""
        synced = os.fsync

        def race(descriptor: int) -> None:
            synced(descriptor)
            if not self.small.exists():
                self.small.write_bytes(b"other")

        self.patch(os, "fsync", race)
        files.write_once(self.small, b"x")
        self.assertEqual(self.small.read_bytes(), b"other")

    def test_special_file_is_not_read_T91b(self) -> None:
        """Reading something else than a small regular file fails without blocking."""
        os.mkfifo(self.small)
        self.assertRaises(OSError, files.read_small, self.small)
        self.small.unlink()
        self.small.mkdir()
        self.assertRaises(OSError, files.read_small, self.small)
        self.assertRaises(OSError, files.read_small, Path("/dev/zero"))
        large = self.folder / "large"
        large.write_bytes(b"x" * (files.MOST_BYTES + 1))
        self.assertRaises(OSError, files.read_small, large)


class StoreTests(FilesCase):
    """The token store, opened by root in a folder of the service account."""

    def opened(self, path: Path | None = None) -> Any:
        """Use a store in a thread like that of the store; return the outcome."""

        def use() -> object:
            given = {"type": "sqlite", "path": str(path or self.file)}
            store: Any = sqlite.make(read(sqlite.Config, given, sources=Sources(self.top)), world())
            kept = make_token()
            for work in (store.open, lambda: store.add(kept), lambda: store.get(kept.id)):
                try:
                    work().send(None)
                except StopIteration as done:
                    found = done.value
            self.assertEqual(found, kept)
            beside = {each.name: self.owner(each) for each in self.folder.iterdir()}
            with_stop = store.close()
            with contextlib.suppress(StopIteration):
                with_stop.send(None)
            return beside

        return self.in_thread(use)

    def assert_untouched(self) -> None:
        self.assertEqual([*self.system.iterdir()], [self.secret])
        self.assertEqual(
            (self.secret.read_text(), self.owner(self.secret)), ("of root", self.owner(self.system))
        )

    def test_files_of_the_database_belong_to_the_account_T91a(self) -> None:
        """All files of the database belong to the account, including those that SQLite creates."""
        names = ("tokens.db", "tokens.db-wal", "tokens.db-shm", "tokens.db.pepper")
        self.assertEqual(self.opened(), dict.fromkeys(names, SERVICE))
        for path in self.folder.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_links_do_not_lead_out_of_the_folder_T91a(self) -> None:
        """No link at the name of a file of SQLite leads root out of the folder."""
        for name in ("", "-wal", "-shm", "-journal", ".pepper"):
            for target in (self.system / "preload", self.secret):
                with self.subTest(name=name, target=target.name):
                    link = self.folder / f"tokens.db{name}"
                    link.symlink_to(target)
                    self.opened()
                    for path in self.folder.iterdir():
                        path.unlink(missing_ok=True)  # sqlite removes its files by itself
                    if ROOT:
                        self.assert_untouched()
                    else:  # the account has these rights anyhow; only what it had before is left
                        (self.system / "preload").unlink(missing_ok=True)
                        self.secret.write_text("of root")

    def test_links_at_guessed_pepper_names_are_not_followed_T91b(self) -> None:
        """Links at the names of former temporary pepper files are not followed."""
        for process in (os.getpid(), os.getpid() + 1):
            (self.folder / f"tokens.db.pepper.{process}").symlink_to(self.secret)
        self.opened()
        self.assert_untouched()

    def test_circular_link_makes_the_store_unavailable_T91a(self) -> None:
        """Circular links, and links to a device, make the store unavailable."""
        for target in ("tokens.db", "/dev/null"):
            self.file.symlink_to(target)
            self.assertIsInstance(self.opened(), Unavailable)
            self.file.unlink()

    def test_fifo_makes_the_store_unavailable_T91a(self) -> None:
        """A FIFO instead of a file makes the store unavailable without blocking."""
        for name in ("", ".pepper"):
            with self.subTest(name):
                for path in self.folder.iterdir():
                    path.unlink(missing_ok=True)  # sqlite removes its files by itself
                os.mkfifo(self.folder / f"tokens.db{name}")
                self.assertIsInstance(self.opened(), Unavailable)

    def test_hard_link_is_not_written_through_T91a(self) -> None:
        """A hard link to a file of root is not written through."""
        if not ROOT:
            self.secret.chmod(0o400)
        os.link(self.secret, self.file)
        self.assertIsInstance(self.opened(), Unavailable)
        self.assert_untouched()

    def test_root_uses_no_foreign_files_in_a_shared_folder_T91a(self) -> None:
        """In a shared folder root does not use files that other accounts created."""
        self.folder = self.made("shared", 0 if ROOT else SERVICE, 0o777)
        self.file = self.folder / "tokens.db"
        self.opened()
        self.assertEqual({self.owner(path) for path in self.folder.iterdir()}, {os.geteuid()})
        wal = self.folder / "tokens.db-wal"
        wal.write_bytes(b"")
        self.give(wal, OTHER)
        outcome = self.opened()
        if ROOT:
            self.assertIsInstance(outcome, Unavailable)
            self.assertIn("created by another account", str(outcome))

    def test_database_may_be_a_link_of_the_operator_T91a(self) -> None:
        """An operator's link to a database elsewhere works, and the files belong to its account."""
        link = self.system / "tokens.db"
        link.symlink_to(self.file)
        elsewhere = self.opened(link)
        self.assertIsInstance(elsewhere, dict if not ROOT else (dict, Unavailable))
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.owner(self.file), SERVICE)

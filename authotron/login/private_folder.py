"""
A folder that only its user can read and change, in which tokens are kept.

The folder and its files are opened without following symbolic links, and all names are looked up
in the folder that was checked, so that another user cannot exchange it in between.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field

from authotron.login.errors import UnsafeFile

_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_OTHERS = 0o077
_LARGEST = 262_144
"""Maximum number of bytes in a file of the folder."""

_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Flags for opening a file: no symbolic link, no waiting for a named pipe."""


@define(eq=False)
class PrivateFolder:
    """
    A folder with mode 0700 that belongs to the user; its files have mode 0600.

    @ivar user: the number of the user that the folder must belong to.
    """

    path: Path
    user: int
    _descriptor: int | None = field(default=None, init=False)

    def read(self, name: str) -> bytes | None:
        """
        Return the content of a file, or C{None} if it does not exist.

        @raise UnsafeFile: the file cannot be read, or is not a private file of the user.
        """
        with self._failures(name):
            try:
                file = os.open(name, os.O_RDONLY | _SAFELY, dir_fd=self._opened())
            except FileNotFoundError:
                return None
            with os.fdopen(file, "rb") as opened:
                self._check_file(name, file)
                return opened.read(_LARGEST)

    @contextmanager
    def replacing(self, name: str) -> Iterator[int]:
        """
        Yield the descriptor of a new file, which replaces the file of this name when the block
        ends, if a text was written to it by L{write}.

        The new file is created before the block begins, so that a block which uses up a refresh
        token is not entered if the folder cannot be written.

        @raise UnsafeFile: the file cannot be written.
        """
        # Only the process that holds the lock writes; what is left of one that was killed goes.
        new = f"{name}.new"
        with self._failures(name):
            folder = self._opened()
            with suppress(FileNotFoundError):
                os.unlink(new, dir_fd=folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY
            file = os.open(new, flags, _PRIVATE_FILE, dir_fd=folder)
        try:
            with self._failures(name):
                os.posix_fallocate(file, 0, 32_768)
            yield file
            with self._failures(name):
                if os.lseek(file, 0, os.SEEK_CUR):
                    os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
                    os.fsync(folder)
        finally:
            os.close(file)
            with suppress(OSError):
                os.unlink(new, dir_fd=folder)

    def write(self, file: int, content: bytes) -> None:
        """
        Write the whole content of a file that L{replacing} has opened.

        @raise UnsafeFile: the file cannot be written.
        """
        with self._failures("the new file"):
            os.lseek(file, 0, os.SEEK_SET)
            view = memoryview(content)
            while view:
                view = view[os.write(file, view) :]
            os.ftruncate(file, len(content))
            os.fsync(file)

    def delete(self, name: str) -> None:
        """
        Delete a file, which need not exist.

        @raise UnsafeFile: the file cannot be deleted.
        """
        with self._failures(name), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._opened())

    def try_lock(self, name: str) -> int | None:
        """
        Lock a name for this process; return the lock, or C{None} if another process has it.

        @raise UnsafeFile: the file of the lock is not a private file of the user.
        """
        with self._failures(name):
            flags = os.O_RDWR | os.O_CREAT | _SAFELY
            file = os.open(f"{name}.lock", flags, _PRIVATE_FILE, dir_fd=self._opened())
            try:
                self._check_file(f"{name}.lock", file)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return None
            except BaseException:
                os.close(file)
                raise
            return file

    def unlock(self, lock: int) -> None:
        """Let other processes lock a name again; the file of the lock stays."""
        os.close(lock)

    def close(self) -> None:
        """Close the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        """
        Return the descriptor of the folder, which is created if it does not exist.

        @raise UnsafeFile: the folder belongs to another user, or other users may use it.
        """
        if self._descriptor is None:
            self.path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.path.mkdir(mode=_PRIVATE_FOLDER)
            try:
                found = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | _SAFELY)
            except NotADirectoryError:
                raise UnsafeFile(f"{self.path} is not a folder, but a file or a link") from None
            try:
                self._check_owner(str(self.path), os.fstat(found), "700")
            except UnsafeFile:
                os.close(found)
                raise
            self._descriptor = found
        return self._descriptor

    def _check_file(self, name: str, file: int) -> None:
        found, path = os.fstat(file), str(self.path / name)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise UnsafeFile(f"{path} is not a plain file with one name; delete it")
        if found.st_size > _LARGEST:
            raise UnsafeFile(f"{path} has more than {_LARGEST} bytes; delete it")
        self._check_owner(path, found, "600")

    def _check_owner(self, path: str, found: os.stat_result, mode: str) -> None:
        if found.st_uid != self.user:
            raise UnsafeFile(f"{path} belongs to another user (number {found.st_uid})")
        if stat.S_IMODE(found.st_mode) & _OTHERS:
            raise UnsafeFile(f"other users may use {path}; use chmod {mode}")

    @contextmanager
    def _failures(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = self.path / name
            raise UnsafeFile(f"{place} cannot be used: {error.strerror or error}") from None

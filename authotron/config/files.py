"""
Files in folders that other accounts may write to.

An operator runs commands as root. In the folder of the service account they meet what that account
put there: links to files of root, for one. So root takes the rights of the account that controls a
path before it touches anything there, and makes files only where there is nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import pwd
import stat
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from attrs import define, field

MOST_BYTES = 65_536
"""Bytes of a small file that are read."""

_MOST_LINKS = 40
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NOGROUP = 65_534
_CURRENT = 0xFFFF_FFFF

# setfsuid(2) and setfsgid(2) concern files alone, and the calling thread alone; the functions of
# glibc for the other ids change all threads. For groups only the bare system call keeps to one.
_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "loongarch64": 159, "ppc64le": 81}
_libc = ctypes.CDLL(None, use_errno=True)


@define
class _Way:
    """
    Follows a path as the kernel does, and notes which accounts can change where it leads.

    @ivar accounts: each account but root that owns a folder on the way, with the folder's group.
    @ivar is_shared: whether other accounts than the owner may write to the folder in which it ends.
    """

    accounts: dict[int, int] = field(factory=dict, init=False)
    is_shared: bool = field(default=False, init=False)

    def follow(self, path: Path) -> None:
        """
        Follow C{path} as far as it exists.

        @raise OSError: it has too many links, or cannot be read.
        """
        at, links = Path("/"), 0
        whole = path if path.is_absolute() else Path.cwd() / path
        rest = deque(whole.parts[1:])
        self._enter(at)
        while rest:
            part = rest.popleft()
            here = at.parent if part == ".." else at / part
            try:
                found = here.lstat()
            except FileNotFoundError:
                return
            if self.is_shared:
                self._note(found)  # of a folder that is sticky its owner alone can take it away
            if stat.S_ISLNK(found.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = here.readlink()
                if target.is_absolute():
                    at = Path("/")
                    self._enter(at)
                rest.extendleft(part for part in reversed(target.parts) if part != "/")
            elif stat.S_ISDIR(found.st_mode):
                at = here
                self._enter(at)
            # else a file; a part behind it is missed by the kernel as well

    def _enter(self, folder: Path) -> None:
        found = folder.stat()
        self.is_shared = bool(found.st_mode & _OTHERS_WRITE)
        self._note(found)

    def _note(self, found: os.stat_result) -> None:
        if found.st_uid != 0:
            self.accounts.setdefault(found.st_uid, found.st_gid)


def act_as_owner(path: Path) -> None:
    """
    If this is root, let this thread access files with the rights of the account that controls path.

    The account owns the folder of the file, one above it, or one that a link on the way leads to.
    Where root alone does, the thread remains root. Other threads are not changed.

    @raise OSError: several accounts control the path, or their rights cannot be taken.
    """
    if os.geteuid() != 0:
        return
    _become(0, os.getegid())
    way = _Way()
    way.follow(path)
    if len(way.accounts) > 1:
        named = " and ".join(map(_name, sorted(way.accounts)))
        raise PermissionError(
            errno.EPERM, f"folders of {named} lead to it: run this as one of them"
        )
    for uid, gid_of_folder in way.accounts.items():
        gid, groups = _groups(uid, gid_of_folder)
        _set_groups(groups)
        _become(uid, gid)


@contextmanager
def acting_as_owner(path: Path) -> Iterator[None]:
    """Act as the owner of a path (see L{act_as_owner}) until the end of the block."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    try:
        act_as_owner(path)
        yield
    finally:
        _become(0, os.getegid())
        _set_groups(groups)


def _groups(uid: int, gid: int) -> tuple[int, Sequence[int]]:
    """The groups of an account; one without a name has that of its folder, but never root's."""
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        gid = gid or _NOGROUP
        return gid, [gid]
    return account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"account {uid}"


def _become(uid: int, gid: int) -> None:
    """
    Take the ids with which this thread accesses files.

    @raise OSError: the kernel did not allow that.
    """
    for change, number in ((_libc.setfsgid, gid), (_libc.setfsuid, uid)):
        change(ctypes.c_uint(number))
        if change(ctypes.c_uint(_CURRENT)) & _CURRENT != number:
            raise PermissionError(errno.EPERM, f"cannot take the rights of {_name(uid)}")


def _set_groups(groups: Sequence[int]) -> None:
    """
    Take supplementary groups, where it is known how for this thread alone.

    @raise OSError: the kernel did not allow that.
    """
    number = _SETGROUPS.get(platform.machine()) if sys.maxsize > 2**32 else None
    if number is None:
        os.setgroups(groups)  # for all threads: root needs no groups
        return
    given = (ctypes.c_uint * len(groups))(*groups)
    if _libc.syscall(ctypes.c_long(number), ctypes.c_long(len(groups)), given) != 0:
        raise PermissionError(ctypes.get_errno(), "cannot take the groups of the owner")


# --- files ---


def check_regular(*paths: Path) -> None:
    """
    In a folder that others may write to, let root use nothing that others made.

    @raise OSError: a file is not a regular file of root with one name.
    """
    if os.geteuid() != 0 or _libc.setfsuid(ctypes.c_uint(_CURRENT)) != 0:
        return
    for path in paths:
        way = _Way()
        way.follow(path.parent)
        with suppress(FileNotFoundError):
            found = os.lstat(path)
            is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == 0 and found.st_nlink == 1
            if way.is_shared and not is_ours:
                raise PermissionError(errno.EPERM, f"{path.name} was made by another account")


def make_file(path: Path) -> None:
    """
    Make an empty file for this account alone, unless there is a file.

    @raise OSError: it cannot be made, or there is something else, such as a FIFO.
    """
    with suppress(FileExistsError):
        os.close(os.open(os.path.realpath(path), _NEW, 0o600))
    if not path.is_file():
        raise OSError(errno.EINVAL, f"{path.name} is not a regular file")


def write_once(path: Path, content: bytes) -> None:
    """
    Make a file for this account alone, unless there is something; whole, or not at all.

    Of several processes that try, one makes the file.

    @raise OSError: it cannot be made.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _exists(path.name, folder):
            with suppress(FileExistsError):
                _write_whole(path.name, folder, content)
            os.fsync(folder)
    finally:
        os.close(folder)


def _exists(name: str, folder: int) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def _write_whole(name: str, folder: int, content: bytes) -> None:
    """
    Write a file without a name, and then give it one.

    Where a file needs a name from the start (NFS) it is one by chance at first; where a file cannot
    have two names (FAT) it is the right one.
    """
    try:
        descriptor = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder)
        with _written(descriptor, content):
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError:
        _write_named(name, folder, content)


def _write_named(name: str, folder: int, content: bytes) -> None:
    fresh = f"{name}.{token_hex(8)}"
    with _written(os.open(fresh, _NEW, 0o600, dir_fd=folder), content):
        try:
            os.link(fresh, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:
            _written_at_once(os.open(name, _NEW, 0o600, dir_fd=folder), content)
        finally:
            os.unlink(fresh, dir_fd=folder)


def _written_at_once(descriptor: int, content: bytes) -> None:
    with _written(descriptor, content):
        pass


@contextmanager
def _written(descriptor: int, content: bytes) -> Iterator[None]:
    """A file with its content on the disk, open until the end of the block."""
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
        yield


def read_small(path: Path) -> bytes:
    """
    Read a regular file of up to 64 KiB.

    @raise OSError: it cannot be read, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, f"{path.name} is not a regular file")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"{path.name} is larger than 64 KiB")
    return content

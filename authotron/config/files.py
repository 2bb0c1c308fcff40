"""
Access files safely in folders that other accounts may write to.

Operators may run commands as root in the service account's folder. The service account could plant
symbolic links in its folder to files of root. A command that root runs takes the rights of the
account that controls a path, before it accesses the path. Commands of authotron never overwrite a
file.
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
"""Maximum number of bytes of a file that L{read_small} reads."""

_MOST_LINKS = 40
"""Maximum number of symbolic links on one path, as in the kernel."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NOGROUP = 65_534
_CURRENT = 0xFFFF_FFFF

# setfsuid(2) and setfsgid(2) change the file rights of the calling thread alone; glibc's functions
# for other ids change all threads. Only the system call itself can change the groups of one thread
# alone.
_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "loongarch64": 159, "ppc64le": 81}
_libc = ctypes.CDLL(None, use_errno=True)


@define
class _PathWalk:
    """
    Follows a path as the kernel does, and collects the accounts that could redirect the path to
    another file.

    @ivar accounts: the accounts other than root that own a folder on the path, each with the group
        of its folder.
    @ivar is_shared: whether accounts other than the owner may write to the last folder on the path.
    """

    accounts: dict[int, int] = field(factory=dict, init=False)
    is_shared: bool = field(default=False, init=False)

    def follow(self, path: Path) -> None:
        """
        Follow C{path} to its end, or to the first step that does not exist.

        @raise OSError: the path has too many symbolic links, or cannot be read.
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
                # In a sticky folder, users cannot replace the files of other users.
                self._note(found)
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
            # A path ends when it reaches a file.

    def _enter(self, folder: Path) -> None:
        found = folder.stat()
        self.is_shared = bool(found.st_mode & _OTHERS_WRITE)
        self._note(found)

    def _note(self, found: os.stat_result) -> None:
        if found.st_uid != 0:
            self.accounts.setdefault(found.st_uid, found.st_gid)


def act_as_owner(path: Path) -> None:
    """
    Give the calling thread, if root runs it, only the file rights of the account that controls a
    path.

    An account controls a path if it owns the folder of the file, a folder above it, or a folder
    that a symbolic link on the path leads to. If root owns every folder on the path, the thread
    keeps the rights of root. The function changes only the rights of the calling thread, and does
    nothing unless the process runs as root.

    @raise OSError: several accounts control the path, or the kernel refuses to switch to the
        account.
    """
    if os.geteuid() != 0:
        return
    _become(0, os.getegid())
    way = _PathWalk()
    way.follow(path)
    if len(way.accounts) > 1:
        named = " and ".join(map(_name, sorted(way.accounts)))
        raise PermissionError(
            errno.EPERM,
            f"several accounts own folders on the path: {named}; run the command as one of them",
        )
    for uid, gid_of_folder in way.accounts.items():
        gid, groups = _groups(uid, gid_of_folder)
        _set_groups(groups)
        _become(uid, gid)


@contextmanager
def acting_as_owner(path: Path) -> Iterator[None]:
    """Act as the owner of a path (see L{act_as_owner}) until the end of the C{with} block."""
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
    """
    Return the groups of an account; an account without an entry in passwd has only the group of the
    folder that it owns.
    """
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
    Set the user and group ids with which the calling thread accesses files.

    @raise OSError: the kernel refuses to change the ids of this thread.
    """
    for change, number in ((_libc.setfsgid, gid), (_libc.setfsuid, uid)):
        change(ctypes.c_uint(number))
        if change(ctypes.c_uint(_CURRENT)) & _CURRENT != number:
            raise PermissionError(errno.EPERM, f"cannot switch to the account {_name(uid)}")


def _set_groups(groups: Sequence[int]) -> None:
    """
    Set the supplementary groups of the calling thread, or of all threads on a type of machine that
    is not known.

    @raise OSError: the kernel refuses to change the groups.
    """
    number = _SETGROUPS.get(platform.machine()) if sys.maxsize > 2**32 else None
    if number is None:
        # setgroups(2) of glibc changes the groups of all threads, which is harmless, because root
        # needs no groups.
        os.setgroups(groups)
        return
    given = (ctypes.c_uint * len(groups))(*groups)
    if _libc.syscall(ctypes.c_long(number), ctypes.c_long(len(groups)), given) != 0:
        raise PermissionError(ctypes.get_errno(), "cannot switch to the groups of the path's owner")


# --- files ---


def check_regular(*paths: Path) -> None:
    """
    Check that root does not use files that other accounts put into a shared folder.

    @raise OSError: a file is not a regular file, does not belong to root, or has several hard
        links.
    """
    if os.geteuid() != 0 or _libc.setfsuid(ctypes.c_uint(_CURRENT)) != 0:
        return
    for path in paths:
        way = _PathWalk()
        way.follow(path.parent)
        with suppress(FileNotFoundError):
            found = os.lstat(path)
            is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == 0 and found.st_nlink == 1
            if way.is_shared and not is_ours:
                raise PermissionError(errno.EPERM, f"{path.name} was created by another account")


def make_file(path: Path) -> None:
    """
    Create an empty file that only the account of this process can access, unless the file exists.

    @raise OSError: the file cannot be created, or something else exists, such as a FIFO.
    """
    with suppress(FileExistsError):
        os.close(os.open(os.path.realpath(path), _NEW, 0o600))
    if not path.is_file():
        raise OSError(errno.EINVAL, f"{path.name} is not a regular file")


def write_once(path: Path, content: bytes) -> None:
    """
    Create a file that only the account of this process can access, or fail if the file exists.

    The file appears with its whole content, or does not appear at all. If several processes try to
    create the file, one succeeds.

    @raise OSError: the file cannot be created.
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
    Write a file that has no name yet, and then link the file under its name.

    If the file system cannot create files without names (NFS), the file first gets a random name.
    If the file system has no hard links (FAT), the file is written under its final name.
    """
    try:
        descriptor = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder)
        with _writing(descriptor, content):
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError:
        _write_named(name, folder, content)


def _write_named(name: str, folder: int, content: bytes) -> None:
    fresh = f"{name}.{token_hex(8)}"
    with _writing(os.open(fresh, _NEW, 0o600, dir_fd=folder), content):
        try:
            os.link(fresh, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:
            _write_directly(os.open(name, _NEW, 0o600, dir_fd=folder), content)
        finally:
            os.unlink(fresh, dir_fd=folder)


def _write_directly(descriptor: int, content: bytes) -> None:
    with _writing(descriptor, content):
        pass


@contextmanager
def _writing(descriptor: int, content: bytes) -> Iterator[None]:
    """
    Write content to an open file, flush the content to the disk, and close the file after the
    C{with} block.
    """
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
        yield


def read_small(path: Path) -> bytes:
    """
    Read a regular file of up to 64 KiB.

    @raise OSError: the file is unreadable, too large, or not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, f"{path.name} is not a regular file")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"{path.name} is larger than 64 KiB")
    return content

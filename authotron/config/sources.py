"""Find the files and environment variables that keys of the configuration name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen
from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

Environ = Mapping[str, str]


@frozen
class Sources:
    """
    Finds the files and environment variables that keys of the configuration name.

    For example, C{secret_file} names a file and C{secret_env} an environment variable.

    @ivar folder: the folder of the configuration file, to which relative paths refer.
    @ivar environ: the environment variables of the process.
    """

    folder: Path = field(factory=Path)
    environ: Environ = field(factory=lambda: os.environ, repr=False)

    def resolve_path(self, path: str) -> Path:
        """
        Return the path of a file that the configuration names by a relative or an absolute path.

        A relative path is looked for in the credentials folder of systemd first, then in the folder
        of the configuration file. systemd loads a folder as credentials named C{folder_file}
        (systemd.exec(5), LoadCredential=), so C{folder/file} finds that credential.
        """
        beside = self.folder / path
        if directory := self.environ.get("CREDENTIALS_DIRECTORY"):
            credential = Path(directory, path.replace("/", "_"))
            return credential if os.access(credential, os.R_OK) else beside
        return beside

    def secret_in_file(self, key: str, path: object) -> str:
        """
        Return the secret in the file that C{key} names.

        @raise PydanticCustomError: the key's value is not a path, or the file cannot be read.
        """
        if not isinstance(path, str):
            raise _unreadable(key, "must be the path of a file")
        found = self.resolve_path(path)
        try:
            return without_line_end(found.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "the file is not UTF-8"
            raise _unreadable(key, f"cannot read {found}: {reason}") from None

    def secret_in_variable(self, key: str, name: object) -> str:
        """
        Return the secret in the environment variable that C{key} names.

        Error messages omit the value of C{key}, which may be the secret itself instead of a
        variable's name.

        @raise PydanticCustomError: the key's value is not a string, or the environment variable is
            unset or empty.
        """
        if not isinstance(name, str):
            raise _unreadable(key, "must be the name of an environment variable")
        secret = self.environ.get(name)
        if secret is None:
            raise _unreadable(key, "the environment variable that this key names is not set")
        if not secret.strip():
            raise _unreadable(key, "the environment variable that this key names is empty")
        return without_line_end(secret)


KEY = "sources"
"""The key of the validation context under which a section finds its L{Sources}."""


def sources_of(info: ValidationInfo) -> Sources:
    """Return the L{Sources} of the section that is being read, which find files and variables."""
    found: Sources = (info.context or {}).get(KEY) or Sources()
    return found


def unreadable(path: Path) -> str | None:
    """Return why a file cannot be read, or C{None} if the file can be read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    return None


def without_line_end(secret: str) -> str:
    """Remove one line end, which editors and shells append to a secret."""
    return secret.removesuffix("\n").removesuffix("\r")


def _unreadable(key: str, why: str) -> PydanticCustomError:
    return PydanticCustomError("of_key", "{why}", {"key": key, "why": why})

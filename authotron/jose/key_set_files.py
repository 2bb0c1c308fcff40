"""Read a key set, or the headers of a request for a key set, from files that may change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from authotron.config.files import read_small
from authotron.jose.jwk import KeysByName, read
from authotron.model import strict_json
from authotron.model.errors import Unavailable

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ \t!-~]*[!-~])?)[ \t]*")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@frozen
class KeySetFile:
    """A key set in a file. The file is read anew at each refresh, so keys can be replaced."""

    path: Path

    async def __call__(self) -> KeysByName:
        return self.load()

    def load(self) -> KeysByName:
        """
        Read the key set from its file.

        @raise Unavailable: the file cannot be read, or has no usable key.
        """
        try:
            document = strict_json.loads(_bytes(self.path))
        except ValueError:
            raise Unavailable(f"{self.path} is not strict JSON in UTF-8") from None
        return read(document if isinstance(document, dict) else {}, str(self.path))


@frozen
class RequestHeaders:
    """
    Headers for requests for a key set, from files that are read anew for each request.

    @ivar token_file: a file with a bearer token, such as the one of a Kubernetes service account,
        which Kubernetes replaces every hour.
    @ivar headers_file: a file with lines of the form C{Name: value}; empty lines and lines that
        begin with C{#} are skipped.
    """

    token_file: Path | None = None
    headers_file: Path | None = None

    def load(self) -> Mapping[str, str]:
        """
        Read the headers from their files.

        @raise Unavailable: a file cannot be read, or is malformed. The message of the error that is
            raised contains no value of a header.
        """
        headers: dict[str, str] = {}
        if self.headers_file is not None:
            headers.update(_headers(self.headers_file))
        if self.token_file is not None:
            token = _text(self.token_file).strip()
            if not _TOKEN.fullmatch(token):
                raise Unavailable(f"{self.token_file} does not hold a bearer token (RFC 6750)")
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _headers(path: Path) -> Mapping[str, str]:
    headers = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            found = _HEADER.fullmatch(line)
            if found is None:
                raise Unavailable(f"{path}: line {number} is not `Name: value`")
            # All header names are in title case, so that the same header cannot occur in the table
            # in two spellings.
            headers[found[1].title()] = found[2]
    return headers


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError:
        raise Unavailable(f"{path} is not UTF-8") from None


def _bytes(path: Path) -> bytes:
    try:
        return read_small(path)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from None

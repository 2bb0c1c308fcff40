"""Read the value of an environment variable as auth-o-tron does: numbers, switches, lists."""

from __future__ import annotations

import re

from attrs import define

from authotron.model import strict_json

_SWITCHES = {"true": True, "false": False}
_WHOLE = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HALF = re.compile(r"'|(?:true|false)\S")
"""
Matches a text that begins with a single quote, or with C{true} or C{false} and further characters:
auth-o-tron reads only the first part of such a text.
"""

_MOST_DIGITS = 20
"""Maximum number of characters of a whole number; a longer number is read as a float."""


def parse(text: str) -> object:
    """
    Return the value that the text of an environment variable stands for.

    A number, a switch (C{true}, C{false}), a list (C{["a", b]}), a mapping (C{{key = "value"}}) and
    a string in quotes are recognized; any other text is a string.
    """
    return _collection(text) if text.startswith(("[", "{")) else _scalar(text)


def as_string(text: str) -> str:
    """
    Return the string that a text stands for, with the surrounding blanks that auth-o-tron keeps.

    auth-o-tron removes blanks around a text, unless the text contains a comma, a bracket or a
    brace, or has other characters before or behind its quotes.
    """
    bare = text.strip()
    quoted = re.fullmatch(r'"(?:[^"\\]|\\.)*"', bare, re.DOTALL)
    if bare[:1] in ("[", "{"):
        is_plain = not isinstance(_collection(bare), str)
    elif bare.startswith('"'):
        is_plain = quoted is not None
    else:
        is_plain = not re.search(r"[,\[\]{}]", bare) and not _HALF.match(bare)
    return unquoted(bare) if is_plain else unquoted(text)


def unquoted(text: str) -> str:
    """Remove one pair of double quotes around a whole text, if there is one."""
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1] if is_quoted else text


def _scalar(text: str) -> object:
    if text in _SWITCHES:
        return _SWITCHES[text]
    if _WHOLE.fullmatch(text) and len(text) <= _MOST_DIGITS:
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else unquoted(text)


def _collection(text: str) -> object:
    """Read a list or a mapping, as JSON or with unquoted strings; else return the text itself."""
    try:
        return strict_json.loads(text.encode())
    except ValueError:
        pass
    try:
        return _Parser(text).parse()
    except (ValueError, RecursionError):
        return text


@define
class _Parser:
    """Parses lists and mappings as auth-o-tron does: strings need no quotes."""

    _text: str
    _at: int = 0

    def parse(self) -> object:
        """
        Parse the whole text of a list or a mapping.

        @raise ValueError: the text is not a list or a mapping.
        """
        found = self._item()
        if self._at != len(self._text):
            raise ValueError("unexpected text after the list or mapping")
        return found

    def _item(self) -> object:
        self._skip_blanks()
        sign = self._text[self._at : self._at + 1]
        if sign == "[":
            found: object = self._list()
        elif sign == "{":
            found = self._mapping()
        elif sign == '"':
            found = strict_json.loads(self._match(r'"(?:[^"\\]|\\.)*"').encode())
        else:
            found = _scalar(self._match(r"[^,\[\]{}]*"))
        self._skip_blanks()
        return found

    def _list(self) -> list[object]:
        found: list[object] = []
        self._expect("[")
        while not self._accept("]"):
            found.append(self._item())
            if not self._accept(","):
                self._expect("]")
                break
        return found

    def _mapping(self) -> dict[str, object]:
        found: dict[str, object] = {}
        self._expect("{")
        while not self._accept("}"):
            key = unquoted(self._match(r"[^=:,\[\]{}]*"))
            if not (self._accept("=") or self._accept(":")) or key in found:
                raise ValueError("a key has no value, or is a duplicate")
            found[key] = self._item()
            if not self._accept(","):
                self._expect("}")
                break
        return found

    def _match(self, pattern: str) -> str:
        found = re.compile(pattern).match(self._text, self._at)
        if found is None:
            raise ValueError("missing closing quote")
        self._at = found.end()
        return found[0].strip()

    def _accept(self, sign: str) -> bool:
        self._skip_blanks()
        if self._text[self._at : self._at + 1] != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            raise ValueError(f"missing {sign}")

    def _skip_blanks(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

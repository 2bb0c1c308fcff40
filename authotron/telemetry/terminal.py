"""Escape text for terminals and log lines, so that control characters have no effect."""

from __future__ import annotations

import json


def visible(text: str) -> str:
    """
    Escape all characters of a text that are not printable, as JSON does; the result is one line.

    Characters that are not printable are control characters, such as line ends, characters that
    change the direction of text, and halves of surrogate pairs.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]

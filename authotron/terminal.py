"""Text for a terminal: what others wrote must not do anything to it."""

from __future__ import annotations

import json


def visible(text: str) -> str:
    """
    Escape in one line all that is not printable, as JSON does.

    That are control characters, line ends among them, what changes the direction of text, and
    halves of surrogate pairs.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]

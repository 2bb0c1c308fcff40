"""
YAML as auth-o-tron reads it: the core schema of YAML 1.2, and tabs as blanks.

PyYAML reads YAML 1.1, in which C{no} is a switch, C{0755} is octal, C{12:30} is a number of minutes
and C{2026-01-01} is a date; auth-o-tron reads all four as strings. auth-o-tron reads every key of a
mapping as a string, even a key that looks like a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import yaml
from attrs import define, field

Node: TypeAlias = yaml.Node

_BLANKS, _ENDS = " \t", "\0\r\n\x85\u2028\u2029"
_CORE = "tag:yaml.org,2002:"
_MERGE = "<<"

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_SWITCHES = {"true": True, "True": True, "TRUE": True,
             "false": False, "False": False, "FALSE": False}  # fmt: skip
_SURROGATE = re.compile("[\ud800-\udfff]")
_WHOLE = re.compile(r"[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+|0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ZEROS = re.compile(r"[-+]?0[0-9]+")
_ODD = {
    f"{sign}.{name}": float(f"{sign}{name}")
    for names in (("inf", "Inf", "INF"),)
    for name in names
    for sign in ("", "+", "-")
} | dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan"))

_MOST_DIGITS = 4_000
"""
Maximum number of digits of a whole number; the conversion in Python refuses more than
4,300 digits.
"""

_MOST_EXPANDED = 250_000
"""Maximum number of values that all aliases together may add to a document."""


class YamlError(yaml.MarkedYAMLError):
    """An error in YAML, whose message repeats no text of the file except known keys."""


class _Loader(yaml.SafeLoader):
    """Scans YAML with tabs as blanks, and resolves plain scalars as YAML 1.2 does."""

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> Any:
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, None, (False, False))
        return f"{_CORE}{_core_type(value)}"

    def compose_node(self, parent: Any, index: Any) -> Any:
        """
        Compose a YAML node; a redefined anchor replaces the old one from that place on, as in YAML
        1.2.
        """
        if not self.check_event(yaml.AliasEvent):
            self.anchors.pop(self.peek_event().anchor, None)
        return super().compose_node(parent, index)

    def scan_flow_scalar(self, style: str) -> Any:
        """Scan a YAML scalar in quotes, whose escapes must stand for characters."""
        start = self.get_mark()
        try:
            token = super().scan_flow_scalar(style)
        except ValueError:
            token = None
        if token is None or _SURROGATE.search(token.value):
            message = "found an escape of no character"
            raise YamlError("while scanning a scalar in quotes", start, message, self.get_mark())
        return token

    def scan_to_next_token(self) -> None:
        """
        Skip blanks, comments and line ends of a YAML text; a tab cannot be at a place where a block
        key can begin.
        """
        if self.index == 0 and self.peek() == "\ufeff":
            self.forward()
        while True:
            while self.peek() == " " or (
                self.peek() == "\t" and (self.flow_level or not self.allow_simple_key)
            ):
                self.forward()
            self._skip_comment()
            if not self.scan_line_break():
                return
            if not self.flow_level:
                self.allow_simple_key = True

    def scan_plain_spaces(self, indent: int, start_mark: Any) -> list[str] | None:
        """
        Skip the blanks and line ends within a plain scalar, and return the characters that these
        become in the value.
        """
        length = 0
        while self.peek(length) in _BLANKS:
            length += 1
        blanks = self.prefix(length)
        self.forward(length)
        if self.peek() not in "\r\n\x85\u2028\u2029":
            return [blanks] if blanks else []
        line_break = self.scan_line_break()
        self.allow_simple_key = True
        breaks: list[str] = []
        while not self._is_at_document_mark():
            self._skip_indentation(indent, start_mark)
            if self.peek() not in "\r\n\x85\u2028\u2029":
                folded = [line_break] if line_break != "\n" else [] if breaks else [" "]
                return folded + breaks
            breaks.append(self.scan_line_break())
        return None

    def scan_plain(self) -> yaml.ScalarToken:
        """
        Scan a plain scalar of YAML; unlike in PyYAML, a question mark is part of the scalar in flow
        style.
        """
        chunks: list[str] = []
        start = end = self.get_mark()
        indent = self.indent + 1
        spaces: list[str] | None = []
        while self.peek() != "#" and (length := self._plain_length()):
            self.allow_simple_key = False
            chunks += [*(spaces or ()), self.prefix(length)]
            self.forward(length)
            end = self.get_mark()
            spaces = self.scan_plain_spaces(indent, start)
            if not spaces or (not self.flow_level and self.column < indent):
                break
        return yaml.ScalarToken("".join(chunks), True, start, end)

    def scan_block_scalar_ignored_line(self, start_mark: Any) -> None:
        self._skip_blanks()
        super().scan_block_scalar_ignored_line(start_mark)

    def scan_block_scalar_indicators(self, start_mark: Any) -> Any:
        """
        Scan the indicators behind C{|} or C{>} of a YAML block, such as C{-}; a tab or a blank ends
        the indicators.
        """
        length = 0
        while self.peek(length) in "+-0123456789":
            length += 1
        self._tab_to_blank(length)
        return super().scan_block_scalar_indicators(start_mark)

    def scan_tag(self) -> Any:
        """Scan a YAML tag; a tab ends the tag, as a blank does."""
        length = 1
        while self.peek(length) not in _BLANKS + _ENDS:
            length += 1
        self._tab_to_blank(length)
        return super().scan_tag()

    def _tab_to_blank(self, at: int) -> None:
        if self.peek(at) == "\t":
            place = self.pointer + at
            self.buffer = f"{self.buffer[:place]} {self.buffer[place + 1 :]}"

    def _plain_length(self) -> int:
        length = 0
        while not self._ends_plain(length):
            length += 1
        return length

    def _ends_plain(self, at: int) -> bool:
        sign, signs = self.peek(at), ",[]{}" if self.flow_level else ""
        if sign == ":":
            return self.peek(at + 1) in _BLANKS + _ENDS + signs
        return sign in _BLANKS + _ENDS + signs

    def _is_at_document_mark(self) -> bool:
        return self.prefix(3) in ("---", "...") and self.peek(3) in _BLANKS + _ENDS

    def _skip_indentation(self, indent: int, start_mark: Any) -> None:
        while self.peek() in _BLANKS:
            if self.peek() == "\t" and self.column < indent:
                message = "found a tab where the indentation must be blanks"
                raise YamlError("while scanning a plain scalar", start_mark, message,
                                self.get_mark())  # fmt: skip
            self.forward()

    def _skip_blanks(self) -> None:
        while self.peek() in _BLANKS:
            self.forward()

    def _skip_comment(self) -> None:
        if self.peek() == "#":
            while self.peek() not in _ENDS:
                self.forward()


def compose(text: str) -> Node | None:
    """
    Return the root node of a YAML document (see L{value_of}), or C{None} if the document is empty.

    @raise MarkedYAMLError: the text is not one document of YAML.
    """
    loader = _Loader(text)
    try:
        node: Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _core_type(text: str) -> str:
    if text in _NULLS:
        return "null"
    if text in _SWITCHES:
        return "bool"
    if _WHOLE.fullmatch(text) and not _ZEROS.fullmatch(text):
        return "int"
    if text in _ODD:
        return "float"
    is_number = _NUMBER.fullmatch(text) and not _ZEROS.fullmatch(text)
    return "float" if is_number and math.isfinite(float(text)) else "str"


def dump(value: object, *, allow_unicode: bool = False) -> str:
    """Return a value as YAML that both YAML 1.1 and the core schema of YAML 1.2 read the same."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode)


class _Dumper(yaml.SafeDumper):
    """Puts strings in quotes that look like numbers in YAML 1.2 alone, such as C{1e3}."""


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _core_type(text) == "str" else "'"
    return dumper.represent_scalar(f"{_CORE}str", text, style)


_Dumper.add_representer(str, _represent_str)


def _scalar(node: Node) -> object:
    """
    Return the value of a YAML scalar.

    @raise YamlError: the text is not of the type that its tag names, or the tag is unknown.
    """
    text: str = node.value
    kind = node.tag.removeprefix(_CORE)
    if not node.tag.startswith(_CORE) or "/" in kind:
        raise YamlError(problem=_UNKNOWN_TAG, problem_mark=node.start_mark)
    if kind not in _READ:
        return text
    fits = _core_type(text) == kind or (kind == "float" and _core_type(text) == "int")
    if not fits or len(text) > _MOST_DIGITS:
        raise YamlError(problem=f"is not of type {kind}", problem_mark=node.start_mark)
    return _READ[kind](text)


_UNKNOWN_TAG = "unknown tag; put values that begin with ! in quotes"


def _whole(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2], 10)
    return sign * int(digits[2:] if base != 10 else digits, base)  # noqa: PLR2004 - decimal


_READ: dict[str, Callable[[str], object]] = {
    "null": lambda _: None,
    "bool": _SWITCHES.__getitem__,
    "int": _whole,
    "float": lambda text: _ODD[text] if text in _ODD else float(text),
}


def is_merge(key: Node, value: Node) -> bool:
    """Return whether a key and its value are a merge key (C{<<}) with one or more mappings."""
    mappings = value.value if isinstance(value, yaml.SequenceNode) else [value]
    is_key = isinstance(key, yaml.ScalarNode) and key.value == _MERGE and key.style is None
    return is_key and all(isinstance(each, yaml.MappingNode) for each in mappings)


def merged_nodes(node: Node) -> Iterator[Node]:
    """Yield the mappings merged into a mapping by C{<<}, in order of precedence."""
    for key, value in node.value:
        if is_merge(key, value):
            yield from value.value if isinstance(value, yaml.SequenceNode) else [value]


def line_of(root: Node, location: Sequence[int | str]) -> tuple[int, int]:
    """
    Return the line (from 1) of the value at a location, and how many steps of the location exist.

    If the file does not contain the value, return the line of the innermost mapping or list that
    should contain it.
    """
    node, line, count = root, root.start_mark.line + 1, 0
    for step in location:
        below = _step(node, step)
        if below is not None:
            node, line, count = below[0], below[1], count + 1
    return line, count


def _step(node: Node, step: int | str) -> tuple[Node, int] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item, item.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == step and not is_merge(key, value):
            return value, key.start_mark.line + 1
    merged = (_step(each, step) for each in merged_nodes(node))
    return next((found for found in merged if found), None)


@define
class Values:
    """
    Makes Python values from the nodes of a YAML document.

    @ivar named: a function that returns the part of an error message that names a key; an empty
        string if the key may be a secret.
    @ivar merges: the merge keys (C{<<}) that were found in the document.
    @ivar duplicates: an error for each duplicate key; the first value of a duplicate key is used.
    """

    named: Callable[[str], str]
    merges: list[Node] = field(factory=list, init=False)
    duplicates: list[YamlError] = field(factory=list, init=False)
    _sizes: dict[int, int] = field(factory=dict, init=False)
    _made: dict[int, object] = field(factory=dict, init=False)
    _repeated: int = field(default=0, init=False)

    def value_of(self, node: Node) -> object:
        """
        Return the value of a YAML node: a mapping, a list or a scalar.

        @raise YamlError: keys that are not scalars, unknown tags, or aliases that repeat too much
            or refer to themselves.
        """
        return self._value(node)[0]

    def _value(self, node: Node) -> tuple[object, int]:
        """
        Return the value of a YAML node, and the number of values in it, nested values
        included.
        """
        if id(node) in self._sizes:
            size = self._sizes[id(node)]
            self._repeated += size
            if size == 0 or self._repeated > _MOST_EXPANDED:
                raise YamlError(
                    problem=_TOO_MUCH if size else _CIRCLE, problem_mark=node.start_mark
                )
            return self._made[id(node)], size
        # The size 0 means that a node is still being composed; aliases to it are invalid.
        self._sizes[id(node)] = 0
        value, size = self._new_value(node)
        self._made[id(node)], self._sizes[id(node)] = value, size
        return value, size

    def _new_value(self, node: Node) -> tuple[object, int]:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node)
        return _scalar(node), 1

    def _sequence(self, node: Node) -> tuple[object, int]:
        _check_collection(node, "seq")
        found = [self._value(each) for each in node.value]
        return [value for value, _ in found], 1 + sum(size for _, size in found)

    def _mapping(self, node: Node) -> tuple[dict[str, object], int]:
        _check_collection(node, "map")
        lines: dict[str, int] = {}
        own: dict[str, object] = {}
        size = 1
        for key, value in node.value:
            if is_merge(key, value):
                self.merges.append(key)
                continue
            name = _key(key)
            if name in lines:
                problem = f"duplicate key{self.named(name)} (first defined on line {lines[name]})"
                self.duplicates.append(YamlError(problem=problem, problem_mark=key.start_mark))
                continue
            lines[name] = key.start_mark.line + 1
            own[name], of_value = self._value(value)
            size += of_value
        inherited: dict[str, object] = {}
        for each in merged_nodes(node):
            value, of_value = self._value(each)
            inherited = {**value, **inherited} if isinstance(value, dict) else inherited
            size += of_value
        return {**inherited, **own}, size


_TOO_MUCH = f"aliases repeat more than {_MOST_EXPANDED} values"
_CIRCLE = "an alias refers to itself"


def _check_collection(node: Node, kind: str) -> None:
    if node.tag != f"{_CORE}{kind}":
        raise YamlError(problem=_UNKNOWN_TAG, problem_mark=node.start_mark)


def _key(node: Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise YamlError(problem="a key must be a string", problem_mark=node.start_mark)
    return str(node.value)

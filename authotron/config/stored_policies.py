"""
The document in which a token store keeps policies: rules and groups, each with the label of the
files that it came from.

All stored policies are one value in the database, because every supported database replaces a
single value atomically. Therefore a gateway never reads half of a change of the stored policies.
The document with the stored policies is compressed JSON, one line for each rule or group.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from attrs import field, frozen

from authotron.config import policy, section
from authotron.config.policy import Policy
from authotron.config.policy_rules import RulesFile
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, Problem
from authotron.model.policy_document import PolicyDocument

LARGEST = 64 * 1024 * 1024
"""Maximum number of bytes of all stored rules and groups, before they are compressed."""

LARGEST_STORED = 12 * 1024 * 1024
"""
Maximum number of bytes of the compressed document with the stored policies; MongoDB does not store
documents of more than 16 MB.
"""

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Matches the label under which rules and groups are stored, such as C{archive}."""

_FORM = 1
"""
The version number of the format of the document with the stored policies; the first line of the
document states this number.
"""

_KINDS = ("rules", "groups")

Given = Mapping[str, Sequence[Mapping[str, Any]]]
"""
The C{rules} and C{groups} of one label of the stored policies, in the form of the files from which
they were stored.
"""


@frozen
class StoredPolicies:
    """
    The policies in a token store.

    @ivar state: the name of this state of the stored policies, or C{None} if no policies were ever
        stored.
    @ivar labels: the stored rules and groups, by their label.
    """

    state: str | None = None
    labels: Mapping[str, Given] = field(factory=dict)

    @property
    def version(self) -> int:
        """
        The version number of the stored policies. Each change increases the number by one; the
        number is 0 if no policies were ever stored.
        """
        return 0 if self.state is None else version_of(self.state)

    def with_label(self, label: str, given: Given) -> StoredPolicies:
        """
        Return a copy of the stored policies in which one label has the given rules and groups; if
        no rules and groups are given, the label is removed.
        """
        others = {name: each for name, each in self.labels.items() if name != label}
        added = {label: given} if any(given.values()) else {}
        return StoredPolicies(self.state, dict(sorted({**others, **added}.items())))

    def following(self) -> PolicyDocument:
        """
        Return the document with which these policies are stored as the next version.

        @raise ConfigError: the policies are too large to be stored.
        """
        text = b"\n".join(_lines(self.labels))
        content = zlib.compress(text)
        if len(text) > LARGEST or len(content) > LARGEST_STORED:
            why = f"are larger than {LARGEST} bytes, or {LARGEST_STORED} bytes compressed"
            raise ConfigError([Problem("the policies in the token store", why)])
        return PolicyDocument(f"{self.version + 1}-{_hash(content)}", content)


def version_of(state: str) -> int:
    """
    Return the version number in the name of a state of the stored policies, or 0 if the name
    contains no number.
    """
    number = state.partition("-")[0]
    return int(number) if re.fullmatch("[0-9]{1,18}", number) else 0


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _lines(labels: Mapping[str, Given]) -> Iterator[bytes]:
    yield json.dumps({"form": _FORM}).encode()
    for label, given in labels.items():
        for kind in _KINDS:
            for each in given.get(kind, ()):
                yield json.dumps([label, kind, each], separators=(",", ":")).encode()


def decode(document: PolicyDocument | None) -> StoredPolicies:
    """
    Parse a document with stored policies, without checking the rules in it.

    @raise ConfigError: the document is damaged, or was written by a newer version of authotron.
    """
    if document is None:
        return StoredPolicies()
    if document.state != f"{version_of(document.state)}-{_hash(document.content)}":
        raise _unreadable("is damaged: its hash is wrong")
    try:
        text = _decompress(document.content)
        form, *lines = text.split(b"\n")
        if json.loads(form) != {"form": _FORM}:
            raise _unreadable("was written by a newer version of authotron")
        labels: dict[str, dict[str, list[Any]]] = {}
        for line in lines:
            label, kind, each = json.loads(line)
            if not LABEL.fullmatch(label) or not isinstance(each["name"], str):
                raise _unreadable("is damaged")
            labels.setdefault(label, {name: [] for name in _KINDS})[kind].append(each)
    except (zlib.error, ValueError, TypeError, LookupError, RecursionError):
        raise _unreadable("is damaged") from None
    return StoredPolicies(document.state, labels)


def _decompress(content: bytes) -> bytes:
    """
    Return decompressed content.

    @raise ValueError: the compressed content is incomplete, or is larger than L{LARGEST} bytes
        after decompression.
    """
    reading = zlib.decompressobj()
    text = reading.decompress(content, LARGEST + 1)
    if len(text) > LARGEST or not reading.eof:
        raise ValueError("incomplete or too large")
    return text


def _unreadable(why: str) -> ConfigError:
    return ConfigError([Problem("the document with the policies in the token store", why)])


def together(local: Policy, stored: StoredPolicies) -> Policy:
    """
    Return the policy of a configuration with the rules and groups from the token store added.

    @raise ConfigError: all problems of the stored rules and groups, or of all rules together, such
        as duplicate names.
    """
    found, problems = dict[str, RulesFile](), list[Problem]()
    for label, given in stored.labels.items():
        at = f"label {label}"
        try:
            found[at] = section.read(RulesFile, dict(given), at, Sources())
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return policy.with_parts(local, found)


@frozen
class Change:
    """
    A difference between the stored rules or groups of one label and the rules or groups that
    replace them.

    @ivar kind: C{rule} or C{group}.
    @ivar how: The kind of the change of a stored rule or group, which is C{created}, C{changed} or
        C{deleted}.
    @ivar keys: the keys of a changed rule or group whose values differ.
    """

    kind: str
    name: str
    how: str
    keys: Sequence[str] = ()


def changes(old: Given, new: Given) -> Iterator[Change]:
    """
    Yield the differences between the stored rules and groups of one label and those that replace
    them.
    """
    for kind, title in (("rules", "rule"), ("groups", "group")):
        before = {each["name"]: each for each in old.get(kind, ())}
        after = {each["name"]: each for each in new.get(kind, ())}
        for name, each in after.items():
            if name not in before:
                yield Change(title, name, "created")
            elif keys := _different_keys(before[name], each):
                yield Change(title, name, "changed", keys)
        yield from (Change(title, name, "deleted") for name in before if name not in after)


def _different_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]

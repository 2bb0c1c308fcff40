"""Network namespaces: machines of a network that can be cut, on one real machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from typing import Any
from unittest import SkipTest
from uuid import uuid4

from attrs import define, field

from tests.functional.daemon import needed


def as_root(*words: str) -> None:
    """
    Run a command as root.

    @raise subprocess.CalledProcessError: it failed.
    """
    subprocess.run(words, check=True, capture_output=True, timeout=60)


@define(eq=False)
class Node:
    """
    A network namespace with one link to the namespace of the store.

    @ivar name: of the namespace, and the beginning of the names of both ends of the link.
    @ivar network: the first three numbers of the addresses; C{.1} is the store, C{.2} this node.
    """

    name: str
    network: str

    @property
    def wrapper(self) -> Sequence[str]:
        """Return the command that starts another one in this namespace."""
        return inside(self.name)

    @property
    def store(self) -> str:
        """Return the address of the store, as this node sees it."""
        return f"{self.network}.1"

    def cut(self) -> None:
        """Drop every packet of the link, in both directions; connections hear nothing."""
        for chain in ("INPUT", "OUTPUT"):
            as_root(*self.wrapper, "iptables", "-A", chain, "!", "-s", "127.0.0.0/8", "-j", "DROP")

    def heal(self) -> None:
        as_root(*self.wrapper, "iptables", "-F")


@define(eq=False)
class Network:
    """
    A namespace for the store, and one for each node, linked only with that of the store.

    @ivar clean: registers what undoes a step when the test ends.
    """

    clean: Callable[..., Any]
    _mine: str = field(factory=lambda: uuid4().hex[:6], init=False)
    nodes: list[Node] = field(factory=list, init=False)

    def build(self, number: int) -> Network:
        """
        Build the namespaces of the store and of C{number} nodes.

        @raise SkipTest: this account may not do so. Under CI it must.
        """
        needed("ip")
        needed("iptables")
        if os.geteuid() != 0 and not os.environ.get("CI"):
            raise SkipTest("network namespaces need root")
        self._add(self.store)
        for place in range(number):
            node = Node(f"an{self._mine}{place}", f"10.213.{place}")
            self._add(node.name)
            self._link(node)
            self.nodes.append(node)
        return self

    @property
    def store(self) -> str:
        """Return the name of the namespace of the store."""
        return f"an{self._mine}s"

    @property
    def wrapper(self) -> Sequence[str]:
        """Return the command that starts another one in the namespace of the store."""
        return inside(self.store)

    def _add(self, name: str) -> None:
        as_root("ip", "netns", "add", name)
        self.clean(as_root, "ip", "netns", "del", name)
        as_root(*inside(name), "ip", "link", "set", "lo", "up")

    def _link(self, node: Node) -> None:
        """Link a node with the store; the link ends with the namespaces."""
        ours, theirs = f"{node.name}a", f"{node.name}b"
        ends = ("netns", self.store, "type", "veth", "peer", "name", theirs, "netns", node.name)
        as_root("ip", "link", "add", ours, *ends)
        for name, end, address in ((self.store, ours, 1), (node.name, theirs, 2)):
            as_root(*inside(name), "ip", "addr", "add", f"{node.network}.{address}/30", "dev", end)
            as_root(*inside(name), "ip", "link", "set", end, "up")


def inside(name: str) -> Sequence[str]:
    """Return the command that starts another one in a namespace."""
    return ("ip", "netns", "exec", name)

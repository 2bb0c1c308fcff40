"""
How many lookups a second the parts that ask a directory make, beside ldaptor's own client.

A slapd is started with the directory of the functional tests. `roles` is one search; `login` is a
search, and a bind on a connection of its own; `cached` is what is remembered. All run in turns, so
that what else the machine does hits all alike. Prints medians, the ratios of each round, and the
connections that were open.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from itertools import cycle, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ldaptor.protocols import pureldap
from ldaptor.protocols.ldap.ldapclient import LDAPClient
from twisted.internet import reactor as running
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.task import deferLater, react

from authotron.augmenters import ldap as augmenter
from authotron.config.section import read
from authotron.model.identity import Credential, Identity
from authotron.net.world import World
from authotron.providers import ldap as provider
from authotron.testing.worlds import run_at_once
from tests.functional.directory import ACCOUNT, Slapd

warnings.simplefilter("ignore", DeprecationWarning)

ALICE = Credential("basic", b64encode(b"alice:alicepw").decode())
SPELLINGS = ["".join(each) for each in product(*({c, c.upper()} for c in "alice"))]
"""All the same to the directory, and none to a flight that others may join."""

Once = Callable[[], Any]
"""A function that returns an awaitable; a plugin may as well return the result itself."""


class Ldaptor:
    """The same questions by ldaptor alone: a few connections for searches, one for each user."""

    def __init__(self, endpoint: HostnameEndpoint, connections: int) -> None:
        self._endpoint = endpoint
        self._turns = DeferredSemaphore(connections)
        self._free: list[LDAPClient] = []

    async def _client(self) -> LDAPClient:
        return await connectProtocol(self._endpoint, LDAPClient())

    async def search(self) -> bytes:
        await self._turns.acquire()
        try:
            if self._free:
                client = self._free.pop()
            else:
                client = await self._client()
                dn, password = ACCOUNT["bind_dn"], ACCOUNT["ldap_password"]
                await client.send(pureldap.LDAPBindRequest(dn=dn, auth=password))
            found: list[Any] = []
            done: Deferred[None] = Deferred()
            client.send_multiResponse(_search(), partial(_collect, found, done))
            await done
            self._free.append(client)
            return bytes(found[0].objectName)
        finally:
            self._turns.release()

    async def login(self) -> None:
        dn = await self.search()
        client = await self._client()
        answer = await client.send(pureldap.LDAPBindRequest(dn=dn, auth="alicepw"))
        assert answer.resultCode == 0
        client.unbind()


def _search() -> pureldap.LDAPSearchRequest:
    def equal(attribute: str, value: str) -> pureldap.LDAPFilter_equalityMatch:
        return pureldap.LDAPFilter_equalityMatch(
            pureldap.LDAPAttributeDescription(attribute), pureldap.LDAPAssertionValue(value)
        )

    person = pureldap.LDAPFilter_and([equal("objectClass", "person"), equal("cn", "alice")])
    base = ACCOUNT["search_base"]
    return pureldap.LDAPSearchRequest(baseObject=base, filter=person, attributes=["memberOf"])


def _collect(found: list[Any], done: Deferred[None], answer: Any) -> bool:
    if isinstance(answer, pureldap.LDAPSearchResultEntry):
        found.append(answer)
        return False
    done.callback(None)
    return True


def ours(uri: str, world: World, options: argparse.Namespace) -> dict[str, Once]:
    usual: dict[str, Any] = {"name": "it", "realm": "corp", "uri": uri, **ACCOUNT}
    usual["connections"] = options.connections

    def roles(cache: int) -> Once:
        section = read(augmenter.Config, {"type": "ldap", "cache": cache, **usual})
        part = augmenter.make(section, world)
        names = cycle(SPELLINGS)
        return lambda: part.augment(Identity("corp", next(names)))

    section = read(provider.Config, {"type": "ldap", "user_attribute": "cn", **usual})
    judge = provider.make(section, world)
    return {"roles": roles(0), "login": lambda: judge.authenticate(ALICE), "cached": roles(120)}


async def rate(once: Once, options: argparse.Namespace) -> float:
    """Lookups a second, so many at a time."""
    end = time.monotonic() + options.seconds
    done = 0

    async def again() -> None:
        nonlocal done
        while time.monotonic() < end:
            for _ in range(10):
                await once()
                done += 1

    began = time.monotonic()
    await gatherResults([Deferred.fromCoroutine(again()) for _ in range(options.concurrency)])
    return done / (time.monotonic() - began)


def open_connections(slapd: Slapd) -> int:
    """Of this process to the directory, as the kernel counts them."""
    hexadecimal = f":{slapd.port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(hexadecimal) and line.split()[3] == "01" for line in lines)


async def bench(reactor: Any, slapd: Slapd, options: argparse.Namespace) -> None:
    world = World(reactor, run_at_once, connect=partial(HostnameEndpoint, reactor))
    mine = ours(f"ldap://127.0.0.1:{slapd.port}", world, options)
    ldaptor = Ldaptor(HostnameEndpoint(reactor, "127.0.0.1", slapd.port), options.connections)
    baseline: dict[str, Once] = {"roles": ldaptor.search, "login": ldaptor.login}
    rates: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, once in mine.items():
            rates.setdefault(name, []).append(await rate(once, options))
            if name in baseline:
                theirs = await rate(baseline[name], options)
                rates.setdefault(f"{name}, ldaptor", []).append(theirs)
    for name, found in rates.items():
        told = f"{name:16}{statistics.median(found):10,.0f} a second"
        if name in baseline:
            beside = rates[f"{name}, ldaptor"]
            ratios = [one / other for one, other in zip(found, beside, strict=True)]
            told += f", {statistics.median(ratios):.2f} of ldaptor"
            told += f" ({min(ratios):.2f} to {max(ratios):.2f})"
        print(told)
    await deferLater(reactor, 0.2)  # for those of users, who have left
    may_be = (len(mine) + 1) * options.connections
    print(f"{open_connections(slapd)} connections are open, of {may_be} that may be")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each round and kind")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        slapd = Slapd(Path(folder) / "slapd").install().start()
        try:
            react(bench, (slapd, options), _reactor=running)
        finally:
            slapd.stop()


if __name__ == "__main__":
    main()

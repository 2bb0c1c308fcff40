"""What goes wrong with a service, and how it comes out of that."""

from __future__ import annotations

import shlex
import time
from functools import partial

from tests.deb.container import seconds_until
from tests.deb.gateway import SERVER, Gateway
from tests.waiting import DEADLINE, until

FAKE_TIME = "/etc/tls/faketime"
RATE = 1000
"""Requests a second through nginx."""


def killed(gateway: Gateway) -> str:
    """After `kill -9` it is back, and connections that waited meanwhile are answered."""
    before = gateway.pid()
    gateway.container.run("kill", "-KILL", str(before))
    began = time.monotonic()
    assert gateway.status() == 200
    took = time.monotonic() - began
    assert gateway.pid() != before
    assert gateway.shown("NRestarts") != "0"
    return f"the next connection was answered after {took:.1f} s"


def worker_killed(gateway: Gateway) -> str:
    """A worker that is killed is replaced; the others go on answering."""
    gateway.configure(server={**SERVER, "workers": 2})
    gateway.systemctl("restart", "authotron.service")
    workers, main = gateway.children(), gateway.pid()
    assert len(workers) == 2, workers
    gateway.container.run("kill", "-KILL", str(workers[0]))
    refused = sum(gateway.status() != 200 for _ in range(20))
    took = seconds_until(
        lambda: len(gateway.children()) == 2 and workers[0] not in gateway.children(), "replaced"
    )
    assert not refused, f"{refused} of 20 requests were not answered"
    assert gateway.pid() == main
    assert gateway.status() == 200
    return f"20 of 20 answered meanwhile, replaced after {took:.1f} s"


def blocked(gateway: Gateway) -> str:
    """A reactor that stands still is noticed by the watchdog, and the service is started again."""
    before, cursor = gateway.pid(), gateway.now()
    gateway.drop_in("[Service]\nWatchdogSec=3s\n")
    gateway.systemctl("restart", "authotron.service")
    before = gateway.pid()
    stuck = gateway.container.start(
        "curl", "--silent", "--max-time", "30", "--user", "blocker:x", "http://127.0.0.1:8080/authenticate"
    )  # fmt: skip
    began = time.monotonic()
    try:
        until(lambda: gateway.pid() not in {0, before}, "started again")
    finally:
        gateway.container.end(stuck)
    took = time.monotonic() - began
    line = gateway.told("atchdog timeout", cursor)
    until(lambda: gateway.status() == 200, "answering again")
    return f"{shlex.quote(line)}, replaced after {took:.1f} s (WatchdogSec=3s)"


def files_exhausted(gateway: Gateway) -> str:
    """At the limit of open files it says so, goes on with those it has, and recovers."""
    gateway.drop_in("[Service]\nLimitNOFILE=64\n")
    gateway.systemctl("restart", "authotron.service")
    cursor, pid = gateway.now(), gateway.pid()
    crowd = gateway.container.start(
        "python3", "-c",
        "import socket, time; there = ('127.0.0.1', 8080); "
        "crowd = [socket.create_connection(there) for _ in range(200)]; "
        "print('there', flush=True); time.sleep(60)",
    )  # fmt: skip
    try:
        assert crowd.stdout is not None
        crowd.stdout.readline()
        line = gateway.told("open files", cursor)
    finally:
        gateway.container.end(crowd)
    took = seconds_until(lambda: gateway.status() == 200, "answering again")
    assert gateway.pid() == pid, "it was restarted"
    return f"{shlex.quote(line)}; answered {took:.1f} s after the crowd had left"


def clock_jumps(gateway: Gateway) -> str:
    """
    The clock of the daemon jumps two hours ahead and back: it soon mints by the new time.

    Ahead it goes on. Back, what it waits for lies two hours away, and so does its word to the
    watchdog, which starts it again. It must have given its word ahead: uvloop does not look at the
    clock before.
    """
    gateway.container.write(FAKE_TIME, "+0\n")
    gateway.drop_in(
        "[Service]\nWatchdogSec=3s\n"
        "Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 "
        f"FAKETIME_TIMESTAMP_FILE={FAKE_TIME} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\n"
    )
    gateway.systemctl("restart", "authotron.service")
    seen = []
    for jump in (0, 7200, 0):
        pid = gateway.pid()
        gateway.container.write(FAKE_TIME, f"{jump:+d}\n")
        took = seconds_until(
            partial(_minted_by, gateway, jump),
            f"minted by a clock that is {jump:+d} s off",
        )
        again = "" if gateway.pid() == pid else ", by a new process"
        gateway.container.run("sleep", "2")  # more than half of WatchdogSec
        seen.append(f"{jump:+d} s: right after {took:.1f} s{again}")
    return "; ".join(seen)


def _minted_by(gateway: Gateway, jump: int) -> bool:
    """Whether what is minted is of a clock that is C{jump} seconds off, or nearly."""
    claims = gateway.claims()
    return claims is not None and abs(claims["iat"] - gateway.clock() - jump) < 60


def disk_full(gateway: Gateway) -> str:
    """With no room under /var/lib no token can be made: 503. All else goes on; with room it can."""
    run = gateway.container.run
    gateway.systemctl("stop", "authotron.service")
    run(
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=256k,uid=authotron,gid=authotron,mode=700",
        "tmpfs",
        "/var/lib/authotron",
    )
    try:
        return _disk_full(gateway)
    finally:
        gateway.container.try_("systemctl", "stop", "authotron.service")
        run("umount", "/var/lib/authotron")


def _disk_full(gateway: Gateway) -> str:
    store = {"type": "sqlite", "path": "/var/lib/authotron/tokens.sqlite"}
    gateway.configure(store=store)
    gateway.systemctl("start", "authotron.service")
    cursor = gateway.now()
    until(lambda: _create(gateway) == "201", "storing tokens")
    gateway.container.try_(
        "dd", "if=/dev/zero", "of=/var/lib/authotron/filling", "bs=1k", "count=1000"
    )
    answers = [_create(gateway) for _ in range(40)]
    assert set(answers) <= {"201", "503"}, answers
    assert answers[-1] == "503", answers
    assert gateway.status() == 200
    line = gateway.told("full", cursor)
    gateway.container.run("rm", "/var/lib/authotron/filling")
    until(lambda: _create(gateway) == "201", "storing tokens again")
    return f"503 for tokens, 200 for alice, {shlex.quote(line)}; 201 again with room"


def _create(gateway: Gateway) -> str:
    return gateway.ask(
        "--user", "alice:wonder", "--request", "POST", "--header", "Content-Type: application/json",
        "--data", "{}", url="http://127.0.0.1:8080/tokens",
    ).split(" ")[1]  # fmt: skip


def slow_request(gateway: Gateway) -> str:
    """A request that takes 3 s is answered although the service is stopped meanwhile."""
    gateway.container.run("rm", "-f", "/var/lib/authotron/arrived")
    slow = gateway.container.start(
        "curl", "--silent", "--include", "--user", "slow:x", "http://127.0.0.1:8080/authenticate"
    )
    until(
        lambda: not gateway.container.try_("test", "-e", "/var/lib/authotron/arrived").returncode,
        "arrived",
    )
    gateway.systemctl("stop", "authotron.service", "authotron.socket")
    answer = slow.communicate(timeout=DEADLINE)[0]
    assert answer.startswith("HTTP/1.1 200"), answer
    return "200, then it ended"


def under_load_reload(gateway: Gateway) -> str:
    """No request through nginx fails while the configuration is read again and again."""
    load = gateway.under_load(RATE, 10)
    for _ in range(5):
        time.sleep(1)  # noqa: TID251 - the load goes on meanwhile
        gateway.systemctl("reload", "authotron.service")
    return _told(load.ended())


def under_load_restart(gateway: Gateway) -> str:
    """No request through nginx fails while the service is restarted."""
    load, before = gateway.under_load(RATE, 12), gateway.pid()
    for _ in range(2):
        time.sleep(2)  # noqa: TID251 - as above
        gateway.systemctl("restart", "authotron.service")
    assert gateway.pid() != before
    return _told(load.ended())


def under_load_rolling(gateway: Gateway) -> str:
    """No request through nginx fails while workers are replaced."""
    gateway.configure(server={**SERVER, "workers": 2})
    gateway.systemctl("restart", "authotron.service")
    workers = gateway.children()
    load = gateway.under_load(RATE, 12)
    for _ in range(2):
        time.sleep(2)  # noqa: TID251 - as above
        gateway.systemctl("reload", "authotron.service")
    assert not set(workers) & set(gateway.children()), "they were not replaced"
    return _told(load.ended())


def under_load_upgrade(gateway: Gateway) -> str:
    """No request through nginx fails while the package is upgraded; then the new version runs."""
    before = gateway.version()
    load = gateway.under_load(RATE, 25)
    time.sleep(2)  # noqa: TID251 - as above
    gateway.install(gateway.newer, "-o", "Dpkg::Options::=--force-confold")
    after = gateway.version()
    assert after != before, after
    told = _told(load.ended())
    gateway.install(gateway.package, "--allow-downgrades", "-o", "Dpkg::Options::=--force-confold")
    return f"{before} to {after}: {told}"


def _told(found: dict[str, object]) -> str:
    return (
        f"{found['sent']} requests at {found['rate']}/s, 0 failed, "
        f"median {found['median_ms']} ms, slowest {found['slowest_ms']} ms"
    )

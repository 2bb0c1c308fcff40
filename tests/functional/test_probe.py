"""C{authotron probe} in front of real proxies: with the shipped examples, and with broken ones."""

from __future__ import annotations

import atexit
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.broken import BROKEN
from tests.functional.daemon import USERS, Daemon, environment, free_port
from tests.functional.proxies import envoy, shipped
from tests.functional.proxies.shipped import Proxy
from tests.functional.test_client_certificates import DATES
from tests.functional.test_tokens import bearer, new
from tests.mtls.issuing import pem, root
from tests.waiting import DEADLINE, until

HEADER = "X-SSL-Client-Cert"
LIMITED = "203.0.113.0/24"
NO_GATEWAY = 1
"""A port at which no gateway listens."""


KINDS: dict[str, type[Proxy]] = {
    "nginx": shipped.Nginx,
    "apache": shipped.Apache,
    "caddy": shipped.Caddy,
    "haproxy": shipped.HAProxy,
    "traefik": shipped.Traefik,
    "envoy": envoy.Envoy,
    "envoy by HTTP": envoy.EnvoyByHttp,
}


@frozen
class Stage:
    """
    A gateway with every entrance, an echo backend, and files with credentials.

    @ivar gateway: the port of each entrance.
    """

    gateway: dict[str, int]
    echo: int
    good: Path
    limited: Path
    certificate: Path


@cache
def stage() -> Stage:
    """Return the gateway and the echo backend for all tests."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    ports = {"http": free_port(), "grpc": free_port(), "fastcgi": free_port()}
    others = [name for name in ports if name != "http"]
    listen = [f"{name}:tcp:{ports[name]}:interface=127.0.0.1" for name in others]
    authority, authorities = root("clients", **DATES), folder / "clients.pem"
    authorities.write_bytes(authority.pem)
    mtls = {"type": "mtls", "name": "m", "realm": "machines", "ca_file": str(authorities)}
    over: dict[str, Any] = {
        "store": {"type": "memory"},
        "include_legacy_headers": True,
        "providers": [{"name": "local", "type": "plain", "realm": "here", "users": USERS}, mtls],
    }
    # Every contract names the header, as an operator would who forgets the proxy.
    proxies = ("nginx", "apache", "caddy", "haproxy", "traefik", "envoy")
    contracts = [{"type": each, "headers": {"certificate": HEADER}} for each in proxies]
    daemon = Daemon(folder, port=ports["http"])
    daemon.configure(server={"listen": listen, "contracts": contracts}, **over).start()
    atexit.register(daemon.stop)
    echo = free_port()
    process = subprocess.Popen(
        [*_COMMAND, "--echo", str(echo)], stderr=subprocess.DEVNULL, env=environment()
    )
    atexit.register(process.wait)
    atexit.register(process.terminate)
    until(lambda: _listens(echo), "listening")
    token = new(ports["http"], networks=[LIMITED])["token"]
    return Stage(
        ports,
        echo,
        _written(folder / "good", wire.basic("alice", "wonder")),
        _written(folder / "limited", bearer(token)["Authorization"]),
        _written(folder / "robot.pem", pem(authority.issue(**DATES))),
    )


_COMMAND = (sys.executable, "-m", "authotron", "probe")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        return wire.ask(port, "/").status == 404
    return False


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def probe(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command, and wait for its end."""
    return subprocess.run(
        [*_COMMAND, *words],
        capture_output=True,
        check=False,
        env=environment(),
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=DEADLINE,
    )


class ProbeCase(SynchronousTestCase):
    """Starts proxies, and attacks them."""

    def start(self, name: str, changes: Mapping[str, str], *, is_down: bool = False) -> Proxy:
        kind = KINDS[name]
        gateway = NO_GATEWAY if is_down else stage().gateway[kind.entrance]
        started = kind(Path(self.mktemp()), gateway, stage().echo, changes).start()
        # The script waits a second until the process is gone; meanwhile the next test runs.
        self.addCleanup(Thread(target=started.stop).start)
        return started

    def report(self, proxy: Proxy, path: str = "/", *, is_down: bool = False) -> dict[str, Any]:
        """Attack a proxy, and return the report."""
        url = f"http://127.0.0.1:{proxy.port}{path}"
        good, limited, certificate = stage().good, stage().limited, stage().certificate
        up = ["--credential-file", str(good), "--limited-token-file", str(limited)]
        up += ["--certificate-file", str(certificate)]
        done = probe("--json", *(["--gateway-down"] if is_down else up), url)
        found: dict[str, Any] = json.loads(done.stdout)
        self.assertNotIn("error", found)
        self.assertEqual(done.returncode, 0 if found["good"] else 1, done.stderr)
        return found


class ShippedTests(ProbeCase):
    """The shipped examples."""

    def assert_closed(self, proxy: str, named: str | None) -> None:
        """Nothing gets past a proxy, whether the gateway is up or down, and all was tried."""
        report = self.report(self.start(proxy, {}))
        self.assertEqual(report["leaks"], [])
        self.assertEqual(report["proxy"], named)
        self.assertEqual([each["attack"] for each in report["not_tried"]], ["gateway-down"])
        self.assertGreater(report["requests"], 150)
        report = self.report(self.start(proxy, {}, is_down=True), is_down=True)
        self.assertEqual((report["leaks"], report["attacks"]), ([], ["gateway-down"]))

    def test_nginx(self) -> None:
        """Nothing gets past nginx."""
        self.assert_closed("nginx", "nginx")

    def test_apache(self) -> None:
        """Nothing gets past Apache."""
        self.assert_closed("apache", "apache")

    def test_caddy(self) -> None:
        """Nothing gets past Caddy."""
        self.assert_closed("caddy", "caddy")

    def test_haproxy(self) -> None:
        """Nothing gets past HAProxy, which does not say what it is."""
        self.assert_closed("haproxy", None)

    def test_traefik(self) -> None:
        """Nothing gets past Traefik, which does not say what it is."""
        self.assert_closed("traefik", None)

    def test_envoy(self) -> None:
        """Nothing gets past Envoy that asks by gRPC."""
        self.assert_closed("envoy", "envoy")

    def test_envoy_by_http(self) -> None:
        """Nothing gets past Envoy that asks by HTTP."""
        self.assert_closed("envoy by HTTP", "envoy")


class BrokenTests(ProbeCase):
    """Each of the mistakes in F{broken.py} is found by its name, and nothing else is reported."""

    def assert_found(self, name: str) -> None:
        broken = BROKEN[name]
        proxy = self.start(broken.proxy, broken.changes, is_down=broken.is_down)
        report = self.report(proxy, broken.path, is_down=broken.is_down)
        leaks = {each["attack"]: set(each["leaked"]) for each in report["leaks"]}
        self.assertEqual(set(leaks), set(broken.leaks), leaks)
        for attack, leaked in broken.leaks.items():
            self.assertEqual(leaked - leaks[attack], set(), attack)


def _test_of(name: str) -> Callable[[BrokenTests], None]:
    def test(self: BrokenTests) -> None:
        self.assert_found(name)

    test.__doc__ = f"The mistake {name} is found."
    return test


for _name in BROKEN:
    setattr(BrokenTests, f"test_{_name}", _test_of(_name))

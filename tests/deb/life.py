"""What an administrator does with the package, from its installation to its end."""

from __future__ import annotations

import re
import shlex
import time

from tests.deb.container import Failed
from tests.deb.gateway import CONFIGURATION, Gateway
from tests.waiting import until

TLS_BACKEND = """
import http.server, ssl
class Yes(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"username": "carol", "roles": []}')
    do_POST = do_GET
server = http.server.HTTPServer(("127.0.0.1", 8443), Yes)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/etc/tls/certificate.pem", "/etc/tls/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def install(gateway: Gateway) -> str:
    """`apt install ./authotron.deb` in a clean Debian takes less than 20 s, and it runs."""
    began = time.monotonic()
    gateway.install(gateway.package)
    took = time.monotonic() - began
    assert took < 20, f"it took {took:.1f} s"
    active = gateway.systemctl("is-active", "authotron.service", "authotron.socket")
    assert active == "active\nactive", active
    assert gateway.systemctl("is-enabled", "authotron.service") == "enabled"
    assert gateway.status() == 401, "a fresh one lets nobody in"
    return f"{took:.1f} s, active and enabled, lets nobody in"


def files(gateway: Gateway) -> str:
    """Secrets are for those who need them, and what the package owns is as it was packed."""
    run = gateway.container.run
    modes = run(
        "stat", "--format=%a %U:%G %n", CONFIGURATION, "/etc/authotron/credentials",
        "/etc/authotron/credentials/jwt-secret", "/var/lib/authotron",
    ).splitlines()  # fmt: skip
    assert modes == [
        f"640 root:authotron {CONFIGURATION}",
        "2750 root:authotron /etc/authotron/credentials",
        "640 root:authotron /etc/authotron/credentials/jwt-secret",
        "700 authotron:authotron /var/lib/authotron",
    ], modes
    assert len(run("cat", "/etc/authotron/credentials/jwt-secret")) == 64
    changed = run("dpkg", "--verify", "authotron")
    assert not changed, f"not as packed: {changed}"
    compiled = int(run("sh", "-c", "find /usr/lib/authotron -name '*.pyc' | wc -l"))
    assert compiled > 500, compiled
    return f"configuration and secret 640 root:authotron, as packed, {compiled} modules compiled"


def first_answer(gateway: Gateway) -> str:
    """From a stopped service to its first answer in less than 1 s, if nothing else is going on."""
    times = [_first_answer(gateway) for _ in range(3)]
    assert min(times) < 1, f"it took {times}"
    return f"{min(times):.2f} s, of 3 the fastest; the slowest {max(times):.2f} s"


def _first_answer(gateway: Gateway) -> float:
    gateway.container.try_("systemctl", "reset-failed", "authotron.service", "authotron.socket")
    gateway.systemctl("stop", "authotron.service", "authotron.socket")
    began = time.monotonic()
    gateway.systemctl("start", "authotron.service")
    assert gateway.status() == 401
    return time.monotonic() - began


def by_socket(gateway: Gateway) -> str:
    """The first connection starts a service that was not running."""
    gateway.systemctl("stop", "authotron.service")
    began = time.monotonic()
    assert gateway.status() == 401
    return f"answered after {time.monotonic() - began:.2f} s"


def edit(gateway: Gateway) -> str:
    """One edited file and a reload: alice gets in, by TCP, by the UNIX socket and through nginx."""
    before = gateway.pid()
    gateway.add_part()
    gateway.configure()
    gateway.systemctl("restart", "authotron.service")
    assert gateway.pid() != before
    assert gateway.status() == 200
    through = gateway.ask("--user", "alice:wonder", "--unix-socket", "/run/authotron.sock")
    assert through.startswith("HTTP/1.1 200"), through
    mode = gateway.container.run("stat", "--format=%a %G", "/run/authotron.sock")
    assert mode == "660 www-data", mode
    assert gateway.status(url="http://127.0.0.1/") == 200
    assert gateway.status("alice:wrong", url="http://127.0.0.1/") == 401
    return "200 by TCP, UNIX socket (660 www-data) and nginx"


def event_loop(gateway: Gateway) -> str:
    """The service runs on uvloop, and on epoll if F{/etc/default/authotron} says so."""
    defaults = "/etc/default/authotron"
    for text, loop in (("", "uvloop"), ("AUTHOTRON_LOOP=epoll\n", "epoll")):
        gateway.container.write(defaults, text)
        before = gateway.now()
        gateway.systemctl("restart", "authotron.service")
        assert gateway.status() == 200
        gateway.told(f"({loop})", before)
    gateway.container.run("rm", defaults)
    return "uvloop by default, epoll by AUTHOTRON_LOOP"


def hardened(gateway: Gateway) -> str:
    """Systemd rates the unit at 1.5 or better and finds nothing wrong with it."""
    verify = gateway.container.try_("systemd-analyze", "verify", "authotron.service").stdout
    wrong = [line for line in verify.splitlines() if "authotron" in line and "man " not in line]
    assert not wrong, wrong
    report = gateway.container.run(
        "systemd-analyze", "security", "--no-pager", "--threshold=15", "authotron.service"
    )
    rate = re.search(r"Overall exposure level for authotron.service: (\S+)", report)
    assert rate, report
    return f"exposure {rate[1]}"


def speaks_tls(gateway: Gateway) -> str:
    """TLS works inside the sandbox, both ways (MemoryDenyWriteExecute would break it)."""
    run = gateway.container.run
    run(
        "sh", "-c",
        "mkdir -p /etc/tls && cd /etc/tls && openssl req -x509 -newkey rsa:2048 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        " -keyout key.pem -out certificate.pem 2>/dev/null"
        " && chgrp authotron key.pem && chmod 640 key.pem",
    )  # fmt: skip
    gateway.container.write("/etc/tls/backend.py", TLS_BACKEND)
    backend = gateway.container.start("python3", "/etc/tls/backend.py")
    try:
        until(lambda: "8443" in run("ss", "-Hltn"), "listening")
        remote = {
            "name": "remote", "type": "efas-api", "realm": "far", "uri": "https://localhost:8443/",
            "ca_file": "/etc/tls/certificate.pem",
        }  # fmt: skip
        server = {
            "listen": [
                "ssl:8444:interface=127.0.0.1:privateKey=/etc/tls/key.pem:certKey=/etc/tls/certificate.pem"
            ]
        }
        gateway.configure(providers=[remote], server=server)
        gateway.systemctl("restart", "authotron.service")
        answer = gateway.ask(
            "--header", "Authorization: Bearer abc", "--cacert", "/etc/tls/certificate.pem",
            url="https://localhost:8444/authenticate",
        )  # fmt: skip
        assert answer.startswith("HTTP/1.1 200"), answer
    finally:
        gateway.container.end(backend)
    return "200: https from the client, https to the provider"


def reload(gateway: Gateway) -> str:
    """A good configuration is in use when `systemctl reload` returns, and so is a new secret."""
    pid, key = gateway.pid(), gateway.ask("--user", "bob:builder")
    assert "401" in key
    bob = {"username": "bob", "password_file": "credentials/bob"}
    gateway.configure(
        providers=[{"name": "local", "type": "plain", "realm": "here", "users": [bob]}]
    )
    gateway.container.write("/etc/authotron/credentials/bob", "builder\n")
    for _ in range(5):
        gateway.systemctl("reload", "authotron.service")
        assert gateway.status("bob:builder") == 200
        assert gateway.status("alice:wonder") == 401
        gateway.configure()
        gateway.systemctl("reload", "authotron.service")
        assert gateway.status("alice:wonder") == 200
        gateway.configure(
            providers=[{"name": "local", "type": "plain", "realm": "here", "users": [bob]}]
        )
    assert gateway.pid() == pid, "it was restarted"
    return "10 of 10 in use at once, with a new credential, in the same process"


def bad_reload(gateway: Gateway) -> str:
    """A bad configuration makes the reload fail, says why, and changes nothing."""
    pid, cursor = gateway.pid(), gateway.now()
    gateway.configure(provders=[])
    done = gateway.container.try_("systemctl", "reload", "authotron.service")
    assert done.returncode != 0, "it did not fail"
    line = gateway.told("provders", cursor)
    assert gateway.pid() == pid
    assert gateway.status() == 200
    gateway.usual()
    return f"refused, {shlex.quote(line)}, still answers"


def bad_restart(gateway: Gateway) -> str:
    """With a bad configuration it does not start, is not tried again, and says why."""
    cursor = gateway.now()
    gateway.configure(provders=[])
    done = gateway.container.try_("systemctl", "restart", "authotron.service")
    assert done.returncode != 0, "it started"
    line = gateway.told("provders", cursor)
    status, restarts = gateway.shown("ExecMainStatus"), gateway.shown("NRestarts")
    assert (status, restarts) == ("78", "0"), (status, restarts)
    gateway.configure()
    gateway.systemctl("start", "authotron.service")
    assert gateway.status() == 200
    return f"status 78, no further attempt, {shlex.quote(line)}; mended and started: 200"


def bad_install(gateway: Gateway) -> str:
    """Installed over a bad configuration, all is well for apt; the service says what is wrong."""
    cursor = gateway.now()
    gateway.configure(provders=[])
    gateway.install(gateway.package, "--reinstall")
    gateway.told("provders", cursor)
    assert (
        gateway.container.run("dpkg-query", "-W", "-f=${Status}", "authotron")
        == "install ok installed"
    )
    gateway.usual()
    return "installed, the unit failed with 78 and the mistake in the journal"


def port_taken(gateway: Gateway) -> str:
    """A port that somebody else has is named; when it is free again, it starts."""
    gateway.systemctl("stop", "authotron.service", "authotron.socket")
    return _refused_while_taken(gateway, 8080)


def metrics_port_taken(gateway: Gateway) -> str:
    """The same for the port that the gateway opens by itself."""
    gateway.systemctl("stop", "authotron.service")
    return _refused_while_taken(gateway, 9090)


def _refused_while_taken(gateway: Gateway, port: int) -> str:
    run, command = gateway.container.run, ("python3", "-m", "http.server", "--bind", "127.0.0.1")
    thief = gateway.container.start(*command, str(port))
    try:
        until(lambda: f":{port}" in run("ss", "-Hltn"), "taken")
        cursor = gateway.now()
        done = gateway.container.try_("systemctl", "start", "authotron.service")
        assert done.returncode != 0, "it started"
        line = gateway.told("in use", cursor)
    finally:
        gateway.container.end(thief)
    gateway.usual()
    return shlex.quote(line)


def keeps_edits(gateway: Gateway) -> str:
    """An upgrade keeps an edited configuration and a unit that was switched off."""
    run = gateway.container.run
    before = run("cat", CONFIGURATION)
    secret = run("cat", "/etc/authotron/credentials/jwt-secret")
    gateway.systemctl("disable", "authotron.service")
    gateway.install(gateway.newer, "--allow-downgrades", "-o", "Dpkg::Options::=--force-confold")
    assert run("cat", CONFIGURATION) == before
    assert "newer" in run("cat", f"{CONFIGURATION}.dpkg-dist")
    assert run("cat", "/etc/authotron/credentials/jwt-secret") == secret
    assert (
        gateway.container.try_("systemctl", "is-enabled", "authotron.service").stdout.strip()
        == "disabled"
    )
    gateway.systemctl("enable", "authotron.service")
    gateway.install(gateway.package, "--allow-downgrades", "-o", "Dpkg::Options::=--force-confold")
    assert run("cat", CONFIGURATION) == before
    return "configuration, secret and `disable` kept; the new default beside it as .dpkg-dist"


def purge(gateway: Gateway) -> str:
    """
    Removing keeps the configuration, purging leaves nothing, and it can be installed again.

    The folder of the state is a file system of its own meanwhile, which cannot be removed.
    """
    run = gateway.container.run
    run("apt-get", "remove", "--yes", "--quiet", "authotron")
    assert "wonder" in run("cat", CONFIGURATION)
    assert gateway.status() == 0
    run("find", "/var/lib/authotron", "-mindepth", "1", "-delete")
    run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/authotron")
    run("touch", "/var/lib/authotron/tokens.sqlite")
    run("apt-get", "purge", "--yes", "--quiet", "authotron")
    assert not run("ls", "--almost-all", "/var/lib/authotron")
    run("umount", "/var/lib/authotron")
    run("rmdir", "/var/lib/authotron")
    left = run(
        "sh", "-c",
        "find / -xdev -name '*authotron*' -not -path '/proc/*' -not -path '/root/*' "
        "-not -path '/usr/local/*' -not -path '/etc/nginx/*' -not -path '/var/log/*' "
        "-not -path '/etc/authotron-test-root'",
    )  # fmt: skip
    assert not left, f"left behind: {left}"
    gateway.install(gateway.package)
    assert gateway.status() == 401
    return "nothing left; installed again, answers"


def autopkgtest(gateway: Gateway) -> str:
    """The tests that the package itself brings."""
    report = gateway.container.run(
        "autopkgtest", "--ignore-restrictions=isolation-container",
        f"/root/{gateway.package.name}", "/root/source", "--", "null",
        seconds=300,
    )  # fmt: skip
    passed = re.findall(r"^(\S+) +PASS", report, re.MULTILINE)
    if not passed or re.search(r"(FAIL|SKIP)", report):
        raise Failed(report)
    return f"passed: {', '.join(passed)}"

"""The gateway in a container, as its administrator and its clients see it."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

from attrs import define

from tests.deb.container import Container, Failed
from tests.waiting import until

CONFIGURATION = "/etc/authotron/authotron.yaml"
DROP_IN = "/etc/systemd/system/authotron.service.d/test.conf"
SERVER = {"listen": ["systemd"]}
"""The sockets that F{authotron.socket} holds."""
CHECKOUT = Path(__file__).parents[2]
PART = """
from typing import Literal
from attrs import define, field
from twisted.internet.task import deferLater
from zope.interface import implementer
from authotron.plugin import (
    Affinity, Authentication, Identity, IProvider, PluginConfig, Rejected
)

class Config(PluginConfig):
    type: Literal["awkward"]

@implementer(IProvider)
@define(eq=False)
class Awkward:
    name: str
    realm: str
    world: object
    type: str = field(default="awkward", init=False)
    scheme: str = field(default="basic", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential):
        return Affinity.POSSIBLE

    async def authenticate(self, credential):
        username, _ = credential.username_and_password()
        if username == "blocker":
            import time
            time.sleep(120)
        if username != "slow":
            raise Rejected("unknown user")
        open("/var/lib/authotron/arrived", "w").close()
        await deferLater(self.world.clock, 3)
        return Authentication(Identity(self.realm, username))

def make(config, world):
    return Awkward(config.name, config.realm, world)
"""
"""A provider that an administrator adds: C{slow} takes 3 seconds, C{blocker} stops everything."""


@define(eq=False)
class Gateway:
    """
    The service that the package installs.

    @ivar package: the package under test.
    @ivar newer: the same with a higher version, and another default configuration.
    """

    container: Container
    package: Path
    newer: Path

    # --- the package ---

    def install(self, package: Path, *options: str) -> None:
        """What an administrator types, with the file in the current folder."""
        (self.container.root / "root" / package.name).write_bytes(package.read_bytes())
        self.container.run(
            "apt-get", "install", "--yes", "--quiet", *options, f"/root/{package.name}"
        )

    def version(self) -> str:
        """What the daemon that runs says about itself."""
        found = re.search(r'authotron_build_info{version="([^"]+)"}', self.metrics())
        assert found, "no version among the metrics"
        return found[1]

    # --- the configuration ---

    def configure(self, **over: Any) -> None:
        """Edit the configuration: alice gets in, and what is given is laid over that."""
        alice = {"username": "alice", "password": "wonder", "roles": ["reader"]}
        usual: dict[str, Any] = {
            "version": "2.0.0",
            "server": SERVER,
            "metrics": {"host": "127.0.0.1", "port": 9090},
            "jwt": {"iss": "here", "exp": 3600, "secret_file": "credentials/jwt-secret"},
            "providers": [
                {"name": "local", "type": "plain", "realm": "here", "users": [alice]},
                {"name": "trouble", "type": "awkward", "realm": "there"},
            ],
        }
        self.container.write(CONFIGURATION, json.dumps({**usual, **over}, indent=1))

    def add_part(self) -> None:
        """Install a provider of another package, where the documentation says."""
        folder = "/usr/local/lib/authotron"
        self.container.write(f"{folder}/awkward_part.py", PART)
        metadata = "Metadata-Version: 2.1\nName: awkward\nVersion: 1\n"
        self.container.write(f"{folder}/awkward-1.dist-info/METADATA", metadata)
        entry = "[authotron.providers]\nawkward = awkward_part\n"
        self.container.write(f"{folder}/awkward-1.dist-info/entry_points.txt", entry)

    def drop_in(self, text: str) -> None:
        """Change the unit as C{systemctl edit} does; no text takes the change back."""
        if text:
            self.container.write(DROP_IN, text)
        else:
            self.container.run("rm", "-f", DROP_IN)
        self.container.run("systemctl", "daemon-reload")

    # --- the service ---

    def systemctl(self, *arguments: str) -> str:
        return self.container.run("systemctl", *arguments)

    def shown(self, name: str) -> str:
        """A property of the unit."""
        return self.systemctl("show", "--value", "--property", name, "authotron.service")

    def usual(self) -> None:
        """Back to a service that runs, whatever was done to it."""
        self.drop_in("")
        self.configure()
        self.container.try_("systemctl", "reset-failed", "authotron.service", "authotron.socket")
        self.systemctl("restart", "authotron.service")
        assert self.status() == 200

    def pid(self) -> int:
        return int(self.shown("MainPID"))

    def children(self) -> list[int]:
        """The workers."""
        return [
            int(pid) for pid in self.container.try_("pgrep", "-P", str(self.pid())).stdout.split()
        ]

    def now(self) -> str:
        """A place in the journal."""
        line = self.container.run("journalctl", "--lines=0", "--show-cursor", "--quiet")
        return line.rpartition("-- cursor: ")[2]

    def journal(self, cursor: str) -> str:
        """What the unit has told since then."""
        units = ["--unit=authotron.service", "--unit=authotron.socket"]
        return self.container.run("journalctl", "--quiet", f"--after-cursor={cursor}", *units)

    def told(self, text: str, cursor: str) -> str:
        """Wait for a line in the journal."""
        lines: list[str] = []

        def found() -> bool:
            lines[:] = [line for line in self.journal(cursor).splitlines() if text in line]
            return bool(lines)

        until(
            found,
            f"in the journal: {text}",
            otherwise=lambda: self.journal(cursor),
        )
        return lines[0].partition("]: ")[2]

    # --- its clients ---

    def ask(self, *arguments: str, url: str = "http://127.0.0.1:8080/authenticate") -> str:
        """The head of an answer."""
        return self.container.try_(
            "curl", "--silent", "--show-error", "--include", "--max-time", "20", *arguments, url
        ).stdout

    def status(
        self, user: str = "alice:wonder", url: str = "http://127.0.0.1:8080/authenticate"
    ) -> int:
        """The status of an answer, or 0 if there is none."""
        found = re.match(r"HTTP/1.1 (\d+)", self.ask("--user", user, url=url))
        return int(found[1]) if found else 0

    def claims(self) -> dict[str, Any] | None:
        """What a backend would read about alice, if she gets in."""
        answer = self.ask("--user", "alice:wonder")
        found = re.search(r"(?im)^authorization: Bearer (\S+)", answer)
        if found is None:
            return None
        body = found[1].split(".")[1]
        claims: dict[str, Any] = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return claims

    def clock(self) -> int:
        """What time it is."""
        return int(self.container.run("date", "+%s"))

    def metrics(self) -> str:
        return self.container.run("curl", "--silent", "http://127.0.0.1:9090/metrics")

    # --- nginx in front ---

    def put_nginx_in_front(self) -> None:
        """The example of the documentation, with a backend that says OK."""
        site = (CHECKOUT / "etc" / "nginx" / "authotron.conf").read_text()
        backend = 'server { listen 127.0.0.1:8000; access_log off; return 200 "OK"; }\n'
        self.container.write("/etc/nginx/conf.d/authotron.conf", site + backend)
        self.container.run(
            "sh",
            "-c",
            "rm -f /etc/nginx/sites-enabled/default; "
            "sed -i -e 's/worker_connections .*/worker_connections 16384;/' "
            "-e '1i worker_rlimit_nofile 20000;' /etc/nginx/nginx.conf; "
            "nginx -t && systemctl restart nginx",
        )
        script = (CHECKOUT / "tests" / "deb" / "load.py").read_text()
        self.container.write("/root/load.py", script)

    def under_load(self, rate: int, seconds: float) -> Load:
        """Begin to ask through nginx."""
        command = ["python3", "/root/load.py", "80", "/", str(rate), str(seconds)]
        return Load(self.container.start(*command))


@define(eq=False)
class Load:
    """Requests that are being sent."""

    process: Any

    def ended(self) -> dict[str, Any]:
        """
        What came of them.

        @raise Failed: one was not answered by 200.
        """
        output = self.process.communicate(timeout=120)[0]
        try:
            found: dict[str, Any] = json.loads(output.splitlines()[-1])
        except (ValueError, IndexError):
            raise Failed(f"the load ended with\n{output}") from None
        if set(found["outcomes"]) != {"200"}:
            raise Failed(f"not all requests were answered: {found}")
        return found

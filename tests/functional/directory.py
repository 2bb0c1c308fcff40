"""The real slapd, and failures of an LDAP server that slapd does not offer."""

from __future__ import annotations

import atexit
import re
import shutil
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from attrs import define, field

from tests.certificates import Issued
from tests.functional import servers
from tests.functional.daemon import absolute, free_pair, needed
from tests.functional.listening import Relay
from tests.waiting import DEADLINE

BASE = "dc=example,dc=org"
PEOPLE = f"ou=people,{BASE}"
ACCOUNT = {"bind_dn": f"cn=authotron,{BASE}", "ldap_password": "svc", "search_base": BASE}
MANY = 5000
"""So many groups has zelda."""


@define(eq=False)
class Slapd:
    """
    A directory with the entries of C{tests/servers}.

    @ivar certificate: server, expired or elsewhere.
    @ivar clients: C{check_peer} if it demands a client certificate.
    """

    folder: Path = field(converter=absolute)
    certificate: str = "server"
    clients: str = "never"
    port: int = field(factory=free_pair)

    def install(self) -> Slapd:
        needed("slapd")
        self._run("install", str(self.folder))
        return self

    def start(self) -> Slapd:
        self._run("start", str(self.folder), str(self.port))
        return self

    def stop(self) -> None:
        self._run("stop", str(self.folder))

    @property
    def uri(self) -> str:
        return f"ldap://localhost:{self.port}"

    @property
    def tls_uri(self) -> str:
        return f"ldaps://localhost:{self.port + 1}"

    @property
    def authority(self) -> str:
        """Return the file with the CA certificate of the server."""
        return str(self.folder / "tls/ca.pem")

    @property
    def for_clients(self) -> dict[str, str]:
        """Return the configuration keys of a client certificate."""
        tls = self.folder / "tls"
        return {
            "client_certificate_file": str(tls / "client.pem"),
            "client_key_file": str(tls / "client.key"),
        }

    def log(self) -> str:
        return (self.folder / "slapd.log").read_text(errors="backslashreplace")

    def open_connections(self) -> int:
        """Return the number of open connections according to the log of slapd."""
        lines = self.log().splitlines()
        return sum(" ACCEPT from " in each for each in lines) - sum(
            re.search(r" fd=\d+ closed", each) is not None for each in lines
        )

    def _run(self, *words: str) -> None:
        shown = {"CERTIFICATE": self.certificate, "CLIENTS": self.clients}
        servers.run("slapd", *words, **shown)


@cache
def installed() -> Path:
    """Return a loaded directory that is not running, to be copied."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return Slapd(folder / "slapd").install().folder


def another(
    folder: Path,
    certificate: str = "server",
    clients: str = "never",
    issued: Issued | None = None,
) -> Slapd:
    """
    Start a directory for one test.

    @param issued: what it shows as the C{certificate} of that name.
    """
    original = installed()
    shutil.copytree(original, folder)
    for each in (folder / "slapd-data/config").rglob("*.ldif"):
        text = each.read_text()
        if str(original) in text:
            each.chmod(0o600)
            each.write_text(text.replace(str(original), str(folder.absolute())))
    if issued is not None:
        (folder / f"tls/{certificate}.pem").write_bytes(issued.certificate_pem())
        (folder / f"tls/{certificate}.key").write_bytes(issued.key_pem())
    return Slapd(folder, certificate, clients).start()


@cache
def directory() -> Slapd:
    """Return a running directory, for all tests that do not change it."""
    slapd = Slapd(installed()).start()
    atexit.register(slapd.stop)
    return slapd


def provider(slapd: Slapd, realm: str, **over: Any) -> dict[str, Any]:
    """Return a configuration section of an LDAP provider that is patient with slow machines."""
    usual = {"type": "ldap", "name": f"directory of {realm}", "realm": realm, "uri": slapd.uri}
    patience = {"connect_timeout": DEADLINE / 4, "answer_timeout": DEADLINE / 2}
    return {**usual, **patience, **ACCOUNT, **over}


@define(eq=False)
class Scissors(Relay):
    """A relay that closes the connection after a number of bytes of the answer."""

    length: int
    cuts: int = 0

    def answer(self, server: socket.socket, client: socket.socket) -> None:
        left = self.length
        with suppress(OSError):
            while left and (piece := server.recv(left)):
                client.sendall(piece)
                left -= len(piece)
        if not left:
            self.cuts += 1
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

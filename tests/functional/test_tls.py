"""The daemon serves TLS itself, without a proxy."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import Daemon, free_port
from tests.waiting import DEADLINE


class TlsTests(SynchronousTestCase):
    """An endpoint C{ssl:}."""

    def test_negotiated(self) -> None:
        """A client that offers protocols, as browsers and curl do, gets HTTP/1.1 and its answer."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command, *names, *files], check=True, capture_output=True)
        port = free_port()
        where = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        daemon = Daemon(folder / "gateway").configure(
            server={"host": ..., "port": ..., "listen": [where]}
        )
        self.addCleanup(daemon.stop)
        daemon.launch()
        daemon.logged(f"serves at https://127.0.0.1:{port}")
        context = ssl.create_default_context(cafile=str(certificate))
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection(("127.0.0.1", port), DEADLINE)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            self.assertEqual(connection.selected_alpn_protocol(), "http/1.1")
            for _ in range(2):
                authorization = {"Authorization": wire.basic("alice", "wonder")}
                connection.sendall(wire.head("/authenticate", authorization))
                answer = wire.receive(connection)
                assert answer is not None
                self.assertEqual(answer.status, 200)

"""The fake gateway at a port of the loopback, for services in other processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from authotron.client.testing.fake_gateway import EVENTS, FakeGateway

_OK = 200


@contextmanager
def serve(gateway: FakeGateway, port: int = 0) -> Iterator[str]:
    """
    Serve a fake gateway while the C{with} block lasts, and give its URL.

    @param port: the port to listen on; by default a free one.
    """
    server = ThreadingHTTPServer(("127.0.0.1", port), _requests_of(gateway))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        gateway.events.close()
        server.shutdown()
        thread.join()
        server.server_close()


def _requests_of(gateway: FakeGateway) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        """One connection of a client to the fake gateway."""

        protocol_version = "HTTP/1.1"
        server_version, sys_version = "authotron", ""
        disable_nagle_algorithm = True

        def answer(self) -> None:
            """Answer a request of any method."""
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            # http.server changes a leading // of self.path to /, so the path is taken from the
            # request line.
            target = self.requestline.split()[1]
            found = gateway.answer(self.command, target, list(self.headers.items()))
            if found is not None and found.status == _OK and target.partition("?")[0] == EVENTS:
                self._stream()
                return
            if found is None:
                self.close_connection = True
                return
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            if self.command != "HEAD" and found.body:
                # The client closed the connection before it was answered.
                with suppress(ConnectionError):
                    self.wfile.write(found.body)

        def _stream(self) -> None:
            """Send events until the gateway or the client ends the stream."""
            self.close_connection = True
            self.send_response(_OK)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            with suppress(ConnectionError):
                for piece in gateway.events.stream():
                    self.wfile.write(piece)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by http.server
            """
            Suppress the log lines of the HTTP server, so that they do not appear among the output
            of the tests.
            """

    return Request

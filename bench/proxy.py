"""nginx in front of the servers, with the shipped example and with simpler configurations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import servers
from attrs import frozen

EXAMPLE = Path(__file__).resolve().parent.parent / "etc" / "nginx" / "authotron.conf"
EXAMPLE_UPSTREAM = "server 127.0.0.1:8080;\n    keepalive 32;"
PAGE = "page"
"""The path that clients request, and the file that the simple configurations serve."""

PLAIN = """
upstream gateway_{number} {{
    server {address};
    keepalive {pool};
    keepalive_requests 100000;
}}
server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
        auth_request /_auth;
        root {pages};
    }}
    location = /_auth {{
        internal;
        proxy_method {method};
        proxy_pass http://gateway_{number}/authenticate;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Content-Length "";
        proxy_pass_request_body off;
    }}
}}
"""

DEFAULT = """
server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
        auth_request /_auth;
        root {pages};
    }}
    location = /_auth {{
        internal;
        proxy_pass http://{address}/authenticate;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
    }}
}}
"""

CACHED = r"""proxy_read_timeout 15s;
        proxy_cache verdicts;
        proxy_cache_key "$http_authorization\n$http_x_auth_realm\n$host\n$remote_addr";
        proxy_cache_valid 200 5s;
        proxy_ignore_headers Cache-Control;
"""

MAIN = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/1;
    proxy_temp_path {folder}/2;
    fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4;
    scgi_temp_path {folder}/5;
    proxy_cache_path {cache} levels=1:2 keys_zone=verdicts:10m max_size=64m use_temp_path=off;
    server {{
        listen 127.0.0.1:{backend} backlog=1024;
        keepalive_requests 100000000;
        location / {{ return 200 "here\\n"; }}
    }}
{sites}
}}
"""


@frozen
class Site:
    """
    One server block of nginx.

    @ivar address: the server that is asked, as C{server} of an upstream writes it.
    @ivar way: C{plain} (a small file, and a pool of kept connections to the gateway), C{default}
        (a small file, and a new connection with HTTP/1.0 for each subrequest), C{example} (the
        shipped example), or C{cached} (the shipped example with the cache of docs/performance.md).
    @ivar pool: the number of idle connections that nginx keeps (C{keepalive}).
    """

    address: str
    way: str = "plain"
    method: str = "GET"
    pool: int = 128
    is_protected: bool = True

    def text(self, number: int, port: int, backend: int, pages: Path) -> str:
        """Return the configuration of the server block and of its upstream."""
        if self.way in ("plain", "default"):
            template = PLAIN if self.way == "plain" else DEFAULT
            values = {"address": self.address, "pool": self.pool, "method": self.method}
            text = template.format(number=number, port=port, pages=pages, **values)
        else:
            text = self._example(number, port, backend)
        return text if self.is_protected else text.replace("auth_request /_auth", "# /_auth")

    def _example(self, number: int, port: int, backend: int) -> str:
        text = EXAMPLE.read_text()
        changes = {
            EXAMPLE_UPSTREAM: f"server {self.address};\n    keepalive {self.pool};",
            "127.0.0.1:8000": f"127.0.0.1:{backend}",
            "listen 127.0.0.1:80;": f"listen 127.0.0.1:{port} backlog=1024;",
            "http://authotron/": f"http://gateway_{number}/",
            "upstream authotron": f"upstream gateway_{number}",
            "$authotron_": f"$gateway_{number}_",
            "//backend": f"//backend_{number}",
            "upstream backend": f"upstream backend_{number}",
        }
        if self.way == "cached":
            changes["proxy_read_timeout 15s;"] = CACHED
        for old, new in changes.items():
            if old not in text:
                raise LookupError(f"{EXAMPLE}: {old!r} expected")
            text = text.replace(old, new)
        return text


@contextmanager
def nginx(
    folder: Path, sites: Mapping[str, Site], core: str
) -> Iterator[tuple[int, dict[str, int]]]:
    """Run one nginx with all the sites; yield its process id and the port of each site."""
    folder.mkdir()
    (folder / PAGE).write_text("A page that only some clients may read.\n")
    backend, ports, blocks = servers.free_port(), {}, []
    for number, (name, site) in enumerate(sites.items()):
        ports[name] = servers.free_port()
        blocks.append(site.text(number, ports[name], backend, folder))
    # A worker as another user could not open the UNIX sockets.
    user = "user root;" if os.geteuid() == 0 else ""
    cache = Path("/dev/shm" if Path("/dev/shm").is_dir() else folder) / f"bench-{backend}"
    file = folder / "nginx.conf"
    file.write_text(
        MAIN.format(folder=folder, user=user, backend=backend, cache=cache, sites="".join(blocks))
    )
    command = [servers.find("nginx") or "nginx", "-e", f"{folder}/error.log", "-c", str(file)]
    with servers.running(command, backend, core, folder / "log") as process:
        yield process, ports

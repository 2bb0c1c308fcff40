"""nginx in front of the gateways: the shipped example, and what others would write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import servers

EXAMPLE = Path(__file__).resolve().parent.parent / "etc" / "nginx" / "authotron.conf"

DEFAULT = """
server {{
    listen 127.0.0.1:{port};
    auth_request /_auth;
    location / {{ proxy_pass http://127.0.0.1:{backend}; }}
    location = /_auth {{
        internal;
        proxy_pass http://127.0.0.1:{gateway}/authenticate;
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
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/1;
    proxy_temp_path {folder}/2;
    fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4;
    scgi_temp_path {folder}/5;
    proxy_cache_path {cache} levels=1:2 keys_zone=verdicts:10m max_size=64m use_temp_path=off;
    server {{
        listen 127.0.0.1:{backend};
        keepalive_requests 1000000;
        location / {{ return 200 "here\\n"; }}
    }}
{servers}
}}
"""


def example(name: str, port: int, gateway: int, backend: int) -> str:
    """The shipped example, with names and addresses of its own."""
    text = EXAMPLE.read_text()
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{gateway}")
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{backend}")
    text = text.replace("listen 127.0.0.1:80;", f"listen 127.0.0.1:{port};")
    text = text.replace("http://authotron/", f"http://gateway_{name}/")
    text = text.replace("upstream authotron", f"upstream gateway_{name}")
    text = text.replace("$authotron_", f"$gateway_{name}_")
    return text.replace("//backend", f"//backend_{name}").replace(
        "upstream backend", f"upstream backend_{name}"
    )


@contextmanager
def nginx(
    folder: Path, gateways: Mapping[str, int], core: str
) -> Iterator[tuple[int, dict[tuple[str, str], int]]]:
    """One nginx before all gateways: its process, and its port for each gateway and way."""
    folder.mkdir()
    backend, ports = servers.free_port(), {}
    written = []
    for place, (name, gateway) in enumerate(gateways.items()):
        for way in ("default", "kept", "cached", "none"):
            port = ports[name, way] = servers.free_port()
            text = example(f"{place}_{way}", port, gateway, backend)
            if way == "default":
                text = DEFAULT.format(port=port, backend=backend, gateway=gateway)
            elif way == "cached":
                text = text.replace("proxy_read_timeout 15s;", CACHED)
            elif way == "none":
                text = text.replace("auth_request /_authotron;", "")
            written.append(text)
    file = folder / "nginx.conf"
    cache = Path("/dev/shm" if Path("/dev/shm").is_dir() else folder) / f"bench-{backend}"
    main = MAIN.format(folder=folder, backend=backend, cache=cache, servers="".join(written))
    file.write_text(main)
    command = [servers.find("nginx") or "nginx", "-e", f"{folder}/error.log", "-c", str(file)]
    with servers.running(command, backend, core, folder / "log") as process:
        yield process, ports

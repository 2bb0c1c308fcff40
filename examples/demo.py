"""
Run a gateway, a backend and nginx on free ports, and show what each answers to three requests.

C{make demo} starts it; Ctrl-C stops everything. With C{--once} it ends after the three requests.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0
"""Seconds within which each of the three must listen."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(stack: ExitStack, name: str, port: int, words: Sequence[str], **env: str) -> None:
    """Start a process, wait until it listens at a port, and register to stop it."""
    process = subprocess.Popen(
        words,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this script alone, which stops the others in turn
    )
    stack.callback(stop, process)
    ends = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < ends:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                print(f"  {name:8} http://127.0.0.1:{port}", flush=True)
                return
        time.sleep(0.05)
    stop(process)
    reason = process.stderr.read() if process.stderr else ""
    sys.exit(f"{name} does not listen at port {port}: {reason.strip()[-500:]}")


def stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def nginx_configuration(folder: Path, front: int, gateway: int, backend: int) -> Path:
    """Write a configuration around the example of the documentation, and return its path."""
    example = (ROOT / "etc/nginx/authotron.conf").read_text(encoding="utf-8")
    example = example.replace("127.0.0.1:8080", f"127.0.0.1:{gateway}")
    example = example.replace("127.0.0.1:8000", f"127.0.0.1:{backend}")
    example = re.sub(r"(?m)^(\s*)listen [^;]*;", rf"\1listen 127.0.0.1:{front};", example)
    included = ROOT / "etc/nginx/authotron-identity-headers.conf"
    example = re.sub(
        r"include \S*authotron-identity-headers.conf;", f"include {included};", example
    )
    kept = "".join(
        f"    {each}_temp_path {folder}/{each};\n"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"pid {folder}/nginx.pid;\ndaemon off;\nerror_log stderr warn;\nevents {{}}\n"
        f"http {{\n    access_log off;\n{kept}{example}\n}}\n",
        encoding="utf-8",
    )
    return path


def show(title: str, words: Sequence[str], secret: str = "") -> None:
    """Print a command of curl, and the beginning of its answer."""
    print(f"\n{title}\n$ {' '.join(words)}", flush=True)
    sent = [*words[:1], "-si", "--max-time", "60", "--noproxy", "*", *words[1:]]
    if secret:
        sent = [word.replace('"alice:$(cat alice-password)"', f"alice:{secret}") for word in sent]
    done = subprocess.run(sent, check=False, capture_output=True, text=True)
    head, _, body = done.stdout.replace("\r", "").partition("\n\n")
    print(head.splitlines()[0] if head else f"curl failed: {done.stderr.strip()}")
    try:
        print(json.dumps({"claims": json.loads(body)["claims"]}, indent=2))
    except (ValueError, KeyError):
        print(re.sub(r"<[^>]*>|\s+", " ", body).strip()[:200])


def main() -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
    for tool, found in (("nginx", nginx), ("curl", shutil.which("curl"))):
        if not found:
            sys.exit(f"make demo needs {tool}: apt-get install {tool}")
    assert nginx is not None
    python = [sys.executable, "-m"]
    gateway, metrics, backend, front = (free_port() for _ in range(4))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="authotron-demo-")))
        folder.chmod(0o755)  # so that the workers of nginx can enter it
        made = folder / "var"
        prepare = [*python, "authotron", "quickstart", "--prepare", "--folder", str(made)]
        subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
        print("Starting, on free ports:", flush=True)
        ports = {"AOT_SERVER__PORT": str(gateway), "AOT_METRICS__PORT": str(metrics)}
        run = [*python, "authotron", "run", "--config", str(made / "authotron.yaml")]
        start(stack, "gateway", gateway, run, **ports)
        echo = [*python, "authotron.testing.echo", "--port", str(backend)]
        start(stack, "backend", backend, [*echo, "--secret-file", str(made / "jwt-secret")])
        path = nginx_configuration(folder, front, gateway, backend)
        start(stack, "nginx", front, [nginx, "-p", str(folder), "-c", str(path)])
        url = f"http://127.0.0.1:{front}/"
        secret = (made / "alice-password").read_text(encoding="utf-8")
        show("1. Without credentials nginx asks for them:", ["curl", url])
        show("2. With a wrong password, too:", ["curl", "-u", "alice:wrong", url])
        user = '"alice:$(cat alice-password)"'
        show(
            "3. With the right one the backend learns who it is:", ["curl", "-u", user, url], secret
        )
        if "--once" in sys.argv:
            return
        print(f"\nTry it: cd {made} and repeat the commands. Ctrl-C stops everything.", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("\nstopping ...")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # while it still starts; whatever runs by then has been stopped
        print("\nstopped")

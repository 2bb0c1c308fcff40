"""
Take pictures of the gateway's home page with Chromium: light and dark.

Usage: home.py FOLDER. C{chromium} must be on the path.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from dashboard import free_ports, wait_for

WIDTH, HEIGHT = 1000, 760
SCHEMES = {"dark": 0, "light": 1}
"""Colour schemes that a page may be asked for, by Chromium's numbers."""


def main(folder: str) -> None:
    """Start the gateway of C{authotron quickstart}, and write home-light.png and home-dark.png."""
    port, metrics = free_ports(2)
    ports = {"AOT_SERVER__PORT": str(port), "AOT_METRICS__PORT": str(metrics)}
    with TemporaryDirectory() as home:
        gateway = subprocess.Popen(
            [Path(sys.executable).with_name("authotron"), "quickstart"],
            cwd=home,
            env={**os.environ, **ports},
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_for(port)
            for scheme, number in SCHEMES.items():
                subprocess.run(
                    [
                        "chromium",
                        "--headless=new",
                        "--no-sandbox",
                        "--hide-scrollbars",
                        f"--blink-settings=preferredColorScheme={number}",
                        f"--window-size={WIDTH},{HEIGHT}",
                        f"--screenshot={Path(folder).resolve() / f'home-{scheme}.png'}",
                        f"http://127.0.0.1:{port}/",
                    ],
                    check=True,
                    capture_output=True,
                )
        finally:
            gateway.terminate()
            gateway.wait()


if __name__ == "__main__":
    main(sys.argv[1])

"""C{authotron proxy-config}."""

from __future__ import annotations

import json
from pathlib import Path

from authotron.proxy_config import rendering
from tests.cli.cases import CommandCase


class ProxyConfigTests(CommandCase):
    """What the command prints and writes."""

    def test_prints(self) -> None:
        """The command prints all files of a proxy, with the addresses of the options."""
        options = ("--backend", "http://10.0.0.7:8001", "--host", "app.example.org")
        shown = self.run_command("proxy-config", "nginx", "-c", self.file(), *options)
        self.assertEqual(shown.exit_code, 0, shown.output)
        for expected in (
            "===== authotron.conf =====\n",
            "===== authotron-identity-headers.conf =====\n",
            "    server 127.0.0.1:8080;\n",
            "    server 10.0.0.7:8001;\n",
            "    server_name app.example.org;\n",
        ):
            self.assertIn(expected, shown.output)

    def test_one_file_is_printed_as_it_is(self) -> None:
        """A single file is printed without a line above it, so that it can be redirected."""
        shown = self.run_command("proxy-config", "caddy", "-c", self.file())
        self.assertTrue(shown.output.startswith("# Caddy in front of"), shown.output[:80])

    def test_json(self) -> None:
        """C{--json} prints the files by their names."""
        shown = self.run_command("proxy-config", "haproxy", "--json", "-c", self.file())
        found = json.loads(shown.stdout)
        self.assertEqual([*found["files"]], [*rendering.PROXIES["haproxy"]])
        self.assertIn("lua.authotron", found["files"]["haproxy.cfg"])

    def test_addresses_of_the_configuration(self) -> None:
        """The proxy asks where the gateway listens."""
        listen = [
            "tcp6:8090:interface=\\:\\:1",
            "grpc:tcp:9555",
            "fastcgi:tcp:9002:interface=10.0.0.1",
        ]
        path = self.file(server={"host": ..., "port": ..., "listen": listen})
        for proxy, expected in (
            ("nginx", "server [::1]:8090;"),
            ("envoy", "address: 127.0.0.1, port_value: 9555"),
            ("apache", "fcgi://10.0.0.1:9002/"),
        ):
            with self.subTest(proxy):
                self.assertIn(expected, self.run_command("proxy-config", proxy, "-c", path).output)

    def test_prefix_of_haproxy(self) -> None:
        """The script of HAProxy states the request in the headers of the configured prefix."""
        contracts = [{"type": "haproxy", "prefix": "X-Mine-"}]
        path = self.file(server={"contracts": contracts})
        shown = self.run_command("proxy-config", "haproxy", "-c", path).output
        self.assertIn('["X-Mine-Uri"]', shown)
        self.assertIn("del-header X-Mine-Uri", shown)

    def test_writes(self) -> None:
        """C{--write} creates the folder and its files, and says which."""
        folder = self.folder.absolute() / "new"
        words = ("proxy-config", "traefik", "-c", self.file(), "--write", str(folder))
        for did in ("wrote", "unchanged:"):
            done = self.run_command(*words)
            self.assertEqual(done.exit_code, 0, done.output)
            self.assertEqual(done.stdout, "")
            self.assertIn(f"{did} {folder / 'traefik.yaml'}", done.stderr)
            self.assertEqual((folder / "traefik.yaml").stat().st_mode & 0o777, 0o644)
            self.assertEqual(
                {each.name for each in folder.iterdir()}, {*rendering.PROXIES["traefik"]}
            )

    def test_does_not_replace(self) -> None:
        """A file with other contents stays unless C{--force} is given, and so do all others."""
        (self.folder / "authotron.yaml").write_text("mine")
        words = ("proxy-config", "traefik", "-c", self.file(), "--write", str(self.folder))
        done = self.run_command(*words)
        self.assertEqual(done.exit_code, 1, done.output)
        self.assertIn("exists with other contents: ", done.stderr)
        self.assertEqual((self.folder / "authotron.yaml").read_text(), "mine")
        self.assertFalse((self.folder / "traefik.yaml").exists())
        self.assertEqual(self.run_command(*words, "--force").exit_code, 0)
        self.assertIn("forwardAuth", (self.folder / "authotron.yaml").read_text())

    def test_own_configuration_stays(self) -> None:
        """C{--force} does not replace the configuration of the gateway, which may have the name."""
        own = self.folder / "authotron.yaml"
        own.write_bytes(Path(self.file()).read_bytes())
        words = ("proxy-config", "traefik", "-c", str(own), "--write", str(self.folder))
        for more in ((), ("--force",)):
            done = self.run_command(*words, *more)
            self.assertEqual(done.exit_code, 1, done.output)
            self.assertIn("is the configuration of the gateway; write to another", done.stderr)
        self.assertIn("providers", own.read_text())
        self.assertFalse((self.folder / "traefik.yaml").exists())

    def test_links_are_not_followed_T91b(self) -> None:
        """A file is not written through a link: C{--force} replaces the link itself."""
        other = self.folder / "other"
        other.write_text("mine")
        (self.folder / "Caddyfile").symlink_to(other.absolute())
        words = ("proxy-config", "caddy", "-c", self.file(), "--write", str(self.folder))
        self.assertEqual(self.run_command(*words).exit_code, 1)
        self.assertEqual(self.run_command(*words, "--force").exit_code, 0)
        self.assertEqual(other.read_text(), "mine")
        self.assertFalse((self.folder / "Caddyfile").is_symlink())
        (self.folder / "Caddyfile").unlink()
        (self.folder / "Caddyfile").symlink_to("missing")
        self.assertEqual(self.run_command(*words).exit_code, 1)
        self.assertFalse((self.folder / "missing").exists())

    def test_unwritable(self) -> None:
        """A folder that cannot be created is a failure with a reason."""
        (self.folder / "file").write_text("")
        under = str(self.folder / "file" / "folder")
        done = self.run_command("proxy-config", "caddy", "-c", self.file(), "--write", under)
        self.assertEqual(done.exit_code, 1, done.output)
        self.assertIn("cannot write", done.stderr)

    def test_invalid_options(self) -> None:
        """A value that could be more than an address or a name is an invalid command line."""
        for option, value in (
            ("--backend", "127.0.0.1"),
            ("--backend", "127.0.0.1:99999"),
            ("--backend", "a;b:80"),
            ("--backend", "https://a:443"),
            ("--listen", ":80"),
            ("--host", "a b"),
            ("--host", "a;return 200"),
            ("--host", "a\n"),
        ):
            with self.subTest(f"{option} {value}"):
                done = self.run_command("proxy-config", "nginx", "-c", self.file(), option, value)
                self.assertEqual(done.exit_code, 2, done.output)
                self.assertIn(option, done.output)

    def test_invalid_configuration(self) -> None:
        """An invalid configuration is reported, and ends with 78."""
        path = self.file(jwt={"exp": 0})
        done = self.run_command("proxy-config", "nginx", "--json", "-c", path)
        self.assertEqual(done.exit_code, 78)
        self.assertEqual(json.loads(done.stdout)["problems"][0]["path"], "jwt.exp")

    def test_unknown_proxy(self) -> None:
        """An unknown proxy is an invalid command line that names the known ones."""
        done = self.run_command("proxy-config", "squid", "-c", self.file())
        self.assertEqual(done.exit_code, 2)
        self.assertIn("haproxy", done.output)

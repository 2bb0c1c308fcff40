"""The examples of proxies in F{etc/}."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from authotron.proxy_config import identity_headers, rendering
from tests.proxy_examples import examples

REMOVAL = {
    "nginx/authotron.conf": r'^ +proxy_set_header (\S+) +"";',
    "nginx/authotron-identity-headers.conf": r'^proxy_set_header (\S+) "";',
    "apache/authotron.conf": r"^ +RequestHeader unset (\S+)",
    "caddy/Caddyfile": r"^\t\trequest_header -(\S+)",
    "haproxy/haproxy.cfg": r"^ +http-request del-header (\S+)$",
    "traefik/authotron.yaml": r'^ +(\S+): ""',
}
"""For each file that removes headers of clients a pattern for their names."""


LISTED = {name.lower() for group in identity_headers.groups() for name in group.names}

SET_BY_THE_CONTROLLER = {
    "kubernetes-nginx": {"x-forwarded-port", "x-scheme", "x-original-forwarded-for", "proxy"}
}
"""Headers that a proxy overwrites or removes in any case."""


class ExamplesTests(SynchronousTestCase):
    """The files of every proxy."""

    def test_shipped(self) -> None:
        """The shipped examples are what C{make proxy-examples} writes."""
        for path, text in examples():
            with self.subTest(path.parent.name + "/" + path.name):
                self.assertEqual(path.read_text(encoding="utf-8"), text, "make proxy-examples")

    def test_nothing_left(self) -> None:
        """No sign of a template is left in a file."""
        for path, text in examples():
            for sign in ("<<", ">>>", "#@", "<%"):
                self.assertNotIn(sign, text, path)

    def test_identity_headers_T93c(self) -> None:
        """Every proxy removes all listed headers of clients."""
        found = {f"{path.parent.name}/{path.name}": text for path, text in examples()}
        for file, pattern in REMOVAL.items():
            with self.subTest(file):
                removed = re.findall(pattern, found[file], re.MULTILINE)
                self.assertEqual(LISTED - {name.lower() for name in removed}, set())

    def test_every_name_T93c(self) -> None:
        """Every listed name stands in the files of every proxy."""
        for proxy, names in rendering.PROXIES.items():
            folder = rendering.folder_of(proxy)
            text = "".join(
                text
                for path, text in examples()
                if path.parent.name == folder and path.name in names
            )
            found = {*re.findall(r"[a-z0-9][a-z0-9-]*", text.lower())}
            missing = LISTED - found - SET_BY_THE_CONTROLLER.get(proxy, set())
            self.assertEqual(missing, set(), proxy)

"""The list of headers that a proxy removes from requests is the same in all places."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.config.cases import ROOT

CLEARED = re.compile(r'^ *proxy_set_header (\S+) +"";$', re.MULTILINE)
WELL_KNOWN = frozenset(
    {
        "Remote-User",
        "X-Remote-User",
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Forwarded-Preferred-Username",
        "X-Forwarded-Access-Token",
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Groups",
        "X-Auth-User",
        "X-Auth-Groups",
        "X-Auth-Email",
        "X-User",
        "X-Webauth-User",
        "X-Authentik-Username",
        "X-Pomerium-Jwt-Assertion",
        "X-Goog-Authenticated-User-Email",
        "X-Amzn-Oidc-Data",
        "X-Ms-Client-Principal",
        "Cf-Access-Jwt-Assertion",
        "Tailscale-User-Login",
        "X-Consumer-Username",
        "Impersonate-User",
        "Impersonate-Group",
        "Iv-User",
        "X-Endpoint-Api-Userinfo",
        "Client-Cert",
        "X-Ssl-Client-Verify",
        "X-Forwarded-Client-Cert",
        "Forwarded",
        "True-Client-Ip",
        "X-Original-Url",
        "X-Rewrite-Url",
        "X-Http-Method-Override",
        "Proxy",
    }
)


def listed() -> list[str]:
    """Return the names of the list, in order."""
    path = ROOT / "etc" / "nginx" / "authotron-identity-headers.conf"
    return CLEARED.findall(path.read_text(encoding="utf-8"))


class ListTests(SynchronousTestCase):
    """The list, and the files that contain it."""

    def test_list_T93c(self) -> None:
        """The list has each name once, and contains the well-known names."""
        names = listed()
        self.assertEqual(len(names), len({name.lower() for name in names}))
        self.assertEqual(WELL_KNOWN - set(names), set())

    def test_example_T93c(self) -> None:
        """The nginx example removes the listed headers, in the server that leads to the backend."""
        text = (ROOT / "etc" / "nginx" / "authotron.conf").read_text(encoding="utf-8")
        _, _, rest = text.partition("    # --- identity headers:")
        part, end, _ = rest.partition("    # --- end of identity headers ---")
        self.assertTrue(end)
        self.assertEqual(CLEARED.findall(part), listed())

    def test_page_T93c(self) -> None:
        """The page of the documentation shows the list."""
        text = (ROOT / "docs" / "identity-headers.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| .+ \| (`.+`) \|$", text, re.MULTILINE)
        self.assertEqual([name for row in rows for name in re.findall(r"`(.+?)`", row)], listed())

    def test_others_T93c(self) -> None:
        """Every other example with a proxy removes the listed headers."""
        for path in (ROOT / "etc").rglob("*"):
            if path.is_file() and "proxy_pass" in (text := path.read_text(encoding="utf-8")):
                self.assertEqual(set(listed()) - set(CLEARED.findall(text)), set(), path)

    def test_envoy_T93c(self) -> None:
        """The Envoy example removes the listed headers."""
        text = (ROOT / "etc" / "envoy" / "authotron.yaml").read_text(encoding="utf-8")
        removed = re.findall(r"request_headers_to_remove: \[([^]]+)\]", text)
        self.assertEqual(
            [each.strip() for each in removed[0].split(",")], [*map(str.lower, listed())]
        )

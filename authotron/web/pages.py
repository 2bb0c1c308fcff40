"""Pages for browsers: the address of the gateway as a client sees it, and errors in HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape

from authotron.config.page import Page
from authotron.model.hosts import is_loopback
from authotron.web.replies import NO_STORE, Header, Reply, bytes_reply, page_reply, text_reply
from authotron.web.request import Request

_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

POLICY: tuple[Header, ...] = (
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; img-src 'self'"),
    (b"X-Frame-Options", b"DENY"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
)
"""Headers of every page for browsers: they forbid scripts, content from other sites, and frames."""

_ERRORS = {
    401: (
        "Who are you?",
        "This page needs valid credentials. Reload it to be asked for them again.",
    ),
    404: ("Not found", "There is no such page. The start page says how to log in."),
}
"""Title and text of the errors that a browser gets as a page."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>:root {{ color-scheme: light dark }}
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto;
  padding: 0 1rem }}
</style></head>
<body><h1>{title}</h1>{text}</body></html>
"""

_START_PAGE = '<p><a href="/">Start page</a></p>'

_TOOLS = ("curl/", "wget/", "httpie/", "xh/")
"""Beginnings, in lower case, of the C{User-Agent} of tools that people use."""


def address(request: Request) -> str:
    """
    Return the scheme and host by which the client reached the gateway, such as
    C{https://auth.example.org}; or C{https://HOST} if scheme and host are unknown.

    The headers C{Host} and C{X-Forwarded-Proto} may come from any peer, because only the client
    that sent the request sees the URL that is built from them.
    """
    host = _value(request, b"Host")
    if _HOST.fullmatch(host) is None:
        return "https://HOST"
    scheme = _value(request, b"X-Forwarded-Proto")
    if scheme not in ("http", "https"):
        name = host if host.startswith("[") and host.endswith("]") else host.rpartition(":")[0]
        name = (name or host).strip("[]")
        is_plain = not request.isSecure() and (name == "localhost" or is_loopback(name))
        scheme = "http" if is_plain else "https"
    return f"{scheme}://{host}"


def for_browser(request: Request, reply: Reply, page: Page | None = None) -> Reply:
    """
    Return an error as a page for a browser, or else the error reply unchanged.

    @param page: the section of the configuration that names the contact which a 401 shows.
    """
    known = _ERRORS.get(reply.status)
    if known is None or not prefers_html(request):
        return reply
    title, text = map(escape, known)
    kept = [each for each in reply.headers if each[0] not in (b"Content-Type", NO_STORE[0])]
    whole = f"<p>{text}</p>{_contact(page)}{_START_PAGE}"
    body = _PAGE.format(title=title, text=whole).encode()
    return page_reply(reply.status, body, *kept, (b"Vary", b"Accept"), NO_STORE, *POLICY)


def _contact(page: Page | None) -> str:
    if page is None or page.contact is None:
        return ""
    contact = escape(page.contact)
    if page.contact_link:
        contact = f'<a href="{escape(page.contact_link)}">{contact}</a>'
    return f"<p>Contact: {contact}</p>"


def operations(request: Request, addresses: Mapping[str, str]) -> Reply:
    """List the addresses of the metrics port: a page for browsers, else lines of text."""
    varies = (b"Vary", b"Accept")
    if not prefers_html(request):
        lines = "".join(f"{path}  {what}\n" for path, what in addresses.items())
        return text_reply("text/plain; charset=utf-8", lines.encode(), varies)
    items = "".join(
        f'<li><a href="{path}">{path}</a>: {escape(what)}</li>' for path, what in addresses.items()
    )
    body = _PAGE.format(title="authotron", text=f"<ul>{items}</ul>").encode()
    return page_reply(200, body, varies, *POLICY)


def readable(request: Request, reply: Reply) -> Reply:
    """Return a JSON reply with indentation if a person reads it, by a browser or a tool."""
    agent = _value(request, b"User-Agent")
    if not (prefers_html(request) or agent.startswith(_TOOLS)):
        return reply
    body = json.dumps(json.loads(reply.body), indent=2, ensure_ascii=True).encode() + b"\n"
    kept = [each for each in reply.headers if each[0] != b"Content-Type"]
    varies = (b"Vary", b"Accept, User-Agent")
    return bytes_reply(reply.status, "application/json", body, *kept, varies)


def prefers_html(request: Request) -> bool:
    """Whether the header C{Accept} names HTML, and does not name JSON before it, as browsers do."""
    accepted = _value(request, b"Accept")
    html, json = accepted.find("text/html"), accepted.find("application/json")
    return html >= 0 and not 0 <= json < html


def _value(request: Request, name: bytes) -> str:
    values = request.requestHeaders.getRawHeaders(name, [])
    return values[0].decode("latin-1").strip().lower() if len(values) == 1 else ""

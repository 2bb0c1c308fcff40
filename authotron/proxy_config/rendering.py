"""Make the configuration of a proxy from a template in the folder C{templates}."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from authotron.config.endpoint import HTTP
from authotron.model.hosts import address_of
from authotron.proxy_config import identity_headers
from authotron.proxy_config.setting import KUBERNETES, Setting

if TYPE_CHECKING:
    from jinja2 import Environment, Template

PROXIES: Mapping[str, tuple[str, ...]] = {
    "nginx": ("authotron.conf", "authotron-identity-headers.conf"),
    "apache": ("authotron.conf", "authotron.lua"),
    "caddy": ("Caddyfile",),
    "envoy": ("authotron.yaml",),
    "haproxy": ("haproxy.cfg", "authotron.lua"),
    "kubernetes-envoy-gateway": ("envoy-gateway.yaml",),
    "kubernetes-istio": ("istio.yaml",),
    "kubernetes-nginx": ("nginx.yaml",),
    "kubernetes-traefik": ("traefik.yaml",),
    "traefik": ("traefik.yaml", "authotron.yaml"),
}
"""The configuration files of each proxy, the most important file first."""

_BY_HTTP_ALONE = "apache/authotron.lua"
"""A file that a proxy needs only if the proxy asks the gateway by HTTP."""

_WIDTH = 124

_SHORT = {"X-Auth-Username": "username", "X-Auth-Realm": "realm", "X-Auth-Roles": "roles"}

_BUFFER = 64
"""The usual size of nginx's buffers for the head of an answer, in KiB."""


def files(proxy: str, setting: Setting) -> dict[str, str]:
    """Return the contents of the files that a proxy needs, by name."""
    groups = identity_headers.groups()
    own = {name.lower() for name in setting.profile}
    listed = [name for group in groups for name in group.names]
    known = {name.lower() for name in listed}
    identity = ["Authorization", *setting.profile]
    unlisted = [name for name in setting.others if name.lower() not in known]
    values = {
        **asdict(setting, recurse=False),
        "within": setting.within,
        "variable": _variable,
        "cookie_source": _cookie_source,
        "buffer": max(_BUFFER, math.ceil((setting.head_bytes or 0) / 1024)),
        "identity_headers": groups,
        "own": own,
        "identity": identity,
        "service": _service(setting.backend.host),
        "gateway_service": _service(setting.gateway.host),
        "web_service": _service(setting.web.host),
        "metadata_paths": [*dict.fromkeys(setting.metadata_paths)],
        "lower_listed": [name.lower() for name in listed],
        "unlisted": unlisted,
        "lower_names": [name.lower() for name in listed if name.lower() not in own],
        "underscored": _underscored([*identity, *unlisted], listed),
    }
    return {
        name: _template(proxy, name).render(values)
        for name in PROXIES[proxy]
        if f"{proxy}/{name}" != _BY_HTTP_ALONE or setting.by == HTTP
    }


def _underscored(names: Iterable[str], listed: Iterable[str]) -> list[str]:
    """
    Return the spellings with underscores of the headers of all profiles, each once.

    @param listed: names whose spelling with underscores alone a template writes itself.
    """
    written = {name.replace("-", "_") for name in listed}
    found = [each for name in names for each in identity_headers.underscored(name)]
    return [each for each in dict.fromkeys(found) if each not in written]


@frozen
class Service:
    """The name and the namespace of a service of Kubernetes."""

    name: str
    namespace: str


def _service(host: str) -> Service:
    """
    Return the Kubernetes service that a host such as
    C{name.namespace.svc.cluster.local} names.
    """
    if _is_ip(host):
        return Service("service", "default")
    name, *rest = host.split(".")
    return Service(name, rest[0] if rest else "default")


def folder_of(proxy: str) -> str:
    """Return the folder with the files of a proxy, below F{templates} and F{etc}."""
    return "kubernetes" if proxy.startswith(KUBERNETES) else proxy


_STATEMENT = re.compile(r"^[ \t]*#@ (.+)\n", re.MULTILINE)
"""
A statement of Jinja on a line of its own, which leaves nothing; the line statements of Jinja would
also remove the empty line that follows.
"""


@cache
def _template(proxy: str, name: str) -> Template:
    folder = folder_of(proxy)
    path = resources.files("authotron.proxy_config") / "templates" / folder / name
    text = _STATEMENT.sub(r"<% \1 %>", path.read_text(encoding="utf-8"))
    return _environment().from_string(text)


@cache
def _environment() -> Environment:
    """
    Return what reads the templates: a line that begins with C{#@} is a statement, and C{<< name >>}
    a value, because the languages of the proxies have other uses for the usual braces.
    """
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - heavy to import, and only needed here

    environment = Environment(  # noqa: S701 - the text is not HTML; every value is checked before
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.filters["wrapped"] = _wrapped
    environment.filters["quoted"] = _quoted
    environment.filters["regex"] = _regex
    environment.tests["ip"] = _is_ip
    return environment


def _wrapped(words: tuple[str, ...], indentation: int) -> str:
    """Write words with commas between them, in lines of at most 124 characters."""
    margin = " " * indentation
    return textwrap.fill(
        ", ".join(words),
        _WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _variable(header: str) -> str:
    """Return the part of a variable's name that corresponds to a header."""
    return _SHORT.get(header) or f"header_{header.lower().replace('-', '_')}"


def _cookie_source(removed: int) -> str:
    """
    Return the variable of nginx that contains the cookies of a request after some
    were removed.
    """
    return f"$authotron_cookies_{removed}" if removed else "$http_cookie"


def _regex(text: str) -> str:
    """Write literal text as a regular expression that every proxy reads in the same way."""
    return re.sub(r"[^A-Za-z0-9_:/-]", lambda found: f"[{found[0]}]", text)


def _quoted(host: str) -> str:
    """Write a host as a scalar of YAML."""
    return f'"{host}"' if ":" in host else host


def _is_ip(host: str) -> bool:
    return address_of(host) is not None

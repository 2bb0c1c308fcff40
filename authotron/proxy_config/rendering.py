"""Make the configuration of a proxy from a template in the folder C{templates}."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from attrs import asdict

from authotron.proxy_config import identity_headers
from authotron.proxy_config.setting import Setting

if TYPE_CHECKING:
    from jinja2 import Environment

PROXIES: Mapping[str, tuple[str, ...]] = {
    "nginx": ("authotron.conf", "authotron-identity-headers.conf"),
    "apache": ("authotron.conf", "authotron.lua"),
    "caddy": ("Caddyfile",),
    "envoy": ("authotron.yaml",),
    "haproxy": ("haproxy.cfg", "authotron.lua"),
    "traefik": ("traefik.yaml", "authotron.yaml"),
}
"""The files of each proxy, the most important one first."""

_OWN = ("X-Auth-Username", "X-Auth-Realm", "X-Auth-Roles")
_WIDTH = 124


def files(proxy: str, setting: Setting) -> dict[str, str]:
    """Return the contents of all files of a proxy, by name."""
    groups = identity_headers.groups()
    values = {
        **asdict(setting, recurse=False),
        "identity_headers": groups,
        "lower_names": [name.lower() for group in groups for name in group.names],
        "own": _OWN,
        "underscored": [
            each for name in ("Authorization", *_OWN) for each in identity_headers.underscored(name)
        ],
    }
    return {
        name: _environment().get_template(f"{proxy}/{name}").render(values)
        for name in PROXIES[proxy]
    }


@cache
def _environment() -> Environment:
    """
    Return what reads the templates: a line with C{#@} is a statement, and C{<< name >>} a value,
    because the languages of the proxies have other uses for the usual braces.
    """
    from jinja2 import (  # noqa: PLC0415 - heavy, and only needed here
        Environment,
        PackageLoader,
        StrictUndefined,
    )

    environment = Environment(  # noqa: S701 - no HTML; every value is checked before
        loader=PackageLoader("authotron.proxy_config"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        line_statement_prefix="#@",
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.filters["wrapped"] = _wrapped
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

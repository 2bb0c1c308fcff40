"""What the environment of an acl-proxy means here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from authotron.config.section import LONGEST
from authotron.model.errors import ConfigError, Problem
from authotron.plugin import passwords

PREFIX = "authotron:"
"""What our keys in the same Redis begin with, beside its C{tokens:}."""


def store(environ: Mapping[str, str]) -> dict[str, Any]:
    """
    Its Redis, as a section C{store}.

    @raise ConfigError: a number is none.
    """
    section: dict[str, Any] = {
        "type": "redis",
        "host": environ.get("REDIS_HOST") or "localhost",
        "port": _number(environ, "REDIS_PORT", 6379),
        "database": _number(environ, "REDIS_DB", 0),
        "prefix": PREFIX,
    }
    for name in ("username", "password"):
        if value := environ.get(f"REDIS_{name.upper()}"):
            section[name] = value
    if _is_on(environ, "REDIS_TLS"):
        section["tls"] = True
    return section


def configuration(environ: Mapping[str, str], secret: str, pepper: str) -> dict[str, Any]:
    """
    A whole configuration for what it did.

    @param secret: to sign with, C{pepper}: to hash new tokens with.

    @raise ConfigError: its PEPPER is missing or cannot be one here, or a number is none.
    """
    if not environ.get("PEPPER"):
        raise ConfigError([Problem("PEPPER", "is not set; without it no token can be verified")])
    found: dict[str, Any] = {
        "version": "2.0.0",
        "server": {"host": "0.0.0.0", "port": 8000},  # noqa: S104 - as the acl-proxy
        "jwt": {"iss": "authotron", "secret": secret},
        "store": {
            **store(environ),
            "pepper": pepper,
            "imported": True,
            "acl_proxy_pepper": environ["PEPPER"],
        },
    }
    if len(environ["PEPPER"].splitlines()) != 1:
        raise ConfigError([Problem("PEPPER", "has a line end; it cannot be one of several here")])
    life = _number(environ, "TOKEN_TTL_SECONDS", 0)
    if life > LONGEST:
        raise ConfigError([Problem("TOKEN_TTL_SECONDS", f"must be at most {LONGEST}")])
    if life:
        found["tokens"] = {"ttl": life, "max_ttl": max(life, 366 * 86_400)}
    name, password = environ.get("ADMIN_USER"), environ.get("ADMIN_PASS")
    if name and password:
        user = {
            "username": name,
            "password_hash": passwords.hash_password(password),
            "roles": ["token-admin"],
        }
        administrators = {"name": "administrators", "type": "plain", "realm": "administrators"}
        found["providers"] = [{**administrators, "users": [user]}]
        found["store"]["admins"] = {"administrators": ["token-admin"]}
    return found


def remarks(environ: Mapping[str, str]) -> Iterator[str]:
    """What an operator should know about the change."""
    yield "copy the tokens: authotron tokens import acl-proxy --realm REALM --username RULE"
    yield "tokens for some hosts are good only where the proxy says X-Forwarded-Host; see docs"
    if _is_on(environ, "REDIS_TLS_SKIP_VERIFY"):
        yield "REDIS_TLS_SKIP_VERIFY: certificates are always verified, see store.tls_ca_file"
    for name in ("RATE_LIMIT_MAX", "RATE_LIMIT_WINDOW_SEC"):
        if environ.get(name):
            yield f"{name}: there is no such limit here; nginx has limit_req"
    if environ.get("ADMIN_USER"):
        yield "ADMIN_USER manages tokens by /tokens, in realm administrators; there is no page"


def _number(environ: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environ.get(name) or str(otherwise)
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - ten digits are too many
        raise ConfigError([Problem(name, "must be a whole number")])
    return int(text)


def _is_on(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}

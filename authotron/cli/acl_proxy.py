"""
Translate the environment variables of acl-proxy, another gateway, to a configuration
of authotron.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from authotron.config.environment import int_variable
from authotron.config.section import LONGEST
from authotron.model.errors import ConfigError, Problem
from authotron.plugin import passwords

PREFIX = "authotron:"
"""
The prefix of authotron's keys in the Redis of acl-proxy, another gateway, whose own keys begin with
C{tokens:}.
"""

_LARGEST = 999_999_999
"""
The largest port or database number that is passed on to Redis, which itself rejects numbers that
are too large.
"""


def store(environ: Mapping[str, str]) -> dict[str, Any]:
    """
    Return a section C{store} that uses the Redis of acl-proxy, another gateway.

    @raise ConfigError: an environment variable is not a whole number.
    """
    section: dict[str, Any] = {
        "type": "redis",
        "host": environ.get("REDIS_HOST") or "localhost",
        "port": int_variable(environ, "REDIS_PORT", 6379, 0, _LARGEST),
        "database": int_variable(environ, "REDIS_DB", 0, 0, _LARGEST),
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
    Return a whole configuration that replaces acl-proxy, another gateway.

    @param secret: the secret that signs JWTs.
    @param pepper: the key that hashes new API tokens.

    @raise ConfigError: PEPPER is missing or has several lines, or a variable is not a whole number.
    """
    if not environ.get("PEPPER"):
        raise ConfigError(
            [Problem("PEPPER", "is not set; no token can be verified without PEPPER")]
        )
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
        why = "has a line end, which separates peppers in store.acl_proxy_pepper"
        raise ConfigError([Problem("PEPPER", why)])
    ttl = int_variable(environ, "TOKEN_TTL_SECONDS", 0, 0, LONGEST)
    if ttl:
        found["tokens"] = {"ttl": ttl, "max_ttl": max(ttl, 366 * 86_400)}
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
    """Yield what an operator should know about the differences between authotron and acl-proxy."""
    yield "copy the tokens: authotron tokens import acl-proxy --realm REALM --username RULE"
    yield "tokens for some hosts need a proxy that sends X-Forwarded-Host; see docs/tokens.md"
    if _is_on(environ, "REDIS_TLS_SKIP_VERIFY"):
        yield "REDIS_TLS_SKIP_VERIFY: certificates are always verified, see store.tls_ca_file"
    for name in ("RATE_LIMIT_MAX", "RATE_LIMIT_WINDOW_SEC"):
        if environ.get(name):
            yield f"{name}: authotron does not limit the rate of requests; nginx can (limit_req)"
    if environ.get("ADMIN_USER"):
        yield (
            "ADMIN_USER manages tokens by the HTTP API /tokens, in realm administrators; authotron "
            "has no web page"
        )


def _is_on(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}

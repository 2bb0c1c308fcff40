"""Addresses of Redis servers in the configuration: a host, a UNIX socket, or C{host:port}."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

import idna

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>\d{1,5})")


def check_host(host: str) -> str:
    """
    Return C{host} if it is the name or address of a host, or the absolute path of a UNIX socket.

    @raise ValueError: the value of C{host} is not a host name, an address or an absolute path; the
        message says what to write instead.
    """
    if "://" in host:
        raise ValueError(f"is a URI, which authotron does not read; {_keys_for(host)}")
    if host.startswith("unix:"):
        raise ValueError(f"is a UNIX socket; write host: {host.removeprefix('unix:')}")
    if host.startswith("/"):
        return host
    if "/" in host:
        raise ValueError("is neither a host nor the absolute path of a UNIX socket")
    if "," in host:
        raise ValueError("names several hosts; give one, or the Sentinels in store.sentinels")
    if host.startswith("[") and host.endswith("]"):
        raise ValueError(f"must have no brackets; write host: '{host[1:-1]}'")
    if found := _HOST_AND_PORT.fullmatch(host):
        name = found["host"].strip("[]") or "127.0.0.1"
        raise ValueError(f"contains a port; write host: '{name}' and port: {found['port']}")
    if not is_host(host):
        raise ValueError("is not the name or the address of a host")
    return host


def split(address: str) -> tuple[str, int]:
    """
    Return host and port of a Redis Sentinel from C{host:port}, where the default port is 26379.

    @raise ValueError: the address is not of the form C{host} or C{host:port}.
    """
    found = _HOST_AND_PORT.fullmatch(address)
    host = found["host"] if found else address
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    port = int(found["port"]) if found else 26379
    if not is_host(host) or not 0 < port < 65536:  # noqa: PLR2004 - the range of TCP port numbers
        raise ValueError("must be addresses like sentinel-1.example.org:26379")
    return host, port


def _keys_for(uri: str) -> str:
    """
    Return which configuration keys to write in place of a Redis URI, without the user and password,
    because error messages are logged.
    """
    try:
        parts = urlsplit(uri)
        host, port, database = parts.hostname, parts.port, parts.path.strip("/")
    except ValueError:
        return "set host, port, username and password"
    if parts.scheme in {"unix", "redis+unix", "redis+socket"}:
        return f"write host: {parts.path}"
    keys = [f"host: {host or '127.0.0.1'}", f"port: {port or 6379}"]
    if database.isdigit() and int(database):
        keys.append(f"database: {int(database)}")
    if parts.scheme == "rediss":
        keys.append("tls: true")
    logins = [parts.username and "username", parts.password and "password"]
    named = " and ".join(filter(None, logins))
    return f"write {', '.join(keys)}" + (f", and set {named}" if named else "")


def is_host(host: str) -> bool:
    """Return whether a string is the name or the address of a host."""
    try:
        ip_address(host)
    except ValueError:
        pass
    else:
        return True
    try:
        name = host if host.isascii() else idna.encode(host).decode()
    except UnicodeError:
        return False
    return bool(_NAME.fullmatch(name))

"""The address of MongoDB: a URI in which a part that authotron would ignore is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from authotron.config.problems import require_none
from authotron.net.redis_addresses import is_host

_EFFECTIVE = (
    "authMechanism",
    "authSource",
    "journal",
    "readPreference",
    "replicaSet",
    "retryReads",
    "retryWrites",
    "w",
    "wTimeoutMS",
)
"""
The options that a MongoDB URI may contain: those that have an effect, and those that are harmless
because they request what the store does anyway.
"""

_OF_THE_SECTION = {
    "tls": "set store.tls instead",
    "ssl": "set store.tls instead",
    "tlscafile": "set store.tls_ca_file instead",
    "ssl_ca_certs": "set store.tls_ca_file instead",
    "tlscertificatekeyfile": "set store.tls_certificate_file and store.tls_key_file instead",
    "ssl_certfile": "set store.tls_certificate_file and store.tls_key_file instead",
    "ssl_keyfile": "set store.tls_certificate_file and store.tls_key_file instead",
    "tlsallowinvalidcertificates": "certificates are always verified; set store.tls_ca_file",
    "tlsallowinvalidhostnames": "names in certificates are always verified",
    "tlsinsecure": "certificates are always verified; set store.tls_ca_file",
    "maxpoolsize": "set store.connections instead",
    "minpoolsize": "set store.connections instead",
    "serverselectiontimeoutms": "set store.timeout instead",
    "sockettimeoutms": "set store.timeout instead",
    "connecttimeoutms": "set store.timeout instead",
    "timeoutms": "set store.timeout instead",
}
"""
Options that are refused in a MongoDB URI, by their names in lower case, each with what to write in
the configuration instead.
"""

_ONLY = {
    "authmechanism": ("DEFAULT", "SCRAM-SHA-1"),
    "readpreference": ("primary",),
    "retryreads": ("true",),
    "retrywrites": ("true",),
}
"""
The accepted values of some options of a MongoDB URI; other values would have no effect, or would be
dangerous.
"""


def check_uri(uri: str) -> None:
    """
    Verify that every part of the URI takes effect; the driver ignores many options.

    @raise ValueError: the URI is invalid, or a part of it would be ignored.
    """
    if uri.startswith("mongodb+srv://"):
        raise ValueError(
            "mongodb+srv:// is not supported; list the hosts: "
            "mongodb://user:password@host1,host2/database?replicaSet=name"
        )
    if not uri.startswith("mongodb://"):
        raise ValueError("must begin with mongodb://")
    # The driver opens the files that options name, so it may parse only URIs whose options were
    # checked.
    require_none(("", why) for why in _problems_of_options(uri))
    try:
        parsed = parse_uri(uri)
    except (PyMongoError, ValueError, OSError):
        raise ValueError("is not a valid MongoDB URI") from None
    require_none(("", why) for why in _problems_of_parts(parsed))


def _problems_of_options(uri: str) -> Iterator[str]:
    for option in filter(None, uri.partition("?")[2].replace(";", "&").split("&")):
        name, _, value = option.partition("=")
        lower = name.lower()
        if lower in _OF_THE_SECTION:
            yield f"{_shown(name)} has no effect in the URI; {_OF_THE_SECTION[lower]}"
        elif lower not in {each.lower() for each in _EFFECTIVE}:
            yield (
                f"{_shown(name)} has no effect; remove it (options with an effect: "
                f"{', '.join(_EFFECTIVE)})"
            )
        elif (allowed := _ONLY.get(lower)) is not None and value not in allowed:
            yield f"{name} must be {' or '.join(allowed)}"
        elif lower == "w" and value == "0":
            yield "w must not be 0, since MongoDB would not confirm that API tokens are stored"


def _shown(name: str) -> str:
    """Return the name of an option for an error message, unless it may be part of a password."""
    return name if name.isascii() and name.replace("_", "").isalnum() else "an option"


def _problems_of_parts(parsed: Any) -> Iterator[str]:
    if parsed["username"] and not parsed["password"]:
        yield "has a user but no password; the driver would ignore the user"
    if parsed["collection"]:
        yield "has a collection, which has no effect; set store.tokens_collection"
    for host, _ in parsed["nodelist"]:
        if host.startswith("/"):
            yield "has a UNIX socket, which is not supported"
        elif not is_host(host):
            yield "has a host that is neither a name nor an address"

"""Suggest the known word for a misspelt one, without repeating what may be a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_LONGER = 3
"""
Maximum number of letters by which a misspelt key may be longer than the known key that is meant.
"""

_SHORT = 3
"""
Minimum length of a known key for which a longer word that begins with it counts
as a misspelling.
"""

_TAIL = 5
"""
In a section with secrets, a word that extends a known key by more letters than this does not count
as a misspelling of the key.

In a section with secrets, C{audience} counts as a misspelling of C{aud}, but C{expelliarmus} may be
a secret and does not count as a misspelling of C{exp}.
"""

_SYNONYMS = {
    "base_dn": "search_base",
    "basedn": "search_base",
    "base": "search_base",
    "bind_password": "ldap_password",
    "bindpw": "ldap_password",
    "group_filter": "filter",
    "db": "database",
    "master_name": "sentinel_service",
    "socket": "host",
    "ssl": "tls",
    "ssl_ca": "tls_ca_file",
    "ssl_ca_certs": "tls_ca_file",
    "ssl_certfile": "tls_certificate_file",
    "ssl_keyfile": "tls_key_file",
    "unix_socket": "host",
    "unix_socket_path": "host",
    "uri": "host",
    "url": "host",
    "active_directory": "ldap",
    "ad": "ldap",
    "freeipa": "ldap",
    "auth0": "jwt",
    "azure": "jwt",
    "bearer": "jwt",
    "cognito": "jwt",
    "dex": "jwt",
    "entra": "jwt",
    "github": "jwt",
    "google": "jwt",
    "keycloak": "jwt",
    "oidc": "jwt",
    "okta": "jwt",
    "openid": "jwt",
    "openid_connect": "jwt",
    "zitadel": "jwt",
    "oauth": "introspection",
    "oauth2": "introspection",
    "basic": "plain",
    "file": "plain",
    "htpasswd": "plain",
    "users": "plain",
    "rest": "http",
    "webhook": "http",
    "api_key": "static-token",
    "static": "static-token",
    "mongodb": "mongo",
    "sqlite3": "sqlite",
    "valkey": "redis",
}
"""
Names that other programs give to configuration keys and to types of plugins, with authotron's names
for the same keys and types.
"""


def is_slip(word: str, known: Iterable[str], secrets: Iterable[str] = ()) -> bool:
    """
    Return whether a word is surely a misspelt key and no secret.

    @param secrets: the known keys that hold secrets; if an operator forgets the colon, key and
        secret are one word.
    """
    lower, words, hidden = word.lower(), [*known], {*secrets}
    if _SYNONYMS.get(lower.replace("-", "_")) in words:
        return True
    if not re.fullmatch(r"[A-Za-z][A-Za-z_-]*", word):
        return False
    begun = [each for each in words if len(each) >= _SHORT and lower.startswith(each)]
    if hidden:
        begun = [each for each in begun if len(word) <= len(each) + _TAIL or each in hidden]
    if any(each in hidden and len(word) > len(each) + _LONGER for each in begun):
        return bool(difflib.get_close_matches(lower, words, 1, 0.9))
    near = difflib.get_close_matches(lower, words, 1, 0.6)
    return bool(begun or (near and len(word) <= len(near[0]) + _LONGER))


def did_you_mean(word: str, known: Iterator[str] | list[str] | Mapping[str, Any]) -> str:
    """Return the end of a message that suggests a known word; empty if none is similar."""
    words = list(known)
    meant = _SYNONYMS.get(word.lower().replace("-", "_"))
    near = [meant] if meant in words else difflib.get_close_matches(word, words, 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""

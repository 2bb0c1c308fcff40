"""What the answer to the bind of a user means: the user passes, is refused, or nobody knows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from authotron.ldap import decoding
from authotron.ldap.connection import (
    INVALID_CREDENTIALS,
    SUCCESS,
    UNWILLING,
    Connection,
    describe,
)
from authotron.ldap.decoding import DecodingError, Result
from authotron.model.errors import Rejected, Unavailable

_REFUSALS = {
    19: "constraint violation",
    32: "no such entry",
    34: "no valid name",
    48: "no password is set",
    INVALID_CREDENTIALS: "wrong password",
    50: "not allowed",
}
"""Results of a bind that are about the user."""

_OF_ACCOUNT = re.compile("account|inactive|inactivated|locked|expired", re.IGNORECASE)
"""What makes an unwilling server one that does not want this user, rather than anybody."""

_POLICY: Mapping[int | None, str | None] = {
    None: None,
    0: "the password has expired",
    1: "the account is locked",
    2: "the password must be changed",
}
_WINDOWS = {
    "525": "unknown user",
    "530": "not allowed at this time",
    "531": "not allowed from here",
    "532": "the password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "the password must be changed",
    "775": "the account is locked",
}
"""What Active Directory hides in its message."""


async def bind_user(connection: Connection, dn: str, password: str) -> None:
    """
    Bind as a user.

    @raise Rejected: the directory does not take the password.
    @raise Unavailable: it does not say.
    """
    result = await connection.bind(dn, password, {decoding.PASSWORD_POLICY: None})
    if result.code == UNWILLING and not (result.controls or _OF_ACCOUNT.search(result.message)):
        result = await connection.bind(dn, password)  # it may not want to be asked for its policy
    check_bind_result(result)


def check_bind_result(result: Result) -> None:
    """
    Let a user pass, or say why not.

    @raise Rejected: because of the user.
    @raise Unavailable: because of the server, which says nothing about the user.
    """
    try:
        policy = _POLICY.get(decoding.password_policy_error(result.controls), "the password policy")
    except DecodingError as garbled:
        raise Unavailable(f"the bind failed: {garbled}") from None
    if result.code == SUCCESS and policy is None:
        return
    if policy is not None and result.code in (SUCCESS, UNWILLING, *_REFUSALS):
        raise Rejected(policy)
    if result.code in _REFUSALS:
        raise Rejected(_active_directory_reason(result.message) or _REFUSALS[result.code])
    if result.code == UNWILLING and _OF_ACCOUNT.search(result.message):
        raise Rejected(result.message)
    raise Unavailable(f"the bind failed: {describe(result)}")


def _active_directory_reason(message: str) -> str | None:
    found = re.search(r"\bdata ([0-9a-f]{3})\b", message)
    return _WINDOWS.get(found[1]) if found else None

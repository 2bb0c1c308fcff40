"""Bind as a user or as the service account, and turn the server's result into an outcome."""

from __future__ import annotations

import re
from collections.abc import Mapping

from authotron.ldap import decoding
from authotron.ldap.connection import Connection
from authotron.ldap.decoding import DecodingError, Result
from authotron.ldap.results import (
    BUSY,
    INVALID_CREDENTIALS,
    SUCCESS,
    UNWILLING,
    BindRefused,
    NoVerdict,
    ServerBusy,
    ServerFault,
    describe,
)
from authotron.model.errors import Rejected, Unavailable

_REJECTIONS = {
    19: "constraint violation",
    32: "no such entry",
    34: "invalid DN",
    48: "no password is set",
    INVALID_CREDENTIALS: "wrong password",
    50: "insufficient rights",
}
"""Result codes of a bind that mean that the user is rejected, with the reason for the log."""

_INVALID_DN = 34
"""
Result code C{invalidDNSyntax}, with which servers other than Active Directory answer a bind by a
name that is not a DN.
"""

_ABOUT_ACCOUNT = re.compile("account|inactive|inactivated|locked|expired", re.IGNORECASE)
"""
Words in the message of C{unwillingToPerform} that mean that the user's account is refused; without
one of the words, C{unwillingToPerform} counts as an outage of the server.
"""

_POLICY_ERRORS: Mapping[int | None, str | None] = {
    None: None,
    0: "the password has expired",
    1: "the account is locked",
    2: "the password must be changed",
}
"""Errors of the password policy control (draft-behera-ldap-password-policy)."""

_ACTIVE_DIRECTORY_ERRORS = {
    "525": "unknown user",
    "530": "login is not permitted at this time",
    "531": "login is not permitted from this machine",
    "532": "the password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "the password must be changed",
    "775": "the account is locked",
}
"""The meaning of the codes in error messages of Active Directory, such as C{data 775}."""


async def bind_user(connection: Connection, dn: str, password: str) -> None:
    """
    Bind as a user.

    @raise Rejected: the directory refuses the user or the password.
    @raise Unavailable: the server failed, so the password may be right or wrong.
    """
    result = await _bind_with_policy(connection, dn, password)
    if result.code == _INVALID_DN and "=" not in dn:
        raise Unavailable("the server accepts only DNs in a bind; write user_dn as a DN")
    check_bind_result(result)


async def bind_account(connection: Connection, dn: str, password: str) -> None:
    """
    Bind as the service account, or as anonymous if C{dn} is empty.

    @raise BindRefused: the server refuses the password or the account, for example because the
        account is locked.
    @raise ServerFault: the server refuses the bind for another reason.
    """
    if dn:
        result = await _bind_with_policy(connection, dn, password)
    else:
        result = await connection.bind_anonymous(password)
    if result.code == SUCCESS:
        return
    reason = _policy_reason(result) or _active_directory_reason(result.message)
    is_refused = result.code == INVALID_CREDENTIALS or reason is not None
    kind = BindRefused if is_refused else ServerFault
    account = dn or "anonymous"
    raise kind(f"the server refused the bind as {account}: {reason or describe(result)}")


async def _bind_with_policy(connection: Connection, dn: str, password: str) -> Result:
    """Bind with the password policy control, with which a server says why it refuses a bind."""
    result = await connection.bind(dn, password, {decoding.PASSWORD_POLICY: None})
    if result.code == UNWILLING and not (result.controls or _ABOUT_ACCOUNT.search(result.message)):
        # Some servers refuse every bind that carries the password policy control.
        result = await connection.bind(dn, password)
    return result


def _policy_reason(result: Result) -> str | None:
    """
    Return the error that the password policy control reports, in words, or C{None} if it reports
    none.
    """
    try:
        code = decoding.password_policy_error(result.controls)
    except (
        DecodingError
    ):  # the result code says that the bind failed, so only the reason is missing
        return None
    return _POLICY_ERRORS.get(code, "the password policy")


def check_bind_result(result: Result) -> None:
    """
    Return normally if the bind of a user succeeded, and raise an exception otherwise.

    @raise Rejected: the directory refuses the user or the password.
    @raise Unavailable: the server failed, so the password may be right or wrong.
    """
    try:
        policy_code = decoding.password_policy_error(result.controls)
    except DecodingError as error:
        raise Unavailable(f"the bind failed: {error}") from None
    policy = _POLICY_ERRORS.get(policy_code, "the password policy")
    if result.code == SUCCESS and policy is None:
        return
    if policy is not None and result.code in (SUCCESS, UNWILLING, *_REJECTIONS):
        raise Rejected(policy)
    if result.code in _REJECTIONS:
        raise Rejected(_active_directory_reason(result.message) or _REJECTIONS[result.code])
    if result.code == UNWILLING and _ABOUT_ACCOUNT.search(result.message):
        raise Rejected(result.message)
    kind = ServerBusy if result.code in BUSY else NoVerdict
    raise kind(f"the bind failed: {describe(result)}")


def _active_directory_reason(message: str) -> str | None:
    code = re.search(r"\bdata ([0-9a-f]{3})\b", message)
    return _ACTIVE_DIRECTORY_ERRORS.get(code[1]) if code else None

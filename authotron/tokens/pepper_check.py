"""Check that a token store is opened with the pepper with which its API tokens were hashed."""

from __future__ import annotations

from attrs import evolve
from twisted.logger import Logger

from authotron.model.errors import ConfigError, Problem, Unavailable
from authotron.plugin.interfaces import IChecksPepper, IKeepsPepper, TokenQuery
from authotron.tokens.peppers import Peppers

_TEXT = "authotron: check value of the pepper"
"""
The text whose keyed hash is the check value; it contains blanks, and API tokens never do, so no API
token equals this text.
"""

_PAGE, _PAGES = 500, 20
"""
Limits of the search for an API token that was hashed with a known pepper: the number of API tokens
in one list, and the maximum number of lists.
"""

_log = Logger()


def check_value(peppers: Peppers) -> str:
    """Return the check value of the newest pepper: a keyed hash of a constant text."""
    return peppers.hash(_TEXT)


def verify(store: IChecksPepper, stored: str | None, peppers: Peppers, *, configured: bool) -> None:
    """
    Verify the check value of the pepper in a token store.

    @param stored: the check value in the store, or C{None} if the store has none.
    @param configured: whether C{store.pepper} is set.

    @raise ConfigError: the API tokens in the store were hashed with another pepper.
    """
    if stored is not None and not peppers.fits(stored, _TEXT):
        raise _mismatch(store, configured=configured)


async def verify_store(store: IChecksPepper, peppers: Peppers, *, configured: bool) -> None:
    """
    Verify the pepper of a store, and store the check value of the newest pepper.

    If a store of an earlier version has no check value, the hashes of its API tokens show whether
    they were made with the pepper.

    @param configured: whether C{store.pepper} is set.

    @raise ConfigError: the API tokens in the store were hashed with another pepper.
    @raise Unavailable: the store cannot be read.
    """
    stored = await store.pepper_check()
    verify(store, stored, peppers, configured=configured)
    if stored is None and not await _fits_tokens(store, peppers):
        raise _mismatch(store, configured=configured)
    newest = check_value(peppers)
    if stored == newest:
        return
    try:
        await store.set_pepper_check(newest, stored)
    except Unavailable as error:
        _log.warn(
            "token store: storing the check value of the pepper failed: {reason}",
            reason=str(error),
            event="store.pepper.unchecked",
        )
        return
    verify(store, await store.pepper_check(), peppers, configured=configured)


async def _fits_tokens(store: IChecksPepper, peppers: Peppers) -> bool:
    """
    Return whether the pepper fits the store: the store is empty, or has an API token that was
    hashed with a known pepper.
    """
    query, hashed = TokenQuery(most=_PAGE), False
    for _ in range(_PAGES):
        found = await store.list_tokens(query)
        for token in found:
            if peppers.made(token.hashed):
                return True
            hashed = hashed or peppers.is_hash(token.hashed)
        if len(found) < _PAGE:
            return not hashed
        query = evolve(query, after=found[-1].id)
    return True


def _mismatch(store: IChecksPepper, *, configured: bool) -> ConfigError:
    if configured:
        remedy = "add the earlier pepper after the configured one"
    elif IKeepsPepper.providedBy(store):
        remedy = f"restore {store.pepper_file} from its backup"
    else:
        remedy = (
            "the pepper is derived from jwt.secret, which has changed; set store.pepper or the "
            "earlier jwt.secret"
        )
    return ConfigError(
        [
            Problem(
                "store.pepper",
                "the pepper is not that with which the API tokens in the store were hashed, so "
                f"all API tokens would be rejected; {remedy}. `authotron tokens new-pepper` "
                "gives up these tokens",
            )
        ]
    )

"""Verify user names and passwords by a list of users in the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from hmac import compare_digest
from itertools import chain
from typing import Annotated, Literal

from attrs import define, field, frozen
from pydantic import AfterValidator, Field, SecretStr, model_validator
from zope.interface import implementer

from authotron.concurrency.racing import MaybeAwaited
from authotron.config.plugins import ProviderConfig
from authotron.config.section import PossibleNames, Secret, Section, warn_of_roles
from authotron.config.sources import without_line_end
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential, Identity
from authotron.model.naming import flaw, normalize
from authotron.net.world import World
from authotron.plugin import passwords
from authotron.plugin.interfaces import Affinity, IProvider, IUserLookup


def _check_hash(secret: SecretStr) -> SecretStr:
    """
    Check that a password can be verified against a hash, after removing a line end that a YAML
    block scalar has added.
    """
    return SecretStr(passwords.check_hash(without_line_end(secret.get_secret_value())))


class User(Section):
    """A user in the list, with the password or the hash of the password."""

    username: Annotated[str, AfterValidator(normalize)] = Field(
        description="the user name, case-sensitive; without a colon"
    )
    password: Secret | None = Field(default=None, description="the password in plain text")
    password_hash: Annotated[Secret, AfterValidator(_check_hash)] | None = Field(
        default=None,
        description="the argon2id or bcrypt hash of the password; see `authotron hash-password`",
    )
    roles: PossibleNames = Field(default=(), strict=False, description="roles of this user")

    @model_validator(mode="after")
    def _check_secrets(self) -> User:
        if (self.password is None) == (self.password_hash is None):
            raise ValueError("a user needs either password or password_hash")
        return self


class Config(ProviderConfig):
    """`type: plain`: HTTP Basic against the users listed here."""

    type: Literal["plain"]
    users: tuple[User, ...] = Field(strict=False, description="the users")

    @property
    def verifies_passwords(self) -> bool:
        return True

    def warnings(self) -> tuple[str, ...]:
        """Warn of empty passwords, and of names that the gateway will refuse."""
        empty = [user.username for user in self.users if _reveal(user.password) == ""]
        return (
            *(f"user {name!r} has an empty password" for name in empty),
            *self._warn_of_names(),
        )

    def _warn_of_names(self) -> Iterator[str]:
        for user in self.users:
            if why := flaw(user.username):
                yield f"user {user.username!a} is refused (403): the name {why}"
            yield from warn_of_roles(user.roles, f"user {user.username!a}")


# Reading a module variable is faster, by 0.07 us, than reading C{Affinity.POSSIBLE}.
_POSSIBLE = Affinity.POSSIBLE


@frozen
class _Entry:
    """
    One user in the list, with the digest of a plain-text password or the
    configured password hash.
    """

    authentication: Authentication
    digest: bytes | None = field(repr=False)
    hashed: str | None = field(repr=False)


@implementer(IProvider, IUserLookup)
@define(eq=False)
class Plain:
    """
    Verifies Basic credentials by a list of users; a user may be listed twice,
    with two passwords.
    """

    name: str
    realm: str
    _users: Mapping[str, tuple[_Entry, ...]] = field(repr=False)
    _verifier: passwords.PasswordVerifier = field(repr=False)
    type: str = field(default="plain", init=False)
    scheme: str = field(default="basic", init=False)
    local: bool = field(default=True, init=False)
    _decoys: Sequence[Sequence[str]] = field(init=False, repr=False)
    _secret: bytes = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._decoys = [hashes for user in self._users.values() if (hashes := _hashes_of(user))]
        self._secret = passwords.digest("".join(chain.from_iterable(self._decoys)))

    def affinity(self, credential: Credential) -> Affinity:
        return _POSSIBLE

    def authenticate(self, credential: Credential) -> MaybeAwaited[Authentication]:
        username, password = credential.username_and_password()
        entries = self._users.get(username, ())
        known = _by_clear_text(entries, password)
        if known is not None:
            return known.authentication
        if self._decoys:
            return self._by_hash(username, password, entries, credential.client)
        raise _rejection()

    async def look_up(self, username: str) -> Authentication:
        """
        Return a listed user; if the user is listed several times, with only the roles common to all
        these entries.
        """
        entries = self._users.get(username, ())
        if not entries:
            raise Rejected("unknown user")
        if len(entries) == 1:
            return entries[0].authentication
        first, *others = (known.authentication.identity for known in entries)
        common = tuple(role for role in first.roles if all(role in each.roles for each in others))
        return Authentication(first._replace(roles=common), self.name)

    async def _by_hash(
        self, username: str, password: str, entries: tuple[_Entry, ...], client: str | None
    ) -> Authentication:
        """
        Return the user whose password hash matches the password.

        If the user is unknown, or has no password hash, the password is verified against the hashes
        of another user, and then always rejected, so that the time does not tell whether the user
        exists.
        """
        hashed = [known for known in entries if known.hashed]
        hashes = _hashes_of(hashed) or self._decoy_hashes(username)
        place = await self._verifier.find_match(
            username, password, hashes, client, remember=bool(hashed)
        )
        if place is None or not hashed:
            raise _rejection()
        return hashed[place].authentication

    def _decoy_hashes(self, username: str) -> Sequence[str]:
        """
        Choose a listed user's password hashes, to verify an unknown user's password against them.

        A keyed hash of the unknown user name selects the listed user, so that an unknown user name
        always leads to the same hashes. If the hashes were chosen at random, the time of the
        answers would vary with the kind and number of the hashes, and so reveal that a user name is
        unknown.
        """
        raw = username.encode("utf-8", "surrogatepass")
        number = int.from_bytes(blake2b(raw, key=self._secret, digest_size=8).digest(), "big")
        return self._decoys[number % len(self._decoys)]


def _hashes_of(entries: Iterable[_Entry]) -> list[str]:
    return [known.hashed for known in entries if known.hashed]


def _rejection() -> Rejected:
    return Rejected("unknown user or wrong password")


def _by_clear_text(entries: tuple[_Entry, ...], password: str) -> _Entry | None:
    """
    Return the first entry with this plain-text password; hash it even if no entry has a password,
    so that the time is constant.
    """
    found, given = None, passwords.digest(password)
    for known in reversed(entries):
        if known.digest is not None and compare_digest(known.digest, given):
            found = known
    return found


def _build_entry(user: User, config: Config) -> _Entry:
    password = _reveal(user.password)
    digest = passwords.digest(password) if password is not None else None
    identity = Identity(config.realm, user.username, user.roles)
    return _Entry(Authentication(identity, config.name), digest, _reveal(user.password_hash))


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its section of the configuration."""
    users: dict[str, tuple[_Entry, ...]] = {}
    for user in config.users:
        users[user.username] = (*users.get(user.username, ()), _build_entry(user, config))
    return Plain(config.name, config.realm, users, passwords.PasswordVerifier(world))

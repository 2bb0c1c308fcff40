"""Users listed in the configuration, with their passwords or the hashes of these."""

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
from authotron.config.plugins import PartConfig
from authotron.config.section import (
    Names,
    Secret,
    Section,
)
from authotron.config.sources import without_line_end
from authotron.model.authentication import Authentication
from authotron.model.errors import Rejected
from authotron.model.identity import Credential, Identity
from authotron.model.naming import MAX_ROLE, flaw, normalized
from authotron.net.world import World
from authotron.plugin import passwords
from authotron.plugin.interfaces import Affinity, IProvider, IUserLookup


def _checked(secret: SecretStr) -> SecretStr:
    """A hash that can be verified, without the line end of a block scalar."""
    return SecretStr(passwords.check_hash(without_line_end(secret.get_secret_value())))


class User(Section):
    """One who may get in."""

    username: Annotated[str, AfterValidator(normalized)] = Field(
        description="the login name, case-sensitive; without a colon"
    )
    password: Secret | None = Field(default=None, description="the password in clear")
    password_hash: Annotated[Secret, AfterValidator(_checked)] | None = Field(
        default=None,
        description="the argon2id or bcrypt hash of the password; see `authotron hash-password`",
    )
    roles: Names = Field(default=(), strict=False, description="roles of this user")

    @model_validator(mode="after")
    def _one_of_both(self) -> User:
        if (self.password is None) == (self.password_hash is None):
            raise ValueError("a user has one of password and password_hash")
        return self


class Config(PartConfig):
    """`type: plain`: HTTP Basic against the users listed here."""

    type: Literal["plain"]
    users: tuple[User, ...] = Field(strict=False, description="who may get in")

    def warnings(self) -> tuple[str, ...]:
        """What an operator should hear about."""
        empty = [user.username for user in self.users if _revealed(user.password) == ""]
        return (
            *(f"user {name!r} gets in with an empty password" for name in empty),
            *self._bad_names(),
        )

    def _bad_names(self) -> Iterator[str]:
        for user in self.users:
            if why := flaw(user.username):
                yield f"user {user.username!a} is refused (403): the name {why}"
            for role in user.roles:
                if why := flaw(role, MAX_ROLE, tab=True):
                    yield f"role {role!a} of user {user.username!a} is left out: it {why}"


_POSSIBLE = Affinity.POSSIBLE  # found at once, unlike in the C{Enum}


@frozen
class _Known:
    """What is known of one entry of the list."""

    authentication: Authentication
    digest: bytes | None = field(repr=False)
    hashed: str | None = field(repr=False)


@implementer(IProvider, IUserLookup)
@define(eq=False)
class Plain:
    """Judges Basic credentials by a list. A name may stand there twice: either password fits."""

    name: str
    realm: str
    _users: Mapping[str, tuple[_Known, ...]] = field(repr=False)
    _verifier: passwords.PasswordVerifier = field(repr=False)
    type: str = field(default="plain", init=False)
    scheme: str = field(default="basic", init=False)
    local: bool = field(default=True, init=False)
    _stand_ins: Sequence[Sequence[str]] = field(init=False, repr=False)
    _secret: bytes = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._stand_ins = [hashes for user in self._users.values() if (hashes := _hashes_of(user))]
        self._secret = passwords.digest("".join(chain.from_iterable(self._stand_ins)))

    def affinity(self, credential: Credential) -> Affinity:
        return _POSSIBLE

    def authenticate(self, credential: Credential) -> MaybeAwaited[Authentication]:
        username, password = credential.username_and_password()
        entries = self._users.get(username, ())
        known = _by_clear_text(entries, password)
        if known is not None:
            return known.authentication
        if self._stand_ins:
            return self._by_hash(username, password, entries, credential.client)
        raise _rejected()

    async def look_up(self, username: str) -> Authentication:
        """Of who stands there twice, what both entries have: nobody knows which it would be."""
        entries = self._users.get(username, ())
        if not entries:
            raise Rejected("unknown user")
        if len(entries) == 1:
            return entries[0].authentication
        first, *others = (known.authentication.identity for known in entries)
        common = tuple(role for role in first.roles if all(role in each.roles for each in others))
        return Authentication(first._replace(roles=common), self.name)

    async def _by_hash(
        self, username: str, password: str, entries: tuple[_Known, ...], client: str | None
    ) -> Authentication:
        """
        The identity of the entry whose hash fits.

        A user who is unknown, or has no hash, is held against the hashes of another user, to no
        avail: that takes the time that it may take for a known one.
        """
        hashed = [known for known in entries if known.hashed]
        hashes = _hashes_of(hashed) or self._stand_in(username)
        place = await self._verifier.find_match(
            username, password, hashes, client, remember=bool(hashed)
        )
        if place is None or not hashed:
            raise _rejected()
        return hashed[place].authentication

    def _stand_in(self, username: str) -> Sequence[str]:
        """
        The hashes of some user, always of the same one for the same name.

        The choice depends on what an attacker does not know. So where users have hashes of several
        kinds, or several hashes, no time that a name takes tells whether there is such a user.
        """
        raw = username.encode("utf-8", "surrogatepass")
        number = int.from_bytes(blake2b(raw, key=self._secret, digest_size=8).digest(), "big")
        return self._stand_ins[number % len(self._stand_ins)]


def _hashes_of(entries: Iterable[_Known]) -> list[str]:
    return [known.hashed for known in entries if known.hashed]


def _rejected() -> Rejected:
    return Rejected("unknown user or wrong password")


def _by_clear_text(entries: tuple[_Known, ...], password: str) -> _Known | None:
    """The first entry that fits; the password of an unknown user is hashed, too."""
    found, given = None, passwords.digest(password)
    for known in reversed(entries):
        if known.digest is not None and compare_digest(known.digest, given):
            found = known
    return found


def _known(user: User, config: Config) -> _Known:
    password = _revealed(user.password)
    digest = passwords.digest(password) if password is not None else None
    identity = Identity(config.realm, user.username, user.roles)
    return _Known(Authentication(identity, config.name), digest, _revealed(user.password_hash))


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def make(config: Config, world: World) -> IProvider:
    """Build the provider from its own section."""
    users: dict[str, tuple[_Known, ...]] = {}
    for user in config.users:
        users[user.username] = (*users.get(user.username, ()), _known(user, config))
    return Plain(config.name, config.realm, users, passwords.PasswordVerifier(world))

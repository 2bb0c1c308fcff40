"""
A provider of another package that fails on demand.

The user name selects the behaviour: C{unavailable}, C{broken}, or C{slow}, which succeeds once the
file C{go} exists. Other users are rejected. It can be built a limited number of times.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import define, field
from twisted.internet.task import deferLater
from zope.interface import implementer

from authotron.plugin import (
    Affinity,
    Authentication,
    Credential,
    Identity,
    IProvider,
    PluginConfig,
    Rejected,
    Unavailable,
    World,
)


class Config(PluginConfig):
    """`type: awkward`: a provider that fails on demand."""

    type: Literal["awkward"]
    folder: str
    times: int | None = None


@implementer(IProvider)
@define(eq=False)
class Awkward:
    """A provider that succeeds or fails, depending on the user name."""

    name: str
    realm: str
    _folder: Path
    _world: World
    type: str = field(default="awkward", init=False)
    scheme: str = field(default="basic", init=False)
    local: bool = field(default=False, init=False)

    def affinity(self, credential: Credential) -> Affinity:
        return Affinity.POSSIBLE

    async def authenticate(self, credential: Credential) -> Authentication:
        username, password = credential.username_and_password()
        if username == "unavailable":
            raise Unavailable("the remote is out")
        if username == "broken":
            raise ValueError(f"cannot cope with {password}")
        if username != "slow":
            raise Rejected("unknown user")
        (self._folder / "arrived").touch()
        while not (self._folder / "go").exists():
            await deferLater(self._world.clock, 0.02)
        return Authentication(Identity(self.realm, username))


def make(config: Config, world: World) -> IProvider:
    folder = Path(config.folder)
    if config.times is not None:
        with (folder / "made").open("ab") as made:
            made.write(b".")
            if made.tell() > config.times:
                raise ValueError("made too often")
    return Awkward(config.name, config.realm, folder, world)

"""
The protocol by which git asks a helper for a credential (gitcredentials(7), git-credential(1)).

Only the services of the profile get the token of the login, whatever host git names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from authotron.login.kept_login import KeptLogin
from authotron.net.urls import check_url, origin

LARGEST = 65_536
"""Maximum number of characters that git may send."""


@frozen
class Question:
    """
    The description of a credential that git sends to its helper.

    @ivar url: the scheme, host and port of the service, or an empty text if git names none.
    @ivar takes_tokens: whether git can send a bearer token, as git 2.46 and later can.
    @ivar credential: the token that git has sent, if git reports whether a service has accepted it.
    """

    url: str
    takes_tokens: bool
    credential: str = field(repr=False)

    def is_for(self, urls: Sequence[str]) -> bool:
        """Return whether the service is at the same scheme, host and port as one of some URLs."""
        return bool(self.url) and origin(self.url) in map(origin, urls)


def parse(text: str) -> Question:
    """
    Parse the lines C{key=value} that git sends.

    @raise ValueError: a line is malformed.
    """
    values: dict[str, str] = {}
    capabilities: list[str] = []
    for line in filter(None, text.splitlines()):
        key, equals, value = line.partition("=")
        if not equals:
            raise ValueError("a line of git has no `=`")
        if key == "capability[]":
            capabilities.append(value)
        else:
            values[key] = value
    credential = values.get("credential") or values.get("password", "")
    return Question(_url(values), "authtype" in capabilities, credential)


def _url(values: Mapping[str, str]) -> str:
    """Return the URL of the service, or an empty text if git describes no HTTP service."""
    try:
        return check_url(f"{values.get('protocol', '')}://{values.get('host', '')}/")
    except ValueError:
        return ""


def as_token(login: KeptLogin) -> Iterator[str]:
    """Yield the lines by which git sends the token as a bearer token, and does not keep it."""
    yield "capability[]=authtype"
    yield "authtype=Bearer"
    yield f"credential={login.token}"
    yield "ephemeral=1"
    yield f"password_expiry_utc={int(login.ends)}"


def as_password(login: KeptLogin, username: str) -> Iterator[str]:
    """Yield the lines by which git sends the token as the password of a user name."""
    yield f"username={username}"
    yield f"password={login.token}"
    yield f"password_expiry_utc={int(login.ends)}"

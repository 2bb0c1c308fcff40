"""The requests of a login to the gateway: exchange a credential, refresh a token, log out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from authotron.login import issued
from authotron.login.issued import Issued
from authotron.login.profile import Profile
from authotron.model.errors import Rejected, Unavailable
from authotron.net.http import RemoteResponse, WebClient
from authotron.net.urls import join_url
from authotron.net.world import World

_OK, _BAD_REQUEST, _UNAUTHORIZED, _NOT_FOUND = 200, 400, 401, 404
_REFUSALS = (400, 403, 413, 415, 422)
_REDIRECTS = range(300, 400)


@frozen
class Presented:
    """
    The credential that a client presents to the gateway.

    @ivar basic: a user name and a password.
    @ivar bearer: a token.
    @ivar certificate: the path of the certificate, if it is the credential.
    @ivar realm: the realm in which the credential is to be judged, or C{None}.
    """

    basic: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    realm: str | None = None
    certificate: str | None = None

    @property
    def fingerprint(self) -> str:
        """
        A fingerprint of the credential, which differs between credentials and does not reveal the
        credential.
        """
        user = None if self.basic is None else self.basic[0]
        parts = (user, self.bearer, self.realm, self.certificate)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class RefusedRequest(Rejected):
    """
    The gateway knows the client, but refuses the token that it requests.

    @ivar problems: what the gateway refuses, each as a line that begins with the key.
    """

    def __init__(self, message: str, problems: tuple[str, ...]) -> None:
        super().__init__(message)
        self.problems = problems

    def is_about(self, key: str) -> bool:
        """Return whether one key of the request is all that the gateway refuses."""
        return bool(self.problems) and all(each.startswith(f"{key}:") for each in self.problems)


@frozen
class RemoteGateway:
    """A gateway at which a client logs in; every request has a timeout, no redirect is followed."""

    url: str
    _web: WebClient
    _clock: IReactorTime

    async def exchange(self, presented: Presented, wish: Mapping[str, Any]) -> Issued:
        """
        Exchange a credential for a token.

        @param wish: the keys of the request: what the token shall grant.

        @raise RefusedRequest: the gateway knows the client, but refuses the requested properties.
        @raise Rejected: the gateway rejects the credential.
        @raise Unavailable: the gateway did not answer, or its answer is malformed.
        """
        response = await self._post("token/exchange", wish, presented)
        if response.status == _NOT_FOUND:
            why = "does not exchange credentials: tokens.exchange is missing in its configuration"
            raise Rejected(f"the gateway {self.url} {why}, or the URL is not that of a gateway")
        if response.status == _OK:
            return self._read(response)
        raise self._failure(response, "rejects the credential")

    async def refresh(self, refresh_token: str) -> Issued:
        """
        Obtain a new token, and a new refresh token, for a refresh token.

        Any other answer than that of a gateway to an invalid refresh token counts as an outage, so
        that a proxy which is configured wrongly for a moment does not end the login.

        @raise Rejected: the refresh token is not valid any more.
        @raise Unavailable: the gateway did not answer, or its answer is malformed.
        """
        content = {"refresh_token": refresh_token}
        response = await self._post("token/refresh", content, Presented())
        if response.status == _OK:
            return self._read(response)
        if response.status == _BAD_REQUEST and response.is_json:
            raise Rejected(f"the gateway {self.url} rejects the refresh token")
        raise response.unexpected_status()

    async def log_out(self, token: str) -> bool:
        """
        Revoke a token; return whether the gateway can revoke tokens.

        @raise Rejected: the gateway refuses to revoke the token.
        @raise Unavailable: the gateway did not answer, or its answer is malformed.
        """
        response = await self._post("logout", {}, Presented(bearer=token))
        if response.status == _UNAUTHORIZED:
            return True  # The token has ended already.
        return self._has_ended(response)

    async def log_out_everywhere(self, presented: Presented) -> None:
        """
        Revoke all tokens that were issued to a user before now.

        @param presented: the password of the user, or a token of the user without restrictions.

        @raise Rejected: the gateway rejects the credential, or cannot revoke tokens.
        @raise Unavailable: the gateway did not answer, or its answer is malformed.
        """
        response = await self._post("logout", {"everywhere": True}, presented)
        if response.status == _NOT_FOUND:
            raise Rejected(
                f"the gateway {self.url} cannot revoke tokens: the section revocation is missing "
                "in its configuration"
            )
        if not response.is_success:
            raise self._failure(response, "rejects the credential")

    async def end_refresh_token(self, token: str, refresh_token: str) -> bool:
        """
        Revoke a refresh token; return whether the gateway can revoke refresh tokens.

        @param token: the exchanged token of the same login, which authenticates the client.

        @raise Rejected: the gateway refuses to revoke the refresh token.
        @raise Unavailable: the gateway did not answer, or its answer is malformed.
        """
        form = {"token": refresh_token, "token_type_hint": "refresh_token"}
        url = join_url(self.url, "oauth", "revoke")
        response = await self._web.post(url, form=form, bearer=token, new_connection=True)
        return self._has_ended(response)

    async def _post(
        self, path: str, content: Mapping[str, Any], presented: Presented
    ) -> RemoteResponse:
        headers = {} if presented.realm is None else {"X-Auth-Realm": presented.realm}
        return await self._web.post(
            join_url(self.url, *path.split("/")),
            content=content,
            basic=presented.basic,
            bearer=presented.bearer,
            headers=headers,
            new_connection=True,
        )

    def _read(self, response: RemoteResponse) -> Issued:
        try:
            return issued.read(response.json_object(), self._clock.seconds())
        except ValueError as flaw:
            raise Unavailable(f"{response.place} answered without a token: {flaw}") from None

    def _has_ended(self, response: RemoteResponse) -> bool:
        """Return whether the gateway has revoked a token; if not, it cannot revoke any."""
        if response.is_success:
            return True
        if response.status == _NOT_FOUND:
            return False
        raise self._failure(response, "rejects the token")

    def _failure(self, response: RemoteResponse, rejects: str) -> Exception:
        """Return the error for an answer that is not a success."""
        status = response.status
        if status == _UNAUTHORIZED:
            return Rejected(f"the gateway {self.url} {rejects} (401)")
        if status in _REFUSALS:
            why, problems = _explanation(response)
            return RefusedRequest(f"the gateway {self.url} refuses ({status}): {why}", problems)
        if status in _REDIRECTS:
            where = "a redirect, which is not followed; give the URL of the gateway itself"
            return Rejected(f"{response.place} answered {status}, {where}")
        return response.unexpected_status()


def _explanation(response: RemoteResponse) -> tuple[str, tuple[str, ...]]:
    """Return the error message and the problems in the body of a refusal, as far as it has any."""
    try:
        content = response.json_object()
    except Unavailable:
        return "no reason given", ()
    found = content.get("problems")
    problems = tuple(map(str, found)) if isinstance(found, list) else ()
    return "; ".join(problems) or str(content.get("error", "no reason given")), problems


def make(profile: Profile, world: World) -> RemoteGateway:
    """Build the client of the gateway that a profile names."""
    assert profile.gateway is not None
    web = WebClient(world.clock, world.agents, profile.trust(), profile.timeout, world.breakers)
    return RemoteGateway(profile.gateway, web, world.clock)

"""Log in at a gateway, keep and renew the token, log out; processes of one user take turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from authotron.login import kept_login
from authotron.login.errors import NotLoggedIn
from authotron.login.issued import Issued
from authotron.login.kept_login import KeptLogin
from authotron.login.private_folder import PrivateFolder
from authotron.login.profile import PASSWORDS, Profile
from authotron.login.remote_gateway import Presented, RefusedRequest, RemoteGateway
from authotron.model.errors import Rejected, Unavailable

_AGAIN = 0.05
"""Seconds after which a process tries again to get the lock of another process."""

_LOCK_SHARE = 3.0
"""How many timeouts of a request a process waits for the lock: a renewal sends up to three."""


@frozen
class LoggedOut:
    """
    What a logout has ended.

    @ivar login: the login that was kept, or C{None} if no login was kept.
    @ivar is_revoked: whether the gateway refuses the token from now on.
    @ivar is_refresh_revoked: whether the gateway refuses the refresh token; C{None} without one.
    @ivar failure: why the gateway could not be asked to revoke the tokens, or an empty text.
    @ivar everywhere: whether the gateway refuses all other tokens of the user, too; C{None} if
        they were to be kept.
    @ivar everywhere_failure: why the gateway did not revoke the other tokens, or an empty text.
    """

    login: KeptLogin | None
    is_revoked: bool = False
    is_refresh_revoked: bool | None = None
    failure: str = ""
    everywhere: bool | None = None
    everywhere_failure: str = ""


@frozen
class Logins:
    """
    The login of one profile at one gateway.

    @ivar warn: a function that is called with each warning for the user.
    """

    profile: Profile
    remote: RemoteGateway
    folder: PrivateFolder
    name: str
    clock: IReactorTime
    warn: Callable[[str], object]

    async def log_in(self, presented: Presented, wish: Mapping[str, Any]) -> KeptLogin:
        """
        Exchange a credential for a token, and keep the token; an earlier refresh token is ended.

        @raise Rejected: the gateway rejects the credential, or refuses the wish.
        @raise Unavailable: the gateway, or another process of this user, does not answer.
        @raise UnsafeFile: the token cannot be kept safely.
        """
        async with self._lock():
            earlier = self._any_kept()
            found = await self._obtain(presented, wish)
            if earlier is not None and earlier.refresh_token is not None:
                with suppress(Rejected, Unavailable):
                    await self.remote.end_refresh_token(found.token, earlier.refresh_token)
            return found

    async def current(self) -> KeptLogin:
        """
        Return the login with a valid token, which is renewed first if half of its life is over.

        If another process renews the token, the present token is returned while it is valid. The
        present token is also returned, while it is valid, if renewing fails.

        @raise NotLoggedIn: no valid token is kept, and no token can be obtained without asking the
            user.
        @raise Rejected: the gateway rejects the configured credential.
        @raise Unavailable: no valid token is kept, and the gateway does not answer.
        @raise UnsafeFile: the token cannot be kept safely.
        """
        found, now = self._kept(), self.clock.seconds()
        if found is not None and not found.is_due(now):
            return found
        is_valid = found is not None and found.is_valid(now)
        lock = self.folder.try_lock(self.name)
        if lock is None:
            if found is not None and is_valid:
                return found
            lock = await self._wait_for_lock()
        try:
            return await self._renewed()
        finally:
            self.folder.unlock(lock)

    async def refused(self, token: str) -> None:
        """
        Note that a service has refused a token, so that it is renewed before the next use.

        @raise Unavailable: another process of this user does not end its work.
        @raise UnsafeFile: the kept login cannot be changed.
        """
        async with self._lock():
            found = self._kept()
            if found is not None and found.token == token:
                self._keep(evolve(found, due=0.0))

    async def log_out(self, everywhere: Presented | None = None) -> LoggedOut:
        """
        Revoke the token and the refresh token, as far as the gateway can, and delete both on this
        machine in any case.

        @param everywhere: a credential of a user all of whose tokens are to be revoked, too. The
            kept token is an exchanged one, for which a gateway revokes no other tokens.

        @raise Unavailable: another process of this user does not end its work.
        @raise UnsafeFile: the kept login cannot be deleted.
        """
        async with self._lock():
            found = self._any_kept()
            try:
                ended = LoggedOut(None) if found is None else await self._end(found)
            except (Rejected, Unavailable) as error:
                ended = LoggedOut(found, failure=str(error))
            finally:
                self.folder.delete(self.name)
        return ended if everywhere is None else await self._end_others(ended, everywhere)

    async def _end_others(self, ended: LoggedOut, presented: Presented) -> LoggedOut:
        """Revoke all tokens of the user who presents a credential, whatever else has failed."""
        try:
            await self.remote.log_out_everywhere(presented)
        except (Rejected, Unavailable) as error:
            return evolve(ended, everywhere=False, everywhere_failure=str(error))
        return evolve(ended, everywhere=True)

    async def _end(self, login: KeptLogin) -> LoggedOut:
        token, refresh = login.token, login.refresh_token
        if refresh is not None and not login.is_valid(self.clock.seconds()):
            # Only a valid token authenticates the client that revokes its refresh token.
            issued = await self.remote.refresh(refresh)
            token, refresh = issued.token, issued.refresh_token
        is_refresh_revoked = None
        if refresh is not None:
            is_refresh_revoked = await self.remote.end_refresh_token(token, refresh)
        is_revoked = await self.remote.log_out(token)
        return LoggedOut(login, is_revoked, is_refresh_revoked)

    async def _renewed(self) -> KeptLogin:
        """Renew the kept token, unless another process has renewed it meanwhile."""
        found, now = self._kept(), self.clock.seconds()
        if found is not None and not found.is_due(now):
            return found
        try:
            renewed = await self._renew(found)
        except (Rejected, Unavailable) as error:
            return self._still_valid(str(error), error)
        if renewed is not None:
            return renewed
        again = f"no token for {self.remote.url} is kept that is still valid; use authotron login"
        return self._still_valid("", NotLoggedIn(again))

    async def _renew(self, found: KeptLogin | None) -> KeptLogin | None:
        """
        Obtain a new token by the refresh token, or else by a credential for which the user need not
        be asked; return C{None} if the login has neither of them.
        """
        wish = {} if found is None else found.wish
        presented = unattended(self.profile)
        if found is not None and found.refresh_token is not None:
            try:
                return await self._refresh(found, found.refresh_token)
            except Rejected:
                self._keep(found.without_refresh_token())
                if presented is None:
                    raise
        return None if presented is None else await self._obtain(presented, wish)

    def _still_valid(self, why: str, error: Exception) -> KeptLogin:
        """
        Return the kept login although its token was not renewed, if the token is valid.

        @param why: the warning for the user, or an empty text for none.
        """
        found, now = self._kept(), self.clock.seconds()
        if found is None or not found.is_valid(now):
            raise error
        if why:
            self.warn(f"the token was not renewed, and expires in {found.ends - now:.0f} s: {why}")
        postponed = found.postponed(now)
        self._keep(postponed)
        return postponed

    async def _obtain(self, presented: Presented, wish: Mapping[str, Any]) -> KeptLogin:
        with self.folder.replacing(self.name) as file:
            issued = await self._exchange(presented, wish)
            return self._write(file, issued, presented.fingerprint, wish)

    async def _refresh(self, found: KeptLogin, refresh_token: str) -> KeptLogin:
        with self.folder.replacing(self.name) as file:
            issued = await self.remote.refresh(refresh_token)
            return self._write(file, issued, found.credential, found.wish)

    async def _exchange(self, presented: Presented, wish: Mapping[str, Any]) -> Issued:
        if self.profile.refresh:
            try:
                return await self.remote.exchange(presented, {**wish, "refresh": True})
            except RefusedRequest as refused:
                if not refused.is_about("refresh"):
                    raise
        return await self.remote.exchange(presented, wish)

    def _write(
        self, file: int, issued: Issued, credential: str, wish: Mapping[str, Any]
    ) -> KeptLogin:
        now = self.clock.seconds()
        found = kept_login.of_issued(self.remote.url, issued, credential, wish, now)
        self.folder.write(file, found.encode())
        return found

    def _keep(self, login: KeptLogin) -> None:
        with self.folder.replacing(self.name) as file:
            self.folder.write(file, login.encode())

    def _kept(self) -> KeptLogin | None:
        """
        Return the login that is kept for this gateway.

        If the settings have a credential, a login by another credential is not used, because a
        script would then act as another user than its settings say.
        """
        found, presented = self._any_kept(), unattended(self.profile)
        if found is None or presented is None or found.credential == presented.fingerprint:
            return found
        return None

    def _any_kept(self) -> KeptLogin | None:
        """
        Return the login that is kept for this gateway, whichever credential was used for the login.

        A file that was copied from that of another gateway is not used, because its token would be
        sent to the wrong gateway.
        """
        content = self.folder.read(self.name)
        found = None if content is None else kept_login.decode(content)
        return found if found is not None and found.gateway == self.remote.url else None

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        lock = await self._wait_for_lock()
        try:
            yield
        finally:
            self.folder.unlock(lock)

    async def _wait_for_lock(self) -> int:
        """
        Lock the login for this process, as soon as no other process has the lock.

        @raise Unavailable: another process has the lock for too long.
        """
        seconds = self.profile.timeout * _LOCK_SHARE
        ends = self.clock.seconds() + seconds
        while (lock := self.folder.try_lock(self.name)) is None:
            if self.clock.seconds() >= ends:
                path = f"{self.folder.path / self.name}.lock"
                raise Unavailable(
                    f"another process of this user keeps the token locked for {seconds:g} s: {path}"
                )
            await deferLater(self.clock, _AGAIN)
        return lock


def unattended(profile: Profile) -> Presented | None:
    """
    Return the credential of a profile for which the user need not be asked, or C{None} if the
    profile has no such credential.
    """
    kind, realm = profile.provider, profile.realm
    if kind in PASSWORDS and profile.user is not None and profile.password is not None:
        return Presented(basic=(profile.user, profile.password.get_secret_value()), realm=realm)
    if kind == "token" and profile.token is not None:
        return Presented(bearer=profile.token.get_secret_value(), realm=realm)
    if kind == "certificate" and profile.client_certificate_file is not None:
        return Presented(realm=realm, certificate=str(profile.client_certificate_file))
    return None

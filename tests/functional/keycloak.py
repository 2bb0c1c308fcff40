"""A real Keycloak: started, asked for tokens, administered, stopped."""

from __future__ import annotations

import atexit
import json
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from attrs import define, field

from tests.functional import servers
from tests.functional.daemon import free_pair, needed
from tests.waiting import DEADLINE

ROOT = Path(__file__).resolve().parents[2]
REALM = "authotron-test"

CURRENT = "26.7.3"
OLD = "26.4.0"
"""The last that lets any confidential client introspect any token."""

CLIENTS = {"gateway": "gateway-secret", "strict": "strict-secret"}
"""Confidential clients: the first has the attribute that brings the old behaviour back."""

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@define(eq=False)
class Keycloak:
    """
    A Keycloak server with the realm of the tests.

    @ivar port: for HTTP; TLS is on the next.
    """

    version: str = CURRENT
    folder: Path = ROOT / "var/servers"
    port: int = field(factory=free_pair)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        return f"{self.address}/realms/{REALM}"

    @property
    def authority(self) -> Path:
        return self.folder / "tls/ca.pem"

    def install(self) -> None:
        needed("mvn")
        needed("java")
        self._run("install", str(self.folder))

    def start(self, *, keep: bool = False) -> Keycloak:
        keeping = {"KEEP": "1", "READY_SECONDS": "300"} if keep else {"READY_SECONDS": "300"}
        self._run("start", str(self.folder), str(self.port), **keeping)
        return self

    def stop(self) -> None:
        self._run("stop", str(self.folder))

    def _run(self, *words: str, **environ: str) -> None:
        servers.run("keycloak", *words, KEYCLOAK_VERSION=self.version, **environ)

    # --- what a user does ---

    def tokens(self, username: str = "alice", scope: str = "openid") -> dict[str, str]:
        """Return the tokens that a user gets for a password through the public client."""
        form = {"grant_type": "password", "client_id": "cli", "username": username}
        answer = self._openid("token", {**form, "password": "password", "scope": scope})
        assert isinstance(answer, dict)
        return answer

    def access_token(self, username: str = "alice", scope: str = "openid") -> str:
        return self.tokens(username, scope)["access_token"]

    def offline_token(self, username: str = "alice") -> str:
        return self.tokens(username, "openid offline_access")["refresh_token"]

    def revoke(self, token: str) -> None:
        self._openid("revoke", {"client_id": "cli", "token": token})

    def log_out(self, refresh_token: str) -> None:
        """End the session of a refresh token."""
        self._openid("logout", {"client_id": "cli", "refresh_token": refresh_token})

    def introspected(self, token: str, client: str) -> bool:
        """Return whether the server calls a token active when a client asks."""
        secret = b64encode(f"{client}:{CLIENTS[client]}".encode()).decode()
        headers = {"Authorization": f"Basic {secret}"}
        return bool(self._openid("token/introspect", {"token": token}, headers)["active"])

    def _openid(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Any:
        where = f"/realms/{REALM}/protocol/openid-connect/{path}"
        return self._ask("POST", where, urlencode(form), {**_FORM, **(headers or {})})

    # --- what an administrator does ---

    def rotate(self) -> None:
        """Let the realm sign with a new key; the old key is still published."""
        realm = self._administer("GET", f"/admin/realms/{REALM}")
        config = {"priority": ["900"], "keySize": ["2048"]}
        component = {
            "name": "newer",
            "parentId": realm["id"],
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": config,
        }
        self._administer("POST", f"/admin/realms/{REALM}/components", component)

    def report_logouts(self, client: str, url: str) -> None:
        """Let the server send logout tokens to a URL when a session of a client ends."""
        place = f"/admin/realms/{REALM}/clients"
        [found] = self._administer("GET", f"{place}?clientId={client}")
        attributes = {"backchannel.logout.url": url, "backchannel.logout.session.required": "true"}
        found["attributes"] = {**found.get("attributes", {}), **attributes}
        self._administer("PUT", f"{place}/{found['id']}", found)

    def change(self, **settings: Any) -> None:
        """Change settings of the realm."""
        self._administer("PUT", f"/admin/realms/{REALM}", settings)

    def _administer(self, method: str, path: str, content: Any = None) -> Any:
        form = {"grant_type": "password", "client_id": "admin-cli"}
        form |= {"username": "admin", "password": "admin"}
        where = "/realms/master/protocol/openid-connect/token"
        token = self._ask("POST", where, urlencode(form), _FORM)["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._ask(method, path, json.dumps(content) if content else None, headers)

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        assert 200 <= response.status < 300, f"{response.status} {content!r}"
        return json.loads(content) if content else None


@cache
def keycloak(version: str = CURRENT) -> Keycloak:
    """Return the server of a release; servers of two releases do not run at the same time."""
    for other in _running:
        with suppress(AssertionError):
            other.stop()
    server = Keycloak(version)
    server.install()
    server.start()
    _running.append(server)
    atexit.register(server.stop)
    return server


_running: list[Keycloak] = []

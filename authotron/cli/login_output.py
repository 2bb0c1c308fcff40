"""Print the login that is kept for a gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from authotron.login.kept_login import KeptLogin


def moment(seconds: float) -> str:
    """Return a time as people and programs read it, in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_json_of(login: KeptLogin) -> dict[str, Any]:
    """Return what the JSON of a command says of a login, without its tokens."""
    return {
        "gateway": login.gateway,
        "username": login.username,
        "realm": login.realm,
        "id": login.id,
        "expires": int(login.ends),
        "renew_at": int(login.due),
        "has_refresh_token": login.refresh_token is not None,
    }

"""The state of the signing keys from the token store, for operators."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite

from attrs import define, field

from authotron.jose.ring_keys import RingKeys
from authotron.model.errors import KeysUnknown


@define(eq=False)
class KeyStatus:
    """
    The state of the signing keys from the token store that this process uses.

    @ivar problem: why the signing keys in use may differ from those in the token store, or C{None}
        if the keys do not differ.
    """

    _keys: RingKeys
    _now: Callable[[], float]
    _started: float = field(init=False)
    problem: str | None = None

    def __attrs_post_init__(self) -> None:
        self._started = self._now()

    @property
    def age(self) -> float:
        """
        Seconds since the token store was last seen to contain the keys that are in use, or since
        the process began to read the keys.
        """
        return max(0.0, self._now() - max(self._keys.confirmed, self._started))

    @property
    def is_usable(self) -> bool:
        """Whether the gateway can sign JWTs."""
        try:
            self._keys.signer(self._now())
        except KeysUnknown:
            return False
        return True

    def as_json(self) -> dict[str, object]:
        """Return the part of the JSON reply to C{GET /ready} that describes the signing keys."""
        found: dict[str, object] = {"age": round(self.age, 1)}
        ring, now = self._keys.ring, self._now()
        if ring is not None:
            active, following = ring.active(now), ring.following(now)
            found["active"] = active.kid
            found["next"] = None if following is None else following.kid
            found["changes"] = moment(ring.ends(active))
        return found if self.problem is None else {**found, "problem": self.problem}


def moment(seconds: float) -> str | None:
    """Return a moment in UTC as ISO 8601, or C{None} if it is not planned."""
    if not isfinite(seconds):
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None

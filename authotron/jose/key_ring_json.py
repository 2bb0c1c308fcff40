"""
The JSON format of the ring of signing keys, in which the token store keeps the ring after it was
sealed.
"""

from __future__ import annotations

import json
from math import inf
from typing import Any

from attrs import asdict

from authotron.jose.key_ring import (
    ALGORITHMS,
    KeyPair,
    KeyRing,
    SigningKey,
    UnreadableRing,
    in_order,
)

_FORMAT = 1
"""The version of the JSON format of a key ring."""


def encode(ring: KeyRing) -> str:
    """Return a key ring as JSON; the JSON contains private keys, and must be sealed."""
    keys = [{**asdict(key), "active_from": _finite(key.active_from)} for key in ring.keys]
    content = {"format": _FORMAT, "version": ring.version, "keys": keys, "retired": ring.retired}
    return json.dumps(content, separators=(",", ":"))


def _finite(moment: float) -> float | None:
    return None if moment == inf else moment


def decode(text: str) -> KeyRing:
    """
    Read a ring of signing keys from JSON.

    @raise UnreadableRing: the JSON has another format, or is damaged.
    """
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise UnreadableRing("a later version of authotron has written the signing keys")
        keys = [*map(_key, content["keys"])]
        ring = KeyRing(int(content["version"]), in_order(keys), tuple(content["retired"]))
    except (ValueError, TypeError, KeyError):
        raise UnreadableRing("the signing keys in the token store are damaged") from None
    if not ring.keys:
        raise UnreadableRing("the token store has a ring without signing keys")
    return ring


def _key(content: dict[str, Any]) -> SigningKey:
    begin, pair = content["active_from"], KeyPair(**content["pair"])
    if pair.algorithm not in ALGORITHMS:
        raise ValueError(pair.algorithm)
    return SigningKey(
        pair,
        float(content["created"]),
        inf if begin is None else float(begin),
        float(content["promised"]),
        float(content["lifetime"]),
    )

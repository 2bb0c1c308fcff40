"""
How fast a backend verifies a JWT with authotron-client, beside PyJWT alone in the same run.

Both check signature, issuer, audience and expiry, with a key that is at hand. The rounds of both
alternate, so that what else the machine does meets both. A ratio above 1 says that the library is
faster than PyJWT. The last lines say how often 1,000 parallel first requests fetch the key set.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jwt

from authotron.client import User
from authotron.client.testing import FakeGateway

USER = User(
    "internal", "alice", ("reader", "lister"), {"archive": ("read",)}, {"department": "archive"}
)
ROUNDS, SECONDS = 15, 0.2
REQUIRED = 0.9
CALLERS = 1000


def rate(call: Callable[[], object]) -> float:
    """Calls per second in one round."""
    ends, count = time.perf_counter() + SECONDS, 0
    begun = time.perf_counter()
    while time.perf_counter() < ends:
        for _ in range(20):
            call()
        count += 20
    return count / (time.perf_counter() - begun)


def compare(algorithm: str) -> float:
    """The median ratio of the two, round by round."""
    gateway = FakeGateway(algorithm=algorithm, audience="archive")
    token, key = gateway.mint(USER), gateway.key
    material: Any = key.material if key.is_shared else key.material.public_key()
    verifier = gateway.verifier()
    options: dict[str, Any] = {"audience": "archive", "issuer": gateway.issuer}

    def alone() -> object:
        return jwt.decode(token, material, [algorithm], **options)

    def ours() -> object:
        return verifier.verify(token)

    alone(), ours()
    pairs = [(rate(alone), rate(ours)) for _ in range(ROUNDS)]
    ratios = [second / first for first, second in pairs]
    median, least = statistics.median(ratios), min(ratios)
    both = [1e6 / statistics.median(each) for each in zip(*pairs, strict=True)]
    print(
        f"{algorithm}  PyJWT {both[0]:6.1f} us  authotron-client {both[1]:6.1f} us  "
        f"ratio {median:.2f} (least of {ROUNDS} rounds {least:.2f})"
    )
    return median


async def crowd() -> int:
    """How often the key set is fetched by many first requests at the same time."""
    gateway = FakeGateway()
    token, verifier = gateway.mint(USER), gateway.verifier()
    await asyncio.gather(*(verifier.verify_async(token) for _ in range(CALLERS)))
    return gateway.count("/.well-known/jwks.json")


def main() -> None:
    ratios = [compare(algorithm) for algorithm in ("HS256", "ES256", "RS256", "EdDSA")]
    fetched = asyncio.run(crowd())
    print(f"{CALLERS} parallel first requests fetch the key set {fetched} time(s)")
    if min(ratios) < REQUIRED or fetched != 1:
        sys.exit(f"required: a ratio of {REQUIRED}, and one fetch")


if __name__ == "__main__":
    main()

"""Password hashes for tests: good ones, but so cheap that a test may verify many."""

from __future__ import annotations

from argon2 import PasswordHasher

_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def cheap_hash(password: str) -> str:
    """Hash a password by argon2id with the least cost that the algorithm allows."""
    return _HASHER.hash(password)

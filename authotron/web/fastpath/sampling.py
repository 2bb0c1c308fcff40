"""Choose some of many requests."""

from __future__ import annotations

from random import random


def is_chosen(one_in: int) -> bool:
    """
    Choose one in so many requests at random. A counter would choose the requests of the same
    clients again and again, if clients take turns.
    """
    return random() * one_in < 1  # noqa: S311 - chooses what is cached, not who gets in

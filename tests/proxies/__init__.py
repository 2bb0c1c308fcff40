"""
Questions that real proxies sent, and what the proxies made of answers, recorded byte for byte.

C{requests.jsonl.xz} has one line for each question, C{answers.jsonl.xz} one for each answer; see
README.md beside this file.
"""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@cache
def recorded(name: str = "requests") -> tuple[dict[str, Any], ...]:
    """Return all lines of a recording: C{requests} or C{answers}."""
    with lzma.open(HERE / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
        return tuple(map(json.loads, lines))

"""Recipes of the documentation: providers that a page shows below its headings."""

from __future__ import annotations

import re
from typing import Any

import yaml


def recipe(page: str, heading: str) -> dict[str, Any]:
    """Return the provider that a page shows below a heading."""
    found = re.search(
        rf"^## {heading}\n.*?^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL
    )
    assert found, heading
    [provider] = yaml.safe_load(found[1])["providers"]
    assert isinstance(provider, dict)
    return provider

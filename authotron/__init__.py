"""An authentication gateway: credentials in, a signed JWT out."""

from __future__ import annotations

__version__ = "0.1.0"

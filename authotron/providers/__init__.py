"""Providers: who judges credentials."""

from __future__ import annotations

from enum import Enum

from zope.interface import Attribute, Interface

from authotron.concurrency.racing import Answer
from authotron.model.identity import Credential, Identity

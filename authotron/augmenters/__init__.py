"""Augmenters: who adds roles and attributes to the identities of a realm."""

from __future__ import annotations

from pydantic import Field
from zope.interface import Attribute, Interface

from authotron.concurrency.racing import Answer
from authotron.config.plugins import PartConfig
from authotron.config.section import Seconds
from authotron.model.identity import Addition, Identity

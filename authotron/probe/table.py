"""
All attacks on a proxy, in the order in which they are tried.

An attack is one entry of a table in a module of C{authotron.probe.attacks}.
"""

from __future__ import annotations

from authotron.probe.attack import Attack
from authotron.probe.attacks import access, certificates, forwarded, framing, headers, outage

ATTACKS: tuple[Attack, ...] = (
    *access.ATTACKS,
    *headers.ATTACKS,
    *forwarded.ATTACKS,
    *certificates.ATTACKS,
    *framing.ATTACKS,
    *outage.ATTACKS,
)
"""
Every attack. The attack C{hidden-request} looks for requests that the attacks before it have left
behind.
"""

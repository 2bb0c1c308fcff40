"""The fixed list of reasons for which policies allow or deny a request."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """
    Why a request is allowed or denied: the value of C{X-Auth-Reason}, and a label of metrics.

    The list of reasons is fixed, so that clients and dashboards can rely on it; no reason names a
    rule.
    """

    ALLOWED = "allowed"
    DEFAULT = "default"
    DENIED = "denied-by-policy"
    NO_RULE = "no-matching-policy"
    NETWORK = "network"
    TIME = "time"
    CONDITION = "condition"
    LOGIN = "insufficient-user-authentication"
    NAMESPACE = "namespace"
    RESTRICTED = "restricted"
    AUTHORIZER = "denied-by-authorizer"
    NO_VERDICT = "authorizer-unavailable"
    UNUSABLE = "unusable-fact"

"""
The section C{policy}: whether identities may make their requests, and how the gateway
decides this.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from authotron.config.policy_rules import Namespace, RulesFile
from authotron.config.section import HeaderName, Names, NonEmptyStr, Seconds, Section
from authotron.policy import namespaces


def _decision_point(text: str) -> str:
    if not re.fullmatch(r"https://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?", text):
        raise ValueError("is not an https URL without query and fragment")
    return text.rstrip("/")


DecisionPoint = Annotated[str, AfterValidator(_decision_point)]
"""
The identifier of a policy decision point (PDP) in the form that AuthZEN requires: an https URL
without query and fragment.
"""


class PolicyFacts(Section):
    """The headers in which nginx states the request of its client, which it must always set."""

    uri: HeaderName = Field(
        default="X-Original-URI", description="the header with path and query of the request"
    )
    method: HeaderName = Field(
        default="X-Original-Method", description="the header with the method of the request"
    )
    namespace: HeaderName | None = Field(
        default=None,
        description="the header with the namespace of the request; if not set, each request of "
        "nginx has the namespace `policy.namespace`, whatever a client sends",
    )


class PolicyConfig(RulesFile):
    """Which identities may make which requests; without this section all may make any request."""

    default: Literal["deny", "allow"] = Field(
        default="deny", description="what happens to a request about which no rule says anything"
    )
    mode: Literal["enforce", "observe"] = Field(
        default="enforce",
        description="`observe`: what would be refused is logged and counted, and passes",
    )
    namespace: Namespace = Field(
        default=namespaces.ROOT,
        description="the namespace of requests for which the proxy names none",
    )
    facts: PolicyFacts = Field(
        default_factory=PolicyFacts,
        description="the headers in which nginx states the request of its client",
    )
    groups_mode: Literal["all", "heaviest"] = Field(
        default="all",
        description="which groups of an identity count: all that match, or the heaviest one",
    )
    askers: Names = Field(
        default=(),
        strict=False,
        description="the roles that may ask the gateway what others may do, and state the address "
        "and the namespace of a request; other clients may ask only about themselves",
    )
    decision_point: DecisionPoint | None = Field(
        default=None,
        description="the URL by which clients of the AuthZEN API reach the gateway, such as "
        "`https://auth.example.org`; by default the one that a client uses",
    )
    files: tuple[NonEmptyStr, ...] = Field(
        default=(),
        strict=False,
        description="files with further rules and groups, relative to the configuration file, such "
        "as `policy.d/*.yaml`",
    )
    store: bool = Field(
        default=False,
        description="whether further rules and groups are kept in the token store (`store`), "
        "of type `sqlite`, `redis` or `mongo`, where `authotron policy apply` changes them",
    )
    recheck: Seconds = Field(
        default=5,
        ge=1,
        description="seconds after which the gateway looks again whether the policies in the token "
        "store have changed",
    )

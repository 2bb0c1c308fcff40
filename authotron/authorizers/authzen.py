"""
Ask a policy decision point (PDP) whether an identity may make a request, by the OpenID AuthZEN
Authorization API 1.0: Open Policy Agent, Cerbos, OpenFGA and Topaz, among others, implement the
AuthZEN API.

Only the JSON value C{true} as the C{decision} of a well-formed response allows a request. Any
response of the PDP without a clear decision counts as an outage, so that a mistake of the PDP never
allows a request.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from attrs import define, field, frozen
from pydantic import Field, model_validator
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from authotron.config.plugins import AuthorizerConfig
from authotron.config.problems import of_key
from authotron.config.section import FilePath, NonEmptyStr, Seconds
from authotron.jose.key_set_files import RequestHeaders
from authotron.model.errors import Unavailable
from authotron.model.identity import Identity
from authotron.net import http
from authotron.net.http import RemoteConfig, RemoteResponse, WebClient
from authotron.net.urls import Url
from authotron.net.world import World
from authotron.plugin.cache import LookupCache
from authotron.plugin.evaluation import Evaluation
from authotron.plugin.interfaces import CheckResult, IAuthorizer

PATH = "/access/v1/evaluation"
"""The path of the evaluation endpoint that the specification proposes (section 10.1.1)."""

_LARGEST = 65_536
"""Maximum number of bytes of the response of a PDP."""

_VERDICT = 100
"""
Estimated number of bytes of a cached decision of a PDP, in addition to its entry in the
cache.
"""

_OK = 200
"""The only status code with which a PDP sends a decision (section 10.1.2)."""


class Config(AuthorizerConfig, RemoteConfig):
    """`type: authzen`: a policy decision point with the AuthZEN Authorization API 1.0."""

    type: Literal["authzen"]
    url: Url = Field(
        description=f"URL of the evaluation endpoint, such as https://pdp.example.org{PATH}"
    )
    token_file: FilePath | None = Field(
        default=None,
        description="a file with a bearer token for requests to the PDP; read anew for each "
        "request",
    )
    headers_file: FilePath | None = Field(
        default=None,
        description="a file with headers for requests to the PDP, one `Name: value` a line; read "
        "anew for each request",
    )
    cache: Seconds = Field(
        default=10,
        description="seconds for which a decision is used for equal requests; 0 to ask each time",
    )
    subject_type: NonEmptyStr = Field(default="user", description="the `type` of each subject")
    subject_id: Literal["sub", "username"] = Field(
        default="sub",
        description="the `id` of a subject: `sub` is REALM-USERNAME, as in the minted JWT",
    )
    resource_type: NonEmptyStr = Field(default="route", description="the `type` of each resource")

    def headers(self) -> RequestHeaders:
        """Return the headers that authenticate the gateway to the PDP."""
        return RequestHeaders(self.token_file, self.headers_file)

    async def run_checks(self, world: World, _username: str | None) -> AsyncIterator[CheckResult]:
        """
        Check for C{authotron doctor} that the PDP answers, by asking about a user that does not
        exist.
        """
        identity = Identity("authotron-doctor", "authotron-doctor")
        asked = Evaluation(identity, "authotron-doctor", "GET", "/", "/")
        allows = await make(self, world).allows(asked)
        detail = f"GET / is {'allowed' if allows else 'denied'} to a user that does not exist"
        yield CheckResult("the PDP decides", good=True, detail=detail)

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        if urlsplit(self.url).path in ("", "/"):
            raise of_key("url", f"has no path; the URL of the endpoint usually ends in {PATH}")
        return self

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        for key in ("token_file", "headers_file"):
            try:
                RequestHeaders(**{key: getattr(self, key)}).load()
            except Unavailable as error:
                raise of_key(key, str(error)) from None
        return self


@frozen
class _Verdict:
    """
    A cached decision of a PDP, and the time until which the decision may be used for equal
    requests.
    """

    allows: bool
    fresh_until: float


@implementer(IAuthorizer)
@define(eq=False)
class AuthZen:
    """
    Asks a policy decision point (PDP) whether identities may make requests, and caches its
    decisions for a short time.
    """

    name: str
    _clock: IReactorTime
    _web: WebClient = field(repr=False)
    _config: Config = field(repr=False)
    _cache: LookupCache[_Verdict] = field(repr=False)
    type: str = field(default="authzen", init=False)

    async def allows(self, evaluation: Evaluation) -> bool:
        content = self._content(evaluation)
        # The keys of the JSON are sorted, so that equal evaluation requests are equal strings.
        question = json.dumps(content, sort_keys=True)
        verdict = await self._cache.get(
            question, lambda: self._ask(content), evaluation.identity[:2]
        )
        return verdict.allows

    async def _ask(self, content: Mapping[str, Any]) -> _Verdict:
        response = await self._web.post(
            self._config.url,
            content=content,
            repeatable=True,
            limit=_LARGEST,
            headers=self._config.headers().load(),
        )
        return _Verdict(_decision(response), self._clock.seconds() + self._config.cache)

    def _content(self, evaluation: Evaluation) -> dict[str, Any]:
        """Return the JSON body of an AuthZEN evaluation request (section 6.1)."""
        identity, config = evaluation.identity, self._config
        is_sub = config.subject_id == "sub"
        name = f"{identity.realm}-{identity.username}" if is_sub else identity.username
        stated = {
            "host": evaluation.host,
            "namespace": evaluation.namespace,
            "id": evaluation.id,
        }
        context = {} if evaluation.address is None else {"address": evaluation.address}
        return {
            "subject": {
                "type": config.subject_type,
                "id": name,
                "properties": _properties(identity, evaluation.provider),
            },
            "action": {"name": evaluation.method},
            "resource": {
                "type": config.resource_type,
                "id": evaluation.path,
                "properties": {key: value for key, value in stated.items() if value is not None},
            },
            "context": context,
        }


def _properties(identity: Identity, provider: str) -> dict[str, Any]:
    """Return the properties of an identity that the gateway sends to a PDP."""
    return {
        "realm": identity.realm,
        "username": identity.username,
        "roles": sorted(identity.roles),
        "attributes": dict(identity.attributes),
        "scopes": {service: sorted(scopes) for service, scopes in identity.scopes.items()},
        "provider": provider,
    }


def _decision(response: RemoteResponse) -> bool:
    """
    Return the decision in a response of a PDP.

    @raise Unavailable: the response of the PDP does not state a decision clearly.
    """
    if response.status != _OK:
        raise response.unexpected_status()
    if not response.is_json:
        raise Unavailable(f"{response.place} did not answer with the content type application/json")
    decision = response.json_object().get("decision")
    if decision is None:
        raise Unavailable(f"{response.place} answered without a decision")
    if not isinstance(decision, bool):
        raise Unavailable(
            f"{response.place} answered with a decision that is neither true nor false"
        )
    return decision


def make(config: Config, world: World) -> IAuthorizer:
    """Build the authorizer from the section C{authorizer} of the configuration."""
    return AuthZen(
        config.name,
        world.clock,
        http.make(config, world),
        config,
        LookupCache(world.clock, world.memory, lambda _verdict: _VERDICT),
    )

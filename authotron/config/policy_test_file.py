"""
Files with tests of policies: each test has the claims of an identity, a request, and the expected
ruling (C{authotron policy test}).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from authotron.config import section, yaml_file
from authotron.config.origins import Origins
from authotron.config.policy_rules import Method, Moment, Namespace, Tag
from authotron.config.section import NonEmptyStr, Seconds, Section
from authotron.config.sources import Sources
from authotron.model.authentication import Login
from authotron.model.errors import ConfigError


class RequestOfTest(Section):
    """The request of a test of policies."""

    method: Method = Field(default="GET", description="the method")
    path: NonEmptyStr = Field(description="path of the request, without a query")
    namespace: Namespace | None = Field(
        default=None, description="the namespace; `policy.namespace` if not set"
    )
    host: str = Field(default="", description="the requested host, without a port")
    address: str | None = Field(default=None, description="the address of the client")
    at: Moment | None = Field(default=None, description="the moment (RFC 3339); now if not set")


class LoginOfTest(Section):
    """The login of the client of a test of policies."""

    acr: NonEmptyStr | None = Field(
        default=None, description="the authentication context, the claim `acr`"
    )
    age: Seconds | None = Field(
        default=None, description="the time since the login, such as 2m; not known if not set"
    )

    def as_login(self, now: float) -> Login:
        """
        Return the login of the client in the form that the policy engine uses.

        @param now: the time of the tested request, in seconds since the epoch.
        """
        return Login(self.acr, None if self.age is None else now - self.age)


class PolicyTest(Section):
    """One test of a policy: claims, a request, and the expected ruling."""

    name: str = Field(default="", description="what the test shows, for people")
    claims: Annotated[tuple[Tag, ...], Field(strict=False)] = Field(
        strict=False, description="the claims of the identity, such as `role=reader`"
    )
    login: LoginOfTest | None = Field(
        default=None,
        description="what an identity provider states about the login, for rules with `require`",
    )
    request: RequestOfTest = Field(description="what the identity asks for")
    expect: Literal["allow", "deny"] = Field(description="what is expected")
    reason: NonEmptyStr | None = Field(
        default=None, description="the expected reason, such as `no-matching-policy`"
    )
    rule: NonEmptyStr | None = Field(
        default=None, description="the name of the rule that is expected to decide"
    )


def _some(tests: tuple[PolicyTest, ...]) -> tuple[PolicyTest, ...]:
    if not tests:
        raise ValueError("is empty, so nothing would be tested; write at least one test")
    return tests


class PolicyTests(Section):
    """A file with tests of a policy."""

    tests: Annotated[tuple[PolicyTest, ...], AfterValidator(_some)] = Field(
        strict=False, description="the tests, at least one"
    )


def read(path: Path) -> PolicyTests:
    """
    Read a file of tests of a policy.

    @raise ConfigError: all problems of the file, each with the line.
    """
    sources = Sources(path.parent)
    parsed = yaml_file.parse(path, hint="name a file of tests")
    with Origins(sources, str(path), parsed.root, parsed.given).locating():
        try:
            found = section.read(PolicyTests, parsed.given, "", sources)
        except ConfigError as error:
            raise ConfigError([*parsed.problems, *error.problems]) from None
    if parsed.problems:
        raise ConfigError(parsed.problems)
    return found

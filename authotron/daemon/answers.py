"""Give contracts of proxies the settings for answers that C{server.answers} configures."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from authotron.config.answers import ProfileName
from authotron.config.endpoint import FASTCGI, GRPC
from authotron.config.schema import File
from authotron.plugin import header_profiles
from authotron.plugin.contract import Answers, Contract
from authotron.plugin.header_profiles import Profile

_ENVOY_HEAD = 60 * 1024
"""
Number of bytes in the headers of a request that Envoy accepts by default
(C{max_request_headers_kb}).
"""

PROTOCOLS = (Contract(FASTCGI, ()), Contract(GRPC, (), Answers(max_head_bytes=_ENVOY_HEAD)))
"""
The contracts of protocols other than HTTP, whose facts about a request are not read
from headers.
"""


def with_answers(contract: Contract, file: File) -> Contract:
    """Return a contract with the settings for answers that a configuration has for it."""
    config = file.server.answers.of_contract(contract.name)
    profile = _profile(file, _profile_name(contract, file))
    usual = contract.answers or Answers()
    answers = evolve(
        usual,
        max_head_bytes=config.max_head_bytes or usual.max_head_bytes,
        has_error_headers=config.error_headers or usual.has_error_headers,
        path_header=file.server.answers.path_header or "",
    )
    is_plain = (
        evolve(answers, max_head_bytes=None) == Answers()
        and profile.name == file.profile
        # the challenge of a refusal depends on the requested resource
        and not (file.oauth and file.oauth.resources)
    )
    removal = _removal(answers, profile) if answers.removed_in else b""
    return evolve(contract, answers=answers, profile=profile, removal=removal, is_plain=is_plain)


def _removal(answers: Answers, profile: Profile) -> bytes:
    """
    Return the header line with the names of the identity headers that a 200 does not have, and of
    the headers that carry credentials, so that the proxy removes those that the client sent.
    """
    own = {name.lower() for name, _ in profile.headers}
    carried = [each.encode("ascii") for each in answers.removed]
    names = [each for each in (*profile.missing, *carried) if each.lower() not in own]
    return b"%b: %b\r\n" % (answers.removed_in.encode(), b",".join(names))


def profiles(file: File, contracts: Sequence[Contract]) -> list[Profile]:
    """
    Return the header profile of the contracts that have none of their own, and then each other
    profile of a contract that asks over HTTP.
    """
    found = [_profile(file, file.profile), *(each.profile for each in contracts)]
    return [*{each.name: each for each in found}.values()]


def _profile_name(contract: Contract, file: File) -> ProfileName:
    """
    Return the name of the header profile of a contract.

    Apache takes the headers of an answer as variables, which no client can set, so Apache gets the
    legacy headers if nothing is configured.
    """
    answers = file.server.answers
    own = answers.of_contract(contract.name).profile
    if own is None and contract.name == FASTCGI and answers.profile is None:
        return "legacy"
    return own or file.profile


def _profile(file: File, name: str) -> Profile:
    answers = file.server.answers
    return header_profiles.make(name, answers.custom, answers.encoding)

"""
Read the section C{policy} and the files of rules that it names, and check all of them together.

The module is imported only if a configuration has the section C{policy}.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import field, frozen

from authotron.config import section, yaml_file
from authotron.config.origins import Origins
from authotron.config.packed import Packed
from authotron.config.policy_rules import GroupConfig, RuleConfig, RulesFile
from authotron.config.policy_section import PolicyConfig
from authotron.config.sources import Sources
from authotron.model.errors import ConfigError, Problem
from authotron.policy import groups
from authotron.policy.resources import ANY, DEEP
from authotron.policy.subjects import GROUP

AT = "policy"
"""The path of the section C{policy} in the configuration."""

_WITHOUT_LOGIN = frozenset({"ecmwf-api", "efas-api", "ldap", "mtls", "plain", "static-token"})
"""The types of providers of authotron whose identities come without C{acr} and C{auth_time}."""

LARGEST = 64 * 1024 * 1024
"""Maximum number of bytes of one file of rules."""


def _packed(rules: Iterable[RuleConfig]) -> Packed[RuleConfig]:
    return rules if isinstance(rules, Packed) else Packed.of(rules)


@frozen
class Policy:
    """
    The section C{policy} together with the files that it names.

    @ivar section: the section C{policy} as it is written in the configuration.
    @ivar rules: first the rules of the section, and then the rules of the files, ordered by the
        names of the files. The rules are packed (pickled), because there may be 100,000 of them.
    @ivar files: the paths of the files of rules that were read.
    """

    section: PolicyConfig
    rules: Packed[RuleConfig] = field(converter=_packed)
    groups: Sequence[GroupConfig]
    files: Sequence[Path] = ()

    def without_rules(self) -> Policy:
        """
        Return a copy of the policy without rules and groups, for checking the rest of a
        configuration.
        """
        return Policy(self.section, (), (), self.files)


def without_rules() -> Policy:
    """Return a policy without rules, for a configuration in which the authorizer alone decides."""
    return Policy(PolicyConfig(default="allow"), (), ())


def read(given: object, sources: Sources) -> Policy:
    """
    Read the section C{policy} and the files of rules.

    @param given: the section C{policy}, where C{None} is an empty section, which denies all.

    @raise ConfigError: all problems of the section and of its files.
    """
    found, problems = None, list[Problem]()
    try:
        found = section.read(PolicyConfig, {} if given is None else given, AT, sources)
    except ConfigError as error:
        problems += error.problems
    named = given.get("files") if isinstance(given, dict) else ()
    paths = [*_paths(named if isinstance(named, list | tuple) else (), sources, problems)]
    parts = [_Part(found, f"{AT}.", None)] if found else []
    for path in paths:
        try:
            parts.append(_read_part(path, sources))
        except ConfigError as error:
            problems += error.problems
    problems += _check_together(parts)
    if problems or found is None:
        raise ConfigError(problems)
    return _together(found, parts, paths)


def _together(found: PolicyConfig, parts: Iterable[_Part], paths: Sequence[Path]) -> Policy:
    parts = [*parts]
    return Policy(
        found,
        (rule for part in parts for rule in part.content.rules),
        [group for part in parts for group in part.content.groups],
        paths,
    )


@frozen
class _Part:
    """
    The rules and groups from one place: the section C{policy}, or a file of rules.

    @ivar prefix: the prefix of the paths of all keys in this file or section.
    @ivar origins: finds the lines of the values in a file of rules; it is C{None} for the section
        itself.
    """

    content: RulesFile
    prefix: str
    origins: Origins | None

    def problem(self, path: str, why: str) -> Problem:
        problem = Problem(self.prefix + path, why)
        return problem if self.origins is None else self.origins.located(problem)


def _paths(patterns: Iterable[object], sources: Sources, problems: list[Problem]) -> Iterator[Path]:
    """Yield the files that the patterns of file names match, each file once."""
    seen: set[Path] = set()
    for place, pattern in enumerate(patterns):
        if not isinstance(pattern, str) or not pattern.strip():
            continue  # a problem of the section policy
        at = f"{AT}.files[{place}]"
        try:
            found = [*_matching(pattern, sources.folder)]
        except (ValueError, NotImplementedError, OSError) as error:
            problems.append(Problem(at, f"is not a pattern of files: {error}"))
            continue
        if not found:
            problems.append(Problem(at, "matches no file"))
        for path in found:
            if path not in seen:
                seen.add(path)
                yield path


def _matching(pattern: str, folder: Path) -> list[Path]:
    """Return the files that a pattern of file names matches, in the order of their names."""
    whole = folder / pattern
    if not any(char in pattern for char in "*?["):
        return [whole]
    anchor = Path(whole.anchor) if whole.is_absolute() else Path()
    relative = whole.relative_to(anchor) if whole.is_absolute() else whole
    # A link to a missing file is kept, so that it is a problem when it is read.
    return sorted(path for path in anchor.glob(str(relative)) if not path.is_dir())


def _read_part(path: Path, sources: Sources) -> _Part:
    """
    Read a file of rules.

    @raise ConfigError: all problems of the file, each with the line.
    """
    return _part_in(_parse(path, f"{AT}.files names it"), path, sources)


def _parse(path: Path, hint: str) -> yaml_file.Parsed:
    return yaml_file.parse(path, may_be_empty=True, largest=LARGEST, hint=hint)


def _part_in(parsed: yaml_file.Parsed, path: Path, sources: Sources, at: str = "") -> _Part:
    """
    Check the rules in a policy file that was parsed already.

    @param at: the section of the file that has the rules; empty for the whole file.

    @raise ConfigError: all problems of the rules, each with the line.
    """
    origins = Origins(sources, str(path), parsed.root, parsed.given)
    kind: type[RulesFile] = PolicyConfig if at else RulesFile
    given = (parsed.given[at] or {}) if at else parsed.given
    with origins.locating():
        try:
            found = section.read(kind, given, at, sources)
        except ConfigError as error:
            raise ConfigError([*parsed.problems, *error.problems]) from None
    if parsed.problems:
        raise ConfigError(parsed.problems)
    return _Part(found, f"{at}." if at else "", origins)


def read_files(paths: Sequence[Path]) -> Policy:
    """
    Read files of rules alone, as if they were all parts of a policy.

    A file may also be a whole configuration: then the section C{policy} is read, together with the
    files that the section names, and all other sections are ignored.

    @raise ConfigError: all problems of the files.
    """
    parts = _read_parts(paths)
    sections = [part.content for part in parts if isinstance(part.content, PolicyConfig)]
    return _together(sections[0] if sections else PolicyConfig(), parts, paths)


def read_given(paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """
    Check several files of rules together, and return their C{rules} and C{groups} in the form of
    the files.

    @raise ConfigError: all problems of the files.
    """
    found: dict[str, list[dict[str, Any]]] = {"rules": [], "groups": []}
    for part in _read_parts(paths):
        assert part.origins is not None
        given = part.origins.given
        if isinstance(part.content, PolicyConfig):
            given = given[AT] or {}
        for kind, listed in found.items():
            listed.extend(given.get(kind) or ())
    return found


def _read_parts(paths: Sequence[Path]) -> list[_Part]:
    parts, problems, seen = list[_Part](), list[Problem](), set[Path]()
    named = list[Path]()
    for read_file, left in ((_rules_in, paths), (_named_rules_in, named)):
        for path in left:
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            try:
                part = read_file(path)
            except ConfigError as error:
                problems += error.problems
                continue
            parts.append(part)
            if isinstance(part.content, PolicyConfig):
                named += _paths(part.content.files, Sources(path.parent), problems)
    problems += _check_together(parts)
    if problems:
        raise ConfigError(problems)
    return parts


def with_parts(policy: Policy, parts: Mapping[str, RulesFile]) -> Policy:
    """
    Return a copy of a policy to which rules and groups from another source are added.

    @param parts: further rules and groups, by a text that says where they come from; messages about
        them begin with this text.

    @raise ConfigError: problems of all rules together, such as duplicate names.
    """
    local = RulesFile.model_construct(rules=tuple(policy.rules), groups=tuple(policy.groups))
    added = [_Part(content, f"{at}.", None) for at, content in parts.items()]
    problems = [*_check_together([_Part(local, f"{AT}.", None), *added])]
    if problems:
        raise ConfigError(problems)
    return _together(policy.section, [_Part(local, "", None), *added], policy.files)


def _named_rules_in(path: Path) -> _Part:
    return _read_part(path, Sources(path.parent))


def _rules_in(path: Path) -> _Part:
    """
    Read a file of rules, or the section C{policy} of a configuration.

    @raise ConfigError: all problems of the file, or the file is a configuration without the section
        C{policy}.
    """
    parsed = _parse(path, "check the name of the file")
    if AT in parsed.given:
        return _part_in(parsed, path, Sources(path.parent), AT)
    if not _OF_CONFIGURATION.isdisjoint(parsed.given):
        why = f"is a configuration without the section {AT}, so it has no rules to check"
        raise ConfigError([Problem(str(path), why)])
    return _part_in(parsed, path, Sources(path.parent))


_OF_CONFIGURATION = frozenset({"version", "server", "auth", "jwt", "providers", "store"})
"""Keys that only a configuration file has, not a file of policy rules."""


def _check_together(parts: Sequence[_Part]) -> Iterator[Problem]:
    """Yield the problems that concern several rules or groups, such as duplicate names."""
    for kind in ("rules", "groups"):
        names: set[str] = set()
        for part, place, each in _each(kind, parts):
            if each.name in names:
                why = f"another one of the {kind} has the same name; choose another name"
                yield part.problem(f"{place}.name", why)
            names.add(each.name)
    listed = [*_each("groups", parts)]
    numbered = [each.as_group(number) for number, (_, _, each) in enumerate(listed)]
    for group in groups.in_circles(numbered):
        part, place, _ = listed[group.number]
        why = f"the group {group.name!r} refers to itself, directly or through other groups"
        yield part.problem(f"{place}.subject", why)


def _each(kind: str, parts: Iterable[_Part]) -> Iterator[tuple[_Part, str, Any]]:
    """Yield the rules or groups of the section and of all files, each with its path in its file."""
    for part in parts:
        for place, each in enumerate(getattr(part.content, kind)):
            yield part, f"{kind}[{place}]", each


def warnings(
    policy: Policy, *, is_trust_configured: bool, has_authorizer: bool = False
) -> Iterator[str]:
    """
    Yield the warnings about a policy that an operator should look at.

    @param is_trust_configured: whether C{server.trusted_proxies} is written in the configuration.
    @param has_authorizer: whether an authorizer must also allow each request.
    """
    given = policy.section
    if given.mode == "observe":
        yield f"{AT}.mode: observe, so nothing is refused"
    elif not is_trust_configured:
        yield (
            "server.trusted_proxies: not set, so every program of this machine counts as a proxy "
            "and can state any request to the policy; name the addresses of the proxies"
        )
    decides_alone = has_authorizer and given.default == "allow"
    has_rules = given.store or any(not each.disabled for each in policy.rules)
    if not has_rules and not decides_alone:
        what = "denied" if given.default == "deny" else "allowed"
        yield f"{AT}.rules: no rule is in use, so every request of a proxy is {what}"
    remarks = rule_warnings(policy, is_whole=not given.store)
    yield from islice(remarks, _MOST_REMARKS)
    if next(remarks, None) is not None:
        yield f"{AT}: there are more warnings about rules; see `authotron policy check`"


_MOST_REMARKS = 100
"""Maximum number of warnings about rules that the gateway logs when it starts or reloads."""


def login_warnings(policy: Policy, types: Iterable[str]) -> Iterator[str]:
    """
    Warn of rules that require a login if no provider can state anything about a login.

    @param types: the types of the configured providers.
    """
    if not {*types} <= _WITHOUT_LOGIN:
        return
    for rule in policy.rules:
        if rule.require is not None and not rule.disabled:
            yield (
                f"{AT}: rule {rule.name!r} requires a login, about which no configured provider "
                "states anything, so the rule allows nothing; add a provider of type jwt, "
                "openid-offline, introspection or http"
            )


def rule_warnings(policy: Policy, *, is_whole: bool = True) -> Iterator[str]:
    """
    Yield the remarks about rules and groups that an operator should read.

    @param is_whole: whether the policy contains all groups to which its rules may refer; false if
        further groups are in a token store.
    """
    if is_whole:
        yield from _unknown_groups(policy)
    yield from _unreachable(policy)


def _unknown_groups(policy: Policy) -> Iterator[str]:
    known = {each.name for each in policy.groups}
    for what, listed in (("rule", policy.rules), ("group", policy.groups)):
        for each in listed:
            for name in groups.named_in(tuple(map(frozenset, each.subject))):
                if name not in known:
                    tag = f"{GROUP}{name}"
                    yield f"{AT}: {what} {each.name!r} refers to {tag}, which does not exist"


def _unreachable(policy: Policy) -> Iterator[str]:
    """
    Warn of permissions that apply to no request of a proxy, unless services ask about other
    resources than paths.
    """
    if policy.section.askers:
        return
    for rule in policy.rules:
        for permission in rule.parsed_permissions():
            resource = permission.resource
            if not resource.startswith("/") and resource not in (ANY, DEEP):
                why = f"begins with no slash, so no path is meant; write /{resource}"
            elif permission.ids is not None:
                why = "names ids, which requests of proxies do not have"
            else:
                continue
            yield f"{AT}: permission {str(permission)!r} of rule {rule.name!r} {why}"

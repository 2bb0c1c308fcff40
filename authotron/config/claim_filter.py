"""
The configuration key C{claims} of a provider, which states which claims the provider's identities
have, and under which keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from authotron.config.problems import of_key, require_none
from authotron.config.section import Section
from authotron.model.naming import normalize
from authotron.policy.claim_filter import ALWAYS, ClaimFilter
from authotron.policy.claim_keys import OWN, RESERVED, is_reserved, is_well_formed
from authotron.policy.subjects import in_normal_form

_BY_GATEWAY = f"begins with {RESERVED}; such claims are set by the gateway, and never changed"


def _prefix(text: str) -> str:
    if not text or text != text.strip():
        raise ValueError("is empty, or has blanks at its beginning or end; write email= or role=a")
    if is_reserved(text):
        raise ValueError(_BY_GATEWAY)
    return in_normal_form(text)


def _ignored(text: str) -> str:
    key, equals, _ = text.partition("=")
    if equals and key.lower() in ALWAYS:
        raise ValueError(f"is about {key}=, which is a claim of every identity")
    return text


def _flaw_of_key(text: str) -> str:
    """
    Return why a text is not the key of a claim that a claim filter may change, or an empty string
    if it is such a key.
    """
    if text.endswith("=") and is_well_formed(text[:-1]):
        return f"ends with `=`; write the key alone, {text[:-1]}"
    if not is_well_formed(text):
        return "is not the key of a claim: the key is empty, or has a blank or `=`"
    return _BY_GATEWAY if is_reserved(text) else ""


def _lowered_key(text: str) -> str:
    if why := _flaw_of_key(text):
        raise ValueError(why)
    if text == "realm":
        raise ValueError("is realm, whose value is the name in the configuration")
    return normalize(text)


_PARTS = {
    "realm": "the realm of the provider",
    "username": "the name of the user",
    "role": "the roles",
    "scope": "the scopes",
}
"""
For each claim key that only the gateway sets, the part of an identity from which the gateway makes
the claim.
"""

_MADE_OF = (
    "the key {key} is made of {part}; only claims of attributes are renamed, and to keys of their "
    "own"
)


def _problems_of_renaming(rename: Mapping[str, str]) -> Iterator[str]:
    for old, new in rename.items():
        for key in dict.fromkeys((old, new)):
            if why := _flaw_of_key(key):
                yield f"the key {key!a} {why}"
            elif key in OWN:
                yield _MADE_OF.format(key=key, part=_PARTS[key])
        if normalize(old) == normalize(new):
            yield f"the key {old!a} is renamed to itself"
    if len({*map(normalize, rename)}) < len(rename):
        yield "two keys are spellings of one key; keep one of them"


Prefix = Annotated[str, AfterValidator(_prefix)]
"""A configuration value that is the beginning of a claim C{key=value}."""


class ClaimFilterConfig(Section):
    """
    Which claims the identities of a provider have for policies and in the claim `identity` of JWTs.

    The keys have an effect in this order: `ignore` and `include`, then `rename`, then `lowercase`.
    """

    include: tuple[Prefix, ...] = Field(
        default=(),
        strict=False,
        description="prefixes of the claims that are kept, such as `email=` or `role=`; all if "
        "empty. The case of letters is ignored. The claims `realm=`, `username=` and those that "
        "begin with `@` are always kept",
    )
    ignore: tuple[Annotated[Prefix, AfterValidator(_ignored)], ...] = Field(
        default=(),
        strict=False,
        description="prefixes of the claims that are removed, even if they are included, such as "
        "`iat=`. The case of letters is ignored",
    )
    rename: dict[str, str] = Field(
        default_factory=dict,
        description="for each key of an attribute's claim the new key, such as `{mail: email}`",
    )
    lowercase: tuple[Annotated[str, AfterValidator(_lowered_key)], ...] = Field(
        default=(),
        strict=False,
        description="the keys, after `rename`, of the claims whose values become lower case, such "
        "as `email`",
    )

    @field_validator("rename")
    @classmethod
    def _check_rename(cls, rename: dict[str, str]) -> dict[str, str]:
        require_none(("", why) for why in _problems_of_renaming(rename))
        return {normalize(old): normalize(new) for old, new in rename.items()}

    @model_validator(mode="after")
    def _check_lowercase(self) -> ClaimFilterConfig:
        for key in self.lowercase:
            if key in self.rename and key not in self.rename.values():
                raise of_key("lowercase", f"the key {key} is renamed; write {self.rename[key]}")
        return self

    def as_filter(self) -> ClaimFilter:
        """Return the claim filter that the section C{claims} of a provider describes."""
        return ClaimFilter(self.include, self.ignore, self.rename, frozenset(self.lowercase))


def filter_of(section: object) -> ClaimFilterConfig | None:
    """
    Return the claim filter of a provider's section, or C{None} if the section has no key C{claims}.

    A provider from another Python package may have a key C{claims} with another meaning.
    """
    found = getattr(section, "claims", None)
    return found if isinstance(found, ClaimFilterConfig) else None

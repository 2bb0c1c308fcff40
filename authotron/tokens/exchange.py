"""What an exchanged token may grant: never more than the credential that a client exchanges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, field, frozen

from authotron.config.exchange import ExchangeConfig
from authotron.model.authentication import Acting, Authentication, PresentedToken
from authotron.model.binding import Binding
from authotron.model.errors import ExceedsGrant, Problem
from authotron.model.identity import Identity, earliest, whole_number
from authotron.model.request import Condition
from authotron.model.token import Grant
from authotron.policy.claim_keys import is_reserved
from authotron.tokens.exchanged_token import ExchangedToken
from authotron.tokens.grants import TokenRequest, binding_of_new, excesses, in_words
from authotron.tokens.restriction_sets import RestrictionSet

MOST_ANCESTORS = 16
"""Maximum number of tokens from which an exchanged token may be derived."""

MOST_RESTRICTIONS = 16
"""Maximum number of restriction sets of an exchanged token."""

MOST_WILD_SEGMENTS = 128
"""
Maximum number of segments, over all restriction sets of an exchanged token, of paths that have a
wildcard before their end: these are compared with the path of each request segment by segment.
"""

_NOT_ATTRIBUTES = {
    "realm": "a JWT always names the realm",
    "username": "a JWT always names the user",
    "role": "name the roles to keep in `roles`",
    "roles": "name the roles to keep in `roles`",
    "scope": "name the scopes to keep in `scopes`",
    "scopes": "name the scopes to keep in `scopes`",
}
"""The names of claims that cannot be cloaked, each with the reason why it is not an attribute."""


@frozen
class ExchangeRequest:
    """
    The properties that a client requests for an exchanged token.

    @ivar validity: the requested lifetime in seconds, or C{None} for the configured default, or for
        the rest of the life of the credential if the credential expires earlier.
    @ivar audience: the only audiences that JWTs minted for the token shall name, or C{None} for all
        audiences of the credential.
    @ivar roles: the only roles that the token shall grant, or C{None} for all roles of the
        credential.
    @ivar scopes: the only scopes that the token shall grant, by service, or C{None} for all scopes
        of the credential.
    @ivar cloak: the names of attributes of the user that backends shall not see; C{*} stands for
        all attributes.
    @ivar restrictions: restriction sets, all of which must allow a request.
    @ivar binding: the key or certificate that each user of the token must prove to have.
    @ivar refresh: whether the client also requests a refresh token.
    @ivar may_act: realm and user name of each identity that shall be allowed to act in the name of
        the user by the token, or C{None} for those that the credential allows.
    """

    validity: int | None = None
    audience: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    cloak: tuple[str, ...] = ()
    restrictions: tuple[RestrictionSet, ...] = ()
    binding: Binding | None = None
    refresh: bool = False
    may_act: tuple[tuple[str, str], ...] | None = None


@frozen
class Bounds:
    """
    The limits that the configuration sets for exchanged tokens.

    @ivar longest_unchecked: the maximum lifetime, in seconds, of an exchanged token whose user no
        provider can look up later.
    @ivar audience: the audiences that minted JWTs name; empty if minted JWTs name none.
    @ivar namespace: the namespace of requests for which the proxy names no namespace.
    """

    config: ExchangeConfig
    longest_unchecked: int
    audience: tuple[str, ...] = ()
    namespace: str = field(default="/", kw_only=True)


@frozen
class _Held:
    """
    What the credential of a client grants, in the form in which exchanged tokens state it.

    @ivar ends: when the credential ends, in seconds since the epoch, or C{None} for never.
    """

    roles: tuple[str, ...] | None = None
    scopes: Mapping[str, tuple[str, ...]] | None = None
    cloaked: tuple[str, ...] = ()
    restrictions: tuple[RestrictionSet, ...] = ()
    ends: float | None = None
    ancestors: tuple[str, ...] = ()
    api_tokens: tuple[str, ...] = ()


def narrowed(
    requester: Authentication,
    requested: ExchangeRequest,
    bounds: Bounds,
    id_: str,
    now: float,
    *,
    can_look_up: bool,
    actor: Authentication | None = None,
    can_look_up_actor: bool = True,
) -> ExchangedToken:
    """
    Compute what an exchanged token grants from the request and from the credential of the client.

    @param id_: the id of the new token.
    @param can_look_up: whether a provider can later look up the user; if so, the token states only
        realm and user name, and the gateway looks up roles, attributes and scopes at each use.
    @param actor: the identity that shall act in the name of the client, or C{None} for the client;
        the token grants what the credentials of both allow.
    @param can_look_up_actor: whether a provider can later look up the actor.

    @raise ExceedsGrant: the request asks for more than the credential of the client allows.
    """
    held = _held(requester)
    issued, user = _issued(requester.token, now), requester
    if actor is not None:
        held, requester = _held_by_both(requester, held, actor)
        issued = _earlier(issued, _issued(actor.token, now))
    longest = bounds.config.max_validity
    if not (can_look_up and can_look_up_actor):
        longest = min(longest, bounds.longest_unchecked)
    ends = None if held.ends is None else int(held.ends)
    restrictions = _all_restrictions(held, requested, bounds)
    problems = [
        *_flaws_of_time(requested.validity, longest, ends, now),
        *excesses(requester, Grant(), TokenRequest(roles=requested.roles, scopes=requested.scopes)),
        *_flaws_of_audience(requester, requested, bounds),
        *_flaws_of_cloak(requester, requested.cloak),
        *_flaws_of_may_act(requester, requested.may_act),
        *_flaws_of_chain((*requester.conditions, *_conditions(actor)), held, restrictions),
    ]
    if problems:
        raise ExceedsGrant(problems)
    expires = int(now) + min(requested.validity or bounds.config.validity, longest)
    token = requester.token or PresentedToken()
    return ExchangedToken(
        id_,
        issued,
        expires if ends is None else min(expires, ends),
        _owner(requester, can_look_up=can_look_up),
        requester.provider,
        held.ancestors,
        held.api_tokens,
        held.roles if requested.roles is None else requested.roles,
        held.scopes if requested.scopes is None else requested.scopes,
        tuple(dict.fromkeys((*held.cloaked, *requested.cloak))),
        restrictions,
        token.audience if requested.audience is None else requested.audience,
        requester.login,
        _actors(token, actor),
        _held_may_act(requester) if requested.may_act is None else requested.may_act,
        binding_of_new(actor or user, requested.binding) or binding_of_new(user, None),
    )


def _issued(token: PresentedToken | None, now: float) -> float | None:
    """
    Return when the first credential was issued of a chain, in which each token was exchanged for
    the one before.

    A password was never issued, so the chain of tokens that are exchanged for it begins now. If the
    time of issue of a token is not known, that of each token derived from it is not known either.
    """
    if token is None or (token.id is None and token.issued is None):
        return int(now)
    return None if token.issued is None else min(token.issued, int(now))


def _earlier(one: float | None, other: float | None) -> float | None:
    """Return the earlier one of two times of issue, or C{None} if one of them is not known."""
    return None if one is None or other is None else min(one, other)


def _held_by_both(
    requester: Authentication, held: _Held, actor: Authentication
) -> tuple[_Held, Authentication]:
    """
    Return what the credentials of a user and of the identity that acts for the user both allow, and
    the authentication of the user without the roles, scopes and audiences that only one of them
    has.
    """
    own, other = requester.identity, actor.identity
    of_actor = _held(actor)
    roles = tuple(role for role in own.roles if role in other.roles)
    scopes = {
        service: tuple(each for each in found if each in other.scopes.get(service, ()))
        for service, found in own.scopes.items()
    }
    both = _Held(
        roles,
        scopes,
        held.cloaked,
        tuple(dict.fromkeys((*held.restrictions, *of_actor.restrictions))),
        earliest(held.ends, of_actor.ends),
        tuple(dict.fromkeys((*held.ancestors, *of_actor.ancestors))),
        tuple(dict.fromkeys((*held.api_tokens, *of_actor.api_tokens))),
    )
    token = requester.token or PresentedToken()
    audience = _audience_of_both(token, actor.token or PresentedToken())
    return both, requester._replace(
        identity=own._replace(roles=roles, scopes=scopes),
        token=token._replace(audience=audience),
    )


def _audience_of_both(one: PresentedToken, other: PresentedToken) -> tuple[str, ...] | None:
    """Return the audiences that two tokens both allow, or C{None} for all."""
    if one.audience is None or other.audience is None:
        return one.audience if other.audience is None else other.audience
    return tuple(each for each in one.audience if each in other.audience)


def _actors(token: PresentedToken, actor: Authentication | None) -> tuple[Acting, ...]:
    """
    Return the identities that act in the name of a user: the identity that requests the token, with
    all its roles, and the identities that act by the present token of the user already.
    """
    if actor is None:
        return token.actors
    whole = actor.unrestricted
    left = None if whole is None else actor.identity
    return (Acting(whole or actor.identity, actor.provider, left), *token.actors)


def _conditions(actor: Authentication | None) -> tuple[Condition, ...]:
    return () if actor is None else actor.conditions


def _held_may_act(requester: Authentication) -> tuple[tuple[str, str], ...] | None:
    """Return the identities that the credential of a client allows to act in its name."""
    restriction = requester.restriction
    return restriction.may_act if isinstance(restriction, ExchangedToken) else None


def of_family(
    token: ExchangedToken,
    requester: Authentication,
    bounds: Bounds,
    now: float,
    longest: int,
    *,
    can_look_up: bool,
) -> ExchangedToken:
    """
    Return what all exchanged tokens grant that are issued with a family of refresh tokens, until
    the family ends: what the first of them grants, without roles and scopes that the user gets
    later.

    @param longest: maximum number of seconds until the family of refresh tokens ends. The family
        ends earlier if the client has exchanged a token that expires earlier, or if no provider can
        look the user up and the credential expires earlier.
    """
    held, user = _held(requester), requester.identity
    outlives = can_look_up and requester.restriction is None
    last = now + (longest if can_look_up else min(longest, bounds.longest_unchecked))
    ends = earliest(last, _end_of_user(requester) if outlives else held.ends) or last
    return evolve(
        token,
        expires=int(ends),
        roles=user.roles if token.roles is None else token.roles,
        scopes=user.scopes if token.scopes is None else token.scopes,
    )


def _held(requester: Authentication) -> _Held:
    """Return what the credential of a client grants."""
    restriction, token = requester.restriction, requester.token or PresentedToken()
    ancestors = token.ancestors if token.id is None else (*token.ancestors, token.id)
    if isinstance(restriction, ExchangedToken):
        return _Held(
            restriction.roles,
            restriction.scopes,
            restriction.cloaked,
            restriction.restrictions,
            earliest(restriction.expires, _end_of_user(requester)),
            ancestors,
            restriction.api_tokens,
        )
    if isinstance(restriction, Grant):
        limits = RestrictionSet(hosts=restriction.hosts, networks=restriction.networks)
        return _Held(
            restriction.roles,
            restriction.scopes,
            restrictions=() if limits.is_empty else (limits,),
            ends=earliest(restriction.expires, _end_of_user(requester)),
            ancestors=restriction.lineage,
            api_tokens=restriction.lineage[-1:],
        )
    ends = earliest(requester.expires, requester.expires_at(), _end_of_user(requester))
    if restriction is None:
        return _Held(ends=ends, ancestors=ancestors)
    # A restriction that a plugin defines cannot be stated in a token, but its result can.
    left, whole = requester.identity, requester.unrestricted or requester.identity
    cloaked = tuple(name for name in whole.attributes if name not in left.attributes)
    return _Held(left.roles, left.scopes, cloaked, ends=ends, ancestors=ancestors)


def _end_of_user(requester: Authentication) -> float | None:
    """Return when a user expires by the attribute C{exp}, even if the token cloaks it."""
    said = (requester.unrestricted or requester.identity).attributes.get("exp")
    return None if said is None else whole_number(said)


def _owner(requester: Authentication, *, can_look_up: bool) -> Identity:
    """Return the user as the token states it, without what a provider looks up at each use."""
    whole = requester.unaugmented or requester.identity
    if can_look_up:
        return Identity(whole.realm, whole.username)
    return whole._replace(
        attributes={name: value for name, value in whole.attributes.items() if name != "exp"}
    )


def _all_restrictions(
    held: _Held, requested: ExchangeRequest, bounds: Bounds
) -> tuple[RestrictionSet, ...]:
    """Return the restriction sets of the credential, and those that the client adds."""
    wanted = (each.within(bounds.namespace) for each in requested.restrictions)
    more = (each for each in wanted if not each.is_empty)
    return tuple(dict.fromkeys((*held.restrictions, *more)))


def _flaws_of_time(
    validity: int | None, longest: int, ends: int | None, now: float
) -> Iterator[Problem]:
    """Yield a problem if a requested lifetime is too long, or the credential is about to end."""
    if ends is not None and ends <= int(now):
        yield Problem("", "the credential expires in less than a second")
    elif validity is not None and ends is not None and int(now) + validity > ends:
        left = ends - int(now)
        yield Problem("validity", f"the credential expires earlier, in {left} s")
    if validity is not None and validity > longest:
        yield Problem("validity", f"the lifetime exceeds the limit of {in_words(longest)}")


def _flaws_of_audience(
    requester: Authentication, requested: ExchangeRequest, bounds: Bounds
) -> Iterator[Problem]:
    """
    Yield a problem for each requested audience that the credential does not have, or if no audience
    is left that the credentials of a user and of an actor both allow.
    """
    if requester.token is not None and requester.token.audience == ():
        yield Problem("audience", "the credentials have no audience in common")
    if requested.audience is None:
        return
    if not bounds.audience:
        yield Problem("audience", "JWTs of this gateway name no audience (jwt.aud, jwt.emit_aud)")
        return
    own = requester.token.audience if requester.token is not None else None
    allowed = bounds.audience if own is None else [each for each in own if each in bounds.audience]
    if not requested.audience:
        yield Problem("audience", "is empty; leave it out for all audiences")
    for place, each in enumerate(requested.audience):
        if each not in allowed:
            yield Problem(f"audience[{place}]", "is not an audience of the credential")


def _flaws_of_cloak(requester: Authentication, names: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for each claim that cannot be cloaked, because it is not an attribute."""
    attributes = (requester.unrestricted or requester.identity).attributes
    for place, name in enumerate(names):
        if name in attributes:
            continue
        if name in _NOT_ATTRIBUTES:
            yield Problem(f"cloak[{place}]", f"is not an attribute: {_NOT_ATTRIBUTES[name]}")
        elif is_reserved(name):
            yield Problem(f"cloak[{place}]", "is set by the gateway, and cannot be cloaked")


def _flaws_of_may_act(
    requester: Authentication, names: Sequence[tuple[str, str]] | None
) -> Iterator[Problem]:
    """Yield a problem for each identity that may not act by the credential of the client."""
    allowed = _held_may_act(requester)
    if names is not None and not names:
        yield Problem("may_act", "is empty; leave it out for all that may act by the credential")
    for place, each in enumerate(names or ()):
        if allowed is not None and each not in allowed:
            yield Problem(f"may_act[{place}]", "may not act by the credential")


def _flaws_of_chain(
    conditions: Sequence[Condition], held: _Held, restrictions: Sequence[RestrictionSet]
) -> Iterator[Problem]:
    """Yield a problem for each part of the credential that an exchanged token cannot state."""
    known = (Grant, RestrictionSet)
    if not all(isinstance(each, known) for each in conditions):
        yield Problem("", "the credential has conditions that an exchanged token cannot state")
    if len(held.ancestors) > MOST_ANCESTORS:
        why = f"the credential was exchanged {MOST_ANCESTORS} times; exchange an earlier token"
        yield Problem("", why)
    if len(restrictions) > MOST_RESTRICTIONS:
        yield Problem("restrictions", f"there would be more than {MOST_RESTRICTIONS} sets in all")
    if sum(each.wild_segments for each in restrictions) > MOST_WILD_SEGMENTS:
        why = (
            "there are too many wildcards: paths of permissions with a wildcard before their end "
            f"may have {MOST_WILD_SEGMENTS} segments in all"
        )
        yield Problem("restrictions", why)

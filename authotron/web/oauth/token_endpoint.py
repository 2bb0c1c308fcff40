"""C{POST /oauth/token}: a client exchanges a token for a narrower one (RFC 8693)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import evolve

from authotron.gateway.authorization import Allow, authorize
from authotron.jose.access_tokens import scope_of
from authotron.model.authentication import Authentication
from authotron.model.binding import ProofNeeded
from authotron.model.errors import ExceedsGrant, PoliciesUnknown, Rejected
from authotron.tokens.exchange import ExchangeRequest
from authotron.tokens.exchanged_tokens import Exchanged
from authotron.web.later_routes import Call
from authotron.web.oauth.caller import BEARER, authenticated, bearer_of, judged
from authotron.web.oauth.errors import NOT_CACHED, UNAVAILABLE, as_error, error_reply, malformed
from authotron.web.oauth.exchange_form import SEVERAL, exchange_request, refusal
from authotron.web.oauth.form import Form, read_form
from authotron.web.oauth.metadata import EXCHANGE_GRANT, REFRESH_GRANT
from authotron.web.replies import Reply, json_reply
from authotron.web.routing import EarlyReply
from authotron.web.token_exchange import issued

_TYPE = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN, JWT = f"{_TYPE}access_token", f"{_TYPE}jwt"
"""The types of tokens that clients exchange and get (RFC 8693 section 3)."""

AUTHORIZATION = "urn:authotron:token-type:authorization"
"""
The type of a subject token that is the whole value of a header C{Authorization}, so that a client
may exchange credentials that are not tokens.
"""


async def token(call: Call) -> Reply:
    """
    Answer C{POST /oauth/token}.

    The credential that a client exchanges is the subject token in the form. A client that also
    authenticates by the header C{Authorization} must do so with a valid credential.
    """
    form = read_form(call.request, SEVERAL)
    grant = _GRANTS.get(form.needed("grant_type"))
    if grant is None:
        description = "The gateway does not support this grant type."
        return error_reply("unsupported_grant_type", description)
    caller = None
    if call.request.authorization is not None:
        caller = await authenticated(call)
    return await grant(call, form, caller)


async def _exchanged(call: Call, form: Form, caller: Authentication | None) -> Reply:
    """Answer the exchange of a token for a narrower one."""
    wanted = form.one("requested_token_type") or ACCESS_TOKEN
    if wanted not in (ACCESS_TOKEN, JWT):
        raise malformed("The gateway issues no tokens of the requested type.")
    subject = await _stated(call, form, caller, "subject_token")
    actor = await _actor(call, form, caller)
    requested = exchange_request(form, subject)
    if call.gateway.proofs is not None:
        from authotron.web import token_proofs  # noqa: PLC0415 - only needed for bound tokens

        binding = await token_proofs.binding_of(call, actor or subject, None)
        requested = evolve(requested, binding=binding)
    if wanted == JWT and any(
        _needs_gateway(each, requested) for each in (subject, actor) if each is not None
    ):
        raise malformed("Only the gateway itself can enforce the limits of the requested token.")
    found = await _narrower(call, subject, requested, actor)
    return await _for_backends(call, found) if wanted == JWT else _issued(call, found)


async def _narrower(
    call: Call, subject: Authentication, requested: ExchangeRequest, actor: Authentication | None
) -> Exchanged:
    """
    Issue an exchanged token, and turn each error into a reply of an OAuth endpoint.

    @raise EarlyReply: the request asks for more than the subject token allows, or the gateway
        cannot issue the token now.
    """
    try:
        return await issued(call, subject, requested, actor)
    except ExceedsGrant as error:
        raise EarlyReply(refusal(error.problems)) from None
    except PoliciesUnknown:
        raise EarlyReply(UNAVAILABLE) from None
    except EarlyReply as end:
        raise EarlyReply(as_error(end.reply)) from None


async def _refreshed(call: Call, form: Form, _caller: Authentication | None) -> Reply:
    """Answer the use of a refresh token (RFC 6749 section 6)."""
    if call.gateway.families is None:
        return error_reply("unsupported_grant_type", "There are no refresh tokens.")
    if form.one("scope") is not None:
        description = "A new token has the scopes of the first token; exchange the new token."
        return error_reply("invalid_scope", description)
    from authotron.web import token_refresh  # noqa: PLC0415 - only needed for refresh tokens

    text = form.needed("refresh_token")
    try:
        return _issued(call, await token_refresh.issued(call, text))
    except token_refresh.Invalid:
        return error_reply("invalid_grant", "The refresh token is not valid.")
    except PoliciesUnknown:
        return UNAVAILABLE
    except EarlyReply as end:
        raise EarlyReply(as_error(end.reply)) from None


def _issued(call: Call, found: Exchanged) -> Reply:
    """Return the reply with an exchanged token, and the refresh token that comes with it."""
    binding, scopes = found.token.binding, found.identity.scopes
    type_ = "DPoP" if binding is not None and binding.jkt else "Bearer"
    life = found.expires - int(call.clock.seconds())
    return _reply(found.text, ACCESS_TOKEN, type_, life, scope_of(scopes.values()), found.refresh)


def _needs_gateway(subject: Authentication, requested: ExchangeRequest) -> bool:
    """Return whether a new token would have limits that backends could not enforce."""
    is_bound = subject.token is not None and subject.token.binding is not None
    is_narrow = requested.cloak or requested.restrictions or requested.binding
    return bool(is_bound or is_narrow or requested.refresh or subject.conditions)


async def _actor(call: Call, form: Form, caller: Authentication | None) -> Authentication | None:
    """
    Return the identity that requests to act in the name of the subject, or C{None} if the form has
    no actor token (RFC 8693 section 2.1).

    @raise EarlyReply: the actor token is not valid, has no type, or cannot be verified now.
    """
    if form.one("actor_token") is None:
        if form.one("actor_token_type") is not None:
            raise malformed("The form has a type of an actor token, but no actor token.")
        return None
    return await _stated(call, form, caller, "actor_token")


async def _stated(
    call: Call, form: Form, caller: Authentication | None, name: str
) -> Authentication:
    """
    Return the authentication of a client that would present a token in the form as its credential.
    A token that is bound to a key can only be exchanged by a client that also presents it in its
    header, with a proof.

    @param name: the name of the parameter with the token.

    @raise EarlyReply: the token is not valid, cannot be used from the network of the client, or
        cannot be verified now.
    """
    text, type_ = form.needed(name), form.needed(f"{name}_type")
    if type_ not in (ACCESS_TOKEN, JWT, AUTHORIZATION):
        raise malformed(f"The gateway accepts no {name} of this type.")
    if caller is not None and text == _credential(call):
        return caller
    if type_ != AUTHORIZATION and not BEARER.fullmatch(text):
        raise malformed("The subject_token is not valid.")
    authorization = text if type_ == AUTHORIZATION else f"Bearer {text}"
    found = await judged(call, authorization, is_client=caller is None)
    contracts = call.gateway.contracts
    facts = contracts.direct.facts(call.request.question(contracts))
    try:
        if found is not None and isinstance(authorize(found, facts, is_to_gateway=True), Allow):
            return found
    except ProofNeeded:
        raise malformed(f"The {name} is not valid.") from None
    raise malformed(f"The {name} is not valid.")


def _credential(call: Call) -> str:
    """Return the value of the credential in the header of a request, without its scheme."""
    given = (call.request.authorization or b"").decode("latin-1")
    return given.strip(" \t").partition(" ")[2].strip(" ")


async def _for_backends(call: Call, exchanged: Exchanged) -> Reply:
    """
    Return a JWT for backends, such as C{/authenticate} mints for a client with an exchanged token.

    @raise EarlyReply: the exchanged token has limits that backends could not enforce.
    """
    found = await bearer_of(call, exchanged.text)
    token = exchanged.token
    if found is None or found.conditions or token.cloaked or token.binding:
        raise malformed("Only the gateway itself can enforce the limits of the subject token.")
    now = int(call.clock.seconds())
    try:
        minted = call.gateway.minter.mint(found)
    except Rejected:
        raise malformed("The subject_token is not valid.") from None
    life = min(exchanged.expires - now, call.gateway.minter.max_lifetime)
    return _reply(minted, JWT, "N_A", life, scope_of(found.identity.scopes.values()))


def _reply(
    text: str, issued: str, type_: str, life: int, scope: str, refresh: str | None = None
) -> Reply:
    """Return the reply with a token (RFC 8693 section 2.2.1)."""
    content: Mapping[str, Any] = {
        "access_token": text,
        "issued_token_type": issued,
        "token_type": type_,
        "expires_in": life,
        **({"scope": scope} if scope else {}),
        **({} if refresh is None else {"refresh_token": refresh}),
    }
    return json_reply(200, content, *NOT_CACHED)


Grant = Callable[[Call, Form, Authentication | None], Awaitable[Reply]]
"""
A function that answers a request with a certain grant type; its last argument is the client if the
client has authenticated by the header C{Authorization}, or else C{None}.
"""

_GRANTS: Mapping[str, Grant] = {EXCHANGE_GRANT: _exchanged, REFRESH_GRANT: _refreshed}
"""The function that answers a request to C{/oauth/token}, by the grant type of the request."""

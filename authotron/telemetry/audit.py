"""Audit events in the log: which user created, changed, revoked or used which API token."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.logger import Logger

from authotron.model.authentication import Authentication
from authotron.model.revocation import Revocation
from authotron.model.token import Revoked, Token

_log = Logger()

_MAX_FACT = 1_000
"""Maximum number of characters of a fact of a request that an audit event contains."""

_MAX_SHOWN = 64
"""Maximum number of characters of an attribute name that an audit event contains."""

_MAX_ROLES = 100
"""Maximum number of roles of an identity that an audit event contains."""

_TERMINAL = "terminal"
"""The value for an operator at a terminal, in place of the way in which an actor authenticated."""


@frozen
class Actor:
    """
    The user who creates, changes or revokes an API token: a client of the gateway, or a user at a
    terminal.

    @ivar credential: how the user was identified: it is C{provider NAME}, C{token ID}, C{terminal},
        or C{the token itself}.
    @ivar client: the address of the client; empty at a terminal.
    """

    realm: str = ""
    username: str = ""
    credential: str = ""
    client: str = ""

    def __str__(self) -> str:
        name = f"{self.username} in realm {self.realm}" if self.realm else self.username
        if self.credential == _TERMINAL:
            return f"{name} at a terminal"
        actor = f"{name} with {self.credential}" if name else f"a client with {self.credential}"
        return f"{actor} from {self.client}" if self.client else actor


def identified(authentication: Authentication, client: str = "") -> Actor:
    """Return the actor for an authenticated request."""
    identity, actor = authentication.identity, authentication.describe_actors()
    lineage: Sequence[str] = getattr(authentication.restriction, "lineage", ())
    credential = f"token {lineage[-1]}" if lineage else f"provider {authentication.provider}"
    credential += f", used by {actor}" if actor else ""
    return Actor(identity.realm, identity.username, credential, client)


def holder(client: str = "") -> Actor:
    """
    Return the actor for a client that revokes an API token by presenting the token, and whose
    identity is unknown.
    """
    return Actor(credential="the token itself", client=client)


def at_terminal() -> Actor:
    """
    Return the actor for a command at a terminal: the operating system user
    who runs the command.
    """
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # the user id is not in the password database of the system
        name = "unknown"
    return Actor(username=name, credential=_TERMINAL)


def created(token: Token, by: Actor) -> None:
    """Log that an API token was created over HTTP or at a terminal."""
    _log.info(
        "API token {id} of {username} in realm {realm} created by {by}",
        event="tokens.created",
        **_facts(token, by),
    )


def left_out(token: Token, attributes: Sequence[str]) -> None:
    """
    Log that an API token is stored without some attributes of its owner, because with them the
    token would be too large.
    """
    _log.info(
        "API token {id} of {username} in realm {realm} is stored without {count} attributes of "
        "the owner, such as {example}: it would be too large",
        event="tokens.left_out",
        id=token.id,
        realm=token.owner.realm,
        username=token.owner.username,
        count=len(attributes),
        example=ascii(attributes[0][:_MAX_SHOWN]),
    )


def imported(token: Token, by: Actor) -> None:
    """Log that an API token of another service was copied into the token store."""
    _log.info(
        "API token {id} of {username} in realm {realm} imported by {by}",
        event="tokens.imported",
        **_facts(token, by),
    )


def exchanged(requester: Authentication, id_: str, expires: int, by: Actor) -> None:
    """Log that a client has exchanged its credential for a narrower token."""
    _log.info(
        "token {id} of {username} in realm {realm} issued in exchange to {by}",
        event="tokens.exchanged",
        id=id_,
        realm=requester.identity.realm,
        username=requester.identity.username,
        expires=expires,
        **_actor(by),
    )


def family_ended(id_: str, owner: tuple[str, str], reason: str, by: Actor) -> None:
    """Log that the refresh tokens of a login have ended before their time."""
    realm, username = owner
    _log.info(
        "refresh tokens of {username} in realm {realm} ended by {by}: {reason}",
        event="tokens.refresh.ended",
        id=id_,
        realm=realm,
        username=username,
        reason=reason,
        **_actor(by),
    )


def changed(token: Token, fields: Sequence[str], by: Actor) -> None:
    """
    Log that the name, comment or expiry of an API token was changed, where C{token} has the new
    values.
    """
    _log.info(
        "API token {id} of {username} in realm {realm} changed ({changed}) by {by}",
        event="tokens.changed",
        changed=", ".join(fields),
        **_facts(token, by),
    )


def revoked(token: Token, root: str, by: Actor) -> None:
    """
    Log that an API token was revoked.

    @param root: the id of the API token whose revocation was requested: this is C{token} itself, or
        the ancestor with which C{token} was revoked.
    """
    _log.info(
        "API token {id} of {username} in realm {realm} revoked with {root} by {by}",
        event="tokens.revoked",
        root=root,
        **_facts(token, by),
    )


def backed_up(file: str, by: Actor) -> None:
    """Log that all API tokens were copied to a file."""
    _log.info("all API tokens copied to {file} by {by}", event="tokens.backed_up", **_of(file, by))


def restored(file: str, by: Actor) -> None:
    """Log that all API tokens were replaced by those of a backup."""
    _log.info(
        "all API tokens replaced by those of {file} by {by}",
        event="tokens.restored",
        **_of(file, by),
    )


def pepper_accepted(by: Actor) -> None:
    """
    Log that the API tokens that were hashed with another pepper are given up, so that they are
    rejected from now on.
    """
    _log.info(
        "API tokens of another pepper given up by {by}",
        event="tokens.pepper_accepted",
        by=str(by),
        by_username=by.username,
        credential=by.credential,
    )


def _of(file: str, by: Actor) -> dict[str, str]:
    username, credential = by.username, by.credential
    return {"file": file, "by": str(by), "by_username": username, "credential": credential}


def unconfirmed(token: Token, what: str, by: Actor) -> None:
    """
    Log that the token store did not confirm a change of an API token.

    @param what: the change that was not confirmed: it is C{created}, C{changed} or C{revoked}.
    """
    _log.info(
        "API token {id} of {username} in realm {realm} perhaps {what} by {by}: the token store did "
        "not confirm the change",
        event="tokens.unconfirmed",
        what=what,
        **_facts(token, by),
    )


def used_after_revocation(token: Revoked, client: str) -> None:
    """Log that a client presented an API token that was revoked."""
    _log.info(
        "API token {id} of {username} in realm {realm} used after its revocation by a client from "
        "{address}",
        event="tokens.used_after_revocation",
        id=token.id,
        realm=token.realm,
        username=token.username,
        client=client,
        address=client or "an unknown address",
    )


def revocation_made(revocation: Revocation, by: Actor) -> None:
    """Log that some credentials were revoked."""
    _log.info(
        "revocation {id} of {about} made by {by}",
        event="revocations.made",
        **_of_revocation(revocation, by),
    )


def revocation_withdrawn(revocation: Revocation, by: Actor) -> None:
    """Log that a revocation was withdrawn, so that the credentials count again."""
    _log.info(
        "revocation {id} of {about} withdrawn by {by}",
        event="revocations.withdrawn",
        **_of_revocation(revocation, by),
    )


def revocation_unconfirmed(revocation: Revocation, what: str, by: Actor) -> None:
    """
    Log that the token store, or a worker, did not confirm a change of a revocation.

    @param what: the change that was not confirmed: it is C{made} or C{withdrawn}.
    """
    _log.info(
        "revocation {id} of {about} perhaps {what} by {by}: the token store or a worker did not "
        "confirm the change",
        event="revocations.unconfirmed",
        what=what,
        **_of_revocation(revocation, by),
    )


def _of_revocation(revocation: Revocation, by: Actor) -> dict[str, Any]:
    return {
        "id": revocation.id,
        "about": revocation.about[:_MAX_FACT],
        "token": revocation.token,
        "realm": revocation.realm,
        "username": revocation.username,
        "claims": revocation.claims and revocation.claims[:_MAX_FACT],
        "issued_before": revocation.issued_before,
        "active_from": revocation.active_from,
        "until": revocation.until,
        "reason": revocation.reason,
        "by": str(by),
        "by_realm": by.realm,
        "by_username": by.username,
        "credential": by.credential,
        "client": by.client,
    }


def policies_stored(label: str, version: int, number: int, by: Actor) -> None:
    """
    Log that rules or groups of the policies in the token store were changed.

    @param number: the number of rules and groups that were created, changed or deleted.
    """
    _log.info(
        "policies of label {label} in the token store changed to version {version} by {by}: "
        "rules and groups changed: {number}",
        event="policy.store.changed",
        label=label,
        version=version,
        number=number,
        by=str(by),
        by_username=by.username,
        credential=by.credential,
    )


def signing_key_changed(what: str, kid: str, version: int, by: Actor) -> None:
    """
    Log that a signing key in the token store was changed.

    @param what: what was done to the key: it was C{generated}, C{promoted} or C{retired}.
    @param version: the version of the signing keys in the token store after the change.
    """
    _log.info(
        "signing key {kid} was {what} by {by}: the token store has version {version} of the keys",
        event="jwt.keys.changed",
        kid=kid,
        what=what,
        version=version,
        by=str(by),
        by_username=by.username,
        credential=by.credential,
    )


def request_denied(
    authentication: Authentication,
    reason: str,
    rule: str,
    facts: Mapping[str, str | None],
    *,
    observes: bool,
) -> None:
    """
    Log that the policies deny the request of an authenticated client.

    @param rule: the name of the rule that denies the request; empty if no rule allows it.
    @param facts: the facts of the client's request, such as method and path.
    @param observes: whether the request passes although the policies deny it.
    """
    identity = authentication.identity
    _log.info(
        "{method} {path} by {username} in realm {realm} {result} the policy: {reason}{because}",
        event="policy.request.observed" if observes else "policy.request.denied",
        realm=identity.realm,
        username=identity.username,
        provider=authentication.provider,
        roles=json.dumps(identity.roles[:_MAX_ROLES], ensure_ascii=False),
        result="would be denied by" if observes else "denied by",
        reason=reason,
        rule=rule,
        actor=authentication.describe_actors(),
        because=rule and f" (rule {rule})",
        **{name: (value or "")[:_MAX_FACT] for name, value in facts.items()},
    )


def policy_asked(
    by: Actor,
    api: str,
    about: str,
    request: Mapping[str, str],
    result: str,
    reason: str,
    rule: str,
) -> None:
    """
    Log that a client has asked the gateway whether the policies allow a request.

    @param api: the API by which the client asked.
    @param about: the identity whose permissions the client asks about.
    @param request: the verb, the resource and the namespace of the request that the client asks
        about.
    @param rule: the name of the rule that decides; empty if no rule does.
    """
    _log.info(
        "{by} asked by {api} whether {about} may {verb} {resource}: {result}, {reason}",
        event="policy.asked",
        **_of_question(by, api),
        about=about[:_MAX_FACT],
        result=result,
        reason=reason,
        rule=rule,
        **{name: value[:_MAX_FACT] for name, value in request.items()},
    )


def policy_questions_asked(by: Actor, api: str, number: int, allowed: int) -> None:
    """
    Log that a client has asked the gateway in one request whether the policies allow several
    requests.

    @param number: the number of questions in the request; the parameter C{allowed} is the number of
        questions that were answered with yes.
    """
    _log.info(
        "{by} asked {number} questions by {api}: {allowed} allowed",
        event="policy.asked.several",
        **_of_question(by, api),
        number=number,
        allowed=allowed,
    )


def policy_searched(
    by: Actor, api: str, about: str, action: str, resource: str, number: int
) -> None:
    """
    Log that a client has searched for subjects, resources or actions that the policies allow.

    @param about: the subject of the search; the subject, C{action} or C{resource} may be a
        placeholder for any.
    @param number: the number of results of the search.
    """
    _log.info(
        "{by} searched by {api} for {about}, {verb}, {resource}: {number} found",
        event="policy.searched",
        **_of_question(by, api),
        about=about[:_MAX_FACT],
        verb=action[:_MAX_FACT],
        resource=resource[:_MAX_FACT],
        number=number,
    )


def policy_listed(by: Actor, api: str, about: str, namespace: str) -> None:
    """
    Log that a client has asked what the policies allow to an identity in a namespace.

    @param about: the identity whose permissions the client asks about.
    """
    _log.info(
        "{by} asked by {api} what {about} may do in the namespace {namespace}",
        event="policy.listed",
        **_of_question(by, api),
        about=about[:_MAX_FACT],
        namespace=namespace[:_MAX_FACT],
    )


def policy_question_refused(by: Actor, api: str, why: str) -> None:
    """Log that the gateway has refused to answer a client's question about the policies."""
    _log.info(
        "question of {by} by {api} refused: {reason}",
        event="policy.question.refused",
        **_of_question(by, api),
        reason=why,
    )


def _of_question(by: Actor, api: str) -> dict[str, str]:
    return {
        "api": api,
        "by": str(by),
        "by_realm": by.realm,
        "by_username": by.username,
        "credential": by.credential,
        "client": by.client,
    }


def _facts(token: Token, by: Actor) -> dict[str, Any]:
    owner, grant = token.owner, token.grant
    return {
        "id": token.id,
        "parent": token.lineage[-1] if token.lineage else None,
        "realm": owner.realm,
        "username": owner.username,
        "roles": None if grant.roles is None else [*grant.roles],
        "scopes": None if grant.scopes is None else {k: [*v] for k, v in grant.scopes.items()},
        "hosts": [*grant.hosts],
        "networks": [*grant.networks],
        "expires": grant.expires,
        **({"cnf": token.binding.confirmation} if token.binding else {}),
        **_actor(by),
    }


def _actor(by: Actor) -> dict[str, Any]:
    return {
        "by": str(by),
        "by_realm": by.realm,
        "by_username": by.username,
        "credential": by.credential,
        "client": by.client,
    }

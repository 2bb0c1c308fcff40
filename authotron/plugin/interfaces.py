"""
Interfaces that providers, augmenters and token stores implement, and further ones that are
optional.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from zope.interface import Attribute, Interface

from authotron.concurrency.racing import MaybeAwaited
from authotron.model.authentication import Authentication
from authotron.model.identity import Addition, Credential, Identity
from authotron.model.policy_document import PolicyDocument
from authotron.model.records import Changes, Record
from authotron.model.token import Revoked, Token
from authotron.plugin.evaluation import Evaluation

if TYPE_CHECKING:  # needed for one type only, and imports a library
    from authotron.jose.own_tokens import OwnKeys


class Affinity(Enum):
    """
    How likely a credential belongs to a provider, judged only by the format
    of the credential.
    """

    OWN = "the credential belongs to this provider, and no other provider may be asked"
    LIKELY = "the credential names this provider, so providers with affinity POSSIBLE are not asked"
    POSSIBLE = "this provider may know the credential"
    FOREIGN = "this provider cannot know the credential"


class IJudge(Interface):
    """Verifies credentials of one authentication scheme, for one realm or for several realms."""

    name: str = Attribute("the name of the provider, unique among the configured providers")
    type: str = Attribute("the value of the configuration key C{type}, such as ldap")
    realm: str = Attribute("the realm that metrics show, or C{unknown} for several realms")
    scheme: str = Attribute(
        "the authentication scheme that the provider supports, in lower case, such as bearer"
    )
    local: bool = Attribute(
        "whether the provider can now answer without a remote service, and is thus asked first"
    )

    def affinity(credential: Credential) -> Affinity:
        """
        Return how likely a credential belongs to this provider, judged only by the format of the
        credential.
        """

    def authenticate(credential: Credential) -> MaybeAwaited[Authentication]:
        """
        Return the authentication that C{credential} proves, or a coroutine that returns it.

        @raise Rejected: the credential is not valid.
        @raise Unavailable: the credential could not be verified now.
        """


class IProvider(IJudge):
    """
    A provider, as C{providers:} configures it: verifies credentials of one authentication scheme
    for one realm.
    """

    realm: str = Attribute("the realm of every identity that the provider returns")


class IMayAskRemotes(Interface):
    """A provider that needs a remote service for some credentials, and not for others."""

    def is_local(credential: Credential) -> bool:
        """
        Whether the provider can verify this credential without a remote service; this method
        overrides the attribute C{local}.
        """


class IOfIssuer(Interface):
    """A provider that may be configured for the tokens of one issuer, which error messages name."""

    issuer: str | None = Attribute("the claim C{iss} that tokens must have, or None for any issuer")


class IAcceptsOwnJwts(Interface):
    """A provider that accepts the JWTs that the gateway itself has minted."""

    def use_keys(keys: OwnKeys, issuer: str) -> None:
        """
        Receive the keys of the gateway, before the provider is asked about any credential.

        @param issuer: the claim C{iss} of the JWTs that the gateway mints.
        """


class IUserLookup(Interface):
    """
    A provider that can look up a user without a credential, such as the
    owner of an API token.
    """

    async def look_up(username: str) -> Authentication:
        """
        Return the current roles, attributes and scopes of a user.

        @raise Rejected: the user does not exist any more.
        @raise Unavailable: the user cannot be looked up now.
        """


class IAugmenter(Interface):
    """
    Adds roles and attributes to the identities of one realm, and never removes
    a role or attribute.
    """

    name: str = Attribute("the name of the augmenter, unique among the configured augmenters")
    type: str = Attribute("the value of the configuration key C{type}, such as ldap")
    realm: str = Attribute("the realm whose identities are augmented, case-sensitive")
    runs_last: bool = Attribute(
        "whether the augmenter runs after the augmenters without runs_last, and sees their roles"
    )
    required: bool = Attribute("whether a failure of the augmenter is answered by a 503")
    timeout: float | None = Attribute(
        "seconds that one call of the augmenter may take, or None for auth.timeout_in_ms"
    )

    def augment(identity: Identity) -> MaybeAwaited[Addition]:
        """
        Return the roles and attributes to add to C{identity}, or a coroutine that returns them.

        @raise Unavailable: the augmenter cannot answer now.
        """


@frozen
class TokenQuery:
    """
    A query for API tokens.

    @ivar realm: only tokens whose owners are in this realm, or C{None} for all realms.
    @ivar username: only tokens whose owners have this user name, or C{None} for all users.
    @ivar after: only tokens whose ids are greater than this id, that is younger tokens, because ids
        sort by age.
    @ivar most: the maximum number of tokens to return.
    @ivar below: only the token with this id and its descendants, or C{None} for all tokens.
    """

    realm: str | None = None
    username: str | None = None
    after: str = ""
    most: int = 100
    below: str | None = None


class IAuthorizer(Interface):
    """
    A plugin that decides, in addition to the rules of the policies, whether an identity may make a
    request.
    """

    name: str = Attribute("the name in logs and metrics")
    type: str = Attribute("the value of the configuration key C{type}, such as authzen")

    async def allows(evaluation: Evaluation) -> bool:
        """
        Return whether an identity may make a request.

        The gateway cancels a call of the authorizer that takes longer than C{auth.timeout_in_ms}.

        @raise Unavailable: the authorizer reached no decision; the client gets a 503.
        """


class ITokenStore(Interface):
    """
    Stores API tokens, and leaves all decisions about API tokens to its callers.

    All methods of a token store except C{close} raise L{Unavailable} while the database cannot be
    used.
    """

    type: str = Attribute("the value of the configuration key C{type}, such as ldap")
    pepper: bytes | None = Attribute(
        "the pepper, a secret key for hashing, that the store keeps and open() reads; "
        "it is None if the pepper must be configured"
    )

    async def open() -> None:
        """
        Connect to the database, and create missing tables; the caller may try again after an error.

        @raise Unavailable: the database cannot be used now; a later attempt may succeed.
        @raise ConfigError: the store cannot work before the operator changes something.
        """

    async def close() -> None:
        """Close all connections to the database; calls that wait for an answer fail."""

    async def check_reachable() -> None:
        """
        Check that the database can be reached.

        @raise Unavailable: the database cannot be reached.
        """

    async def add(token: Token, most: int | None = None) -> None:
        """
        Store a new API token.

        @param most: the maximum number of unexpired tokens of the owner for which
            L{counts_towards_limit} is true, the new one included, or C{None} for no limit.

        @raise TokenExists: a token with the id of the new token is stored already.
        @raise TooMany: the owner has C{most} tokens already.
        """

    async def get(id_: str) -> Token | None:
        """
        Return the token with this id, even if the token has expired, or C{None}
        if none is stored.
        """

    async def list_tokens(wanted: TokenQuery) -> Sequence[Token]:
        """Return the API tokens that match a query, sorted by id."""

    async def change(id_: str, changes: Mapping[str, str | float | None]) -> bool:
        """
        Change some of the columns in L{CHANGEABLE} of a token; return whether
        the token exists.
        """

    async def remove(id_: str, now: float) -> Sequence[str]:
        """
        Remove a token and all its descendants, and remember that they were revoked.

        @return: the ids of all removed tokens: first the id of the token C{id_}, then the ids of
            its descendants. If several callers remove a token at the same time, the id of each
            removed token is returned to only one caller.
        """

    async def find_revoked(id_: str) -> Revoked | None:
        """
        Return the stored record of a revoked token with this id, or C{None} if there is no record.

        A store keeps the records of the last L{MOST_REVOKED} revoked tokens for L{REVOKED_FOR}
        seconds each, but of one owner only the last L{MOST_REVOKED_OF_OWNER}, so that no owner
        displaces the records of other owners. The records of revoked imported tokens are all kept
        for L{IMPORTED_REVOKED_FOR} seconds, because no client can create imported tokens.
        """

    async def delete_expired(now: float) -> int:
        """Delete expired tokens; return the number of deleted tokens."""


class IChecksPepper(ITokenStore):
    """
    A token store that keeps a check value of the pepper (a keyed hash) beside its API tokens.

    By the check value the gateway recognises a wrong pepper, with which all API tokens would be
    rejected.
    """

    async def pepper_check() -> str | None:
        """Return the stored check value of the pepper, or C{None} if none is stored yet."""

    async def set_pepper_check(value: str, earlier: str | None) -> None:
        """
        Replace the stored check value of the pepper if it is still C{earlier}, or else do nothing.

        @param earlier: the check value that L{pepper_check} returned.
        """


class IKeepsPepper(Interface):
    """A token store that generates a pepper and keeps it in a file."""

    pepper_file: str = Attribute("the path of the file with the pepper")

    async def create_pepper() -> None:
        """
        Create the file with the pepper if it is missing, even if the store
        contains API tokens.
        """


class IBacksUp(Interface):
    """
    A token store that can copy its API tokens to a backup file, and replace them by those of a
    backup file.
    """

    async def back_up(file: Path) -> None:
        """
        Copy all API tokens to a new backup file, without the pepper.

        @raise Unavailable: the file exists or cannot be written, or the store cannot be read.
        """

    async def restore(
        file: Path, pepper: bytes | None, verify: Callable[[str | None], None], *, replace: bool
    ) -> None:
        """
        Replace all API tokens by those of a file that L{back_up} wrote.

        @param pepper: the pepper of the API tokens in the file, to be stored, or C{None} if the
            store has it already.
        @param verify: a function that is called with the check value of the pepper in the backup
            file, before the store is changed; if the function raises an exception, nothing is
            restored.
        @param replace: whether to replace API tokens that the store contains, which are then lost.

        @raise Unavailable: the file cannot be read, or API tokens or a pepper in the store would be
            lost.
        """


class IKeepsPolicies(Interface):
    """
    A token store that keeps policies beside its API tokens, for all gateways that share the store.

    All methods of the token store raise L{Unavailable} while its database cannot be used.
    """

    async def policy_state() -> str | None:
        """
        Return the name of the state of the stored policies, or C{None} if no policies were ever
        stored.
        """

    async def policies() -> PolicyDocument | None:
        """Return the stored policies, or C{None} if no policies were ever stored."""

    async def replace_policies(new: PolicyDocument, earlier: str | None) -> bool:
        """
        Replace the stored policies if their state is still C{earlier}, in one atomic operation.

        @param earlier: the state of the policies that are to be replaced, or C{None} if no policies
            were ever stored.

        @return: whether the policies were replaced; false if another caller has replaced the
            policies meanwhile.
        """


class IKeepsRecords(Interface):
    """
    A token store that keeps records, such as revocations, for all gateways that share the store.

    A record whose time C{until} has passed counts as missing, even before the store deletes it in
    C{delete_expired}. All methods of the token store but C{on_change} raise L{Unavailable} while
    its database cannot be used.
    """

    async def add_record(record: Record, now: float) -> bool:
        """
        Add a record, unless a record of this kind and id is stored, in one atomic operation.

        @return: whether the record was added.

        @raise ValueError: the content of the record is longer than 65,536 bytes.
        """

    async def record(kind: str, id_: str, now: float) -> Record | None:
        """Return a record, or C{None} if it is missing."""

    async def records(kind: str, now: float) -> Sequence[Record]:
        """Return all records of a kind, sorted by id."""

    async def replace_record(record: Record, earlier: Record) -> bool:
        """
        Replace a record if its content is still that of C{earlier}, in one atomic operation.

        @return: whether the record was replaced.

        @raise ValueError: the content of the record is longer than 65,536 bytes.
        """

    async def remove_record(kind: str, id_: str) -> bool:
        """
        Remove a record.

        @return: whether the record was removed; if several callers remove a record at the same
            time, this is true for one of them only.
        """

    async def changes(after: str | None) -> Changes:
        """
        Return what has changed in the records of the kinds
        L{FOLLOWED_KINDS<authotron.model.records.FOLLOWED_KINDS>}.

        No change is ever left out, even if the change began before the call and ends after it; if
        the store no longer has all changes after the cursor in its list of changes, it returns all
        records, and C{removed} names those records that were removed by the latest changes.

        @param after: the cursor of the last call; for C{None}, or a cursor that the store does not
            know any more, all records are returned.
        """

    def on_change(notify: Callable[[], object]) -> Callable[[], None]:
        """
        Call a function soon after records have changed, whichever gateway has changed them.

        A call may come without a change, or be lost; so a caller also reads the changes regularly.

        @return: a function that ends the calls.
        """


@frozen
class CheckResult:
    """
    The result of one check of the command C{authotron doctor}.

    A plugin with checks of its own has a class C{Config} with a method C{run_checks(world,
    username)}, which returns the results of the checks.
    """

    what: str
    good: bool
    detail: str = ""


class IReachable(Interface):
    """A plugin that depends on a remote service, which C{/ready} and C{authotron doctor} check."""

    async def check_reachable() -> None:
        """
        Check that the remote service can be reached.

        @raise Unavailable: the remote service cannot be reached.
        """


class IDescribesRemote(IReachable):
    """
    A plugin that can describe what its remote service sent, such as keys, for
    C{authotron doctor}.
    """

    def describe_remote() -> str:
        """
        Describe, after a call of C{check_reachable}, what the remote service sent, or return an
        empty string if it sent nothing.

        @raise Unavailable: the remote service sent nothing that can be used.
        """


class IConnected(Interface):
    """A plugin that keeps connections open between requests."""

    def close() -> None:
        """Close idle connections, and from now on each connection after its last request."""

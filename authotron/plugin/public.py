"""The public names that L{authotron.plugin} imports from this module at their first use."""

from __future__ import annotations

from authotron.concurrency.racing import (
    AsyncCall,
    Awaited,
    MaybeAwaited,
    with_timeout,
)
from authotron.config.plugins import (
    API_VERSION,
    AugmenterConfig,
    PluginConfig,
    StoreConfig,
)
from authotron.config.section import (
    DataPath,
    FilePath,
    Name,
    Names,
    NonEmptyStr,
    NonEmptyStrs,
    Port,
    Realm,
    Seconds,
    Secret,
    Section,
    WholeSeconds,
)
from authotron.limits.client_turns import ClientTurns
from authotron.limits.rejected_passwords import PasswordGuard, PasswordStatus, RetryConfig
from authotron.model.authentication import (
    Authentication,
    Restriction,
)
from authotron.model.errors import (
    ConfigError,
    Flaw,
    Problem,
    Rejected,
    TimedOut,
    TokenExists,
    TooMany,
    Unavailable,
    UnusableFact,
)
from authotron.model.identity import (
    Addition,
    Credential,
    Identity,
    earliest,
)
from authotron.model.naming import (
    flaw,
    normalize,
)
from authotron.model.request import (
    ClientCertificate,
    Condition,
    Facts,
)
from authotron.model.token import (
    CHANGEABLE,
    COLUMNS,
    Revoked,
    Row,
    Token,
    counts_towards_limit,
    from_row,
    mark_of,
)
from authotron.net.http import RemoteConfig, RemoteResponse, WebClient, accepted_content
from authotron.net.http import make as make_web_client
from authotron.net.http import make_turns as make_client_turns
from authotron.net.urls import Url, join_url
from authotron.net.world import World
from authotron.plugin.cache import (
    AuthenticationCache,
    LookupCache,
    addition_bytes,
    authentication_bytes,
)
from authotron.plugin.interfaces import (
    Affinity,
    CheckResult,
    IAugmenter,
    IConnected,
    IDescribesRemote,
    IMayAskRemotes,
    IProvider,
    IReachable,
    ITokenStore,
    IUserLookup,
    TokenQuery,
)
from authotron.plugin.passwords import (
    PasswordVerifier,
    check_hash,
    digest,
)
from authotron.plugin.token_rows import (
    IMPORTED_REVOKED_FOR,
    MOST_REVOKED,
    MOST_REVOKED_OF_OWNER,
    REVOKED_FOR,
    remembered_until,
    tokens_of,
)

__all__ = [
    "API_VERSION",
    "CHANGEABLE",
    "COLUMNS",
    "IMPORTED_REVOKED_FOR",
    "MOST_REVOKED",
    "MOST_REVOKED_OF_OWNER",
    "REVOKED_FOR",
    "Addition",
    "Affinity",
    "AsyncCall",
    "AugmenterConfig",
    "Authentication",
    "AuthenticationCache",
    "Awaited",
    "CheckResult",
    "ClientCertificate",
    "ClientTurns",
    "Condition",
    "ConfigError",
    "Credential",
    "DataPath",
    "Facts",
    "FilePath",
    "Flaw",
    "IAugmenter",
    "IConnected",
    "IDescribesRemote",
    "IMayAskRemotes",
    "IProvider",
    "IReachable",
    "ITokenStore",
    "IUserLookup",
    "Identity",
    "LookupCache",
    "MaybeAwaited",
    "Name",
    "Names",
    "NonEmptyStr",
    "NonEmptyStrs",
    "PasswordGuard",
    "PasswordStatus",
    "PasswordVerifier",
    "PluginConfig",
    "Port",
    "Problem",
    "Realm",
    "Rejected",
    "RemoteConfig",
    "RemoteResponse",
    "Restriction",
    "RetryConfig",
    "Revoked",
    "Row",
    "Seconds",
    "Secret",
    "Section",
    "StoreConfig",
    "TimedOut",
    "Token",
    "TokenExists",
    "TokenQuery",
    "TooMany",
    "Unavailable",
    "UnusableFact",
    "Url",
    "WebClient",
    "WholeSeconds",
    "World",
    "accepted_content",
    "addition_bytes",
    "authentication_bytes",
    "check_hash",
    "counts_towards_limit",
    "digest",
    "earliest",
    "flaw",
    "from_row",
    "join_url",
    "make_client_turns",
    "make_web_client",
    "mark_of",
    "normalize",
    "remembered_until",
    "tokens_of",
    "with_timeout",
]

r"""
Let users log on to a directory by the name of an account instead of a DN: C{alice@example.org} or
C{EXAMPLE\alice}.

Active Directory accepts the name of an account in a bind, so no service account is needed to find
the user's DN: after the bind as the user, authotron searches the user's entry.

Active Directory may bind another account than the one that the search finds: it binds
C{alice@example.org} as any account with this C{userPrincipalName}, and only if there is none as the
account C{alice}. authotron therefore checks that the entry that the search finds belongs to the
account that was bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from authotron.ldap.decoding import Entry
from authotron.ldap.dn import InvalidDn, fold_value, parse_dn
from authotron.ldap.spelling import is_same_dn
from authotron.model.errors import Rejected

ACCOUNT, PRINCIPAL = "sAMAccountName", "userPrincipalName"
"""The LDAP attributes that hold the two names of an account in Active Directory."""

_PRINCIPAL = re.compile(r"\{username\}@(?P<domain>[A-Za-z0-9][A-Za-z0-9.-]*)")
_DOWN_LEVEL = re.compile(r"(?P<domain>[^\s\"/\\\[\]:;|=,+*?<>@{}]+)\\\{username\}")
_FORBIDDEN = re.compile(r"[\"/\\\[\]:;|=,+*?<>@\s{}]")
"""Characters that a user name must not have, as it would then be another form of a logon name."""


def strip_domain(written: str, domains: Iterable[str]) -> str:
    r"""
    Return a user name without its domain, if the domain is one of C{domains}.

    For example, C{EXAMPLE\alice} and C{alice@example.org} both become C{alice}.
    """
    known = {each.casefold() for each in domains}
    domain, _, name = written.rpartition("\\")
    if name and domain.casefold() in known:
        return name
    name, _, domain = written.rpartition("@")
    return name if name and domain.casefold() in known else written


@frozen
class LogonName:
    r"""
    The form of the account names with which users log on to a directory.

    @ivar template: C{{username}@example.org} or C{EXAMPLE\{username}}.
    @ivar is_principal: whether the template has the form C{{username}@example.org}.
    @ivar domains: the names of the Windows domain that the configuration states.
    @ivar guessed: likely names of the Windows domain that are derived from the configured domains
        and the search base, such as C{EXAMPLE} from C{example.org}; users may write these, too.
    """

    template: str
    is_principal: bool
    domains: tuple[str, ...]
    guessed: tuple[str, ...] = ()

    def search(self) -> str:
        """Return the LDAP filter that finds the entries of all accounts that the name may mean."""
        account = f"({ACCOUNT}={{username}})"
        if self.is_principal:
            account = f"(|({PRINCIPAL}={self.template}){account})"
        return f"(&(objectClass=person){account})"

    def account_of(self, written: str) -> str:
        """
        Return the name of the account without its domain.

        @raise Rejected: the name has another domain, or characters that no account name has.
        """
        name = strip_domain(written, [*self.domains, *self.guessed])
        if _FORBIDDEN.search(name):
            raise Rejected(
                "the user name is of another domain, or cannot be the name of an account"
            )
        return name

    def bind_name(self, name: str) -> str:
        """Return the name of the account that is sent in the bind of a user."""
        return self.template.replace("{username}", name)

    def choose(self, entries: Sequence[Entry], name: str) -> Entry:
        """
        If a search found several entries, return the one that belongs to the account that was
        bound.

        @raise Rejected: no entry, or more than one, can belong to the account that was bound.
        """
        bound = [each for each in entries if self.is_certain(each, name)]
        if not bound:
            bound = [each for each in entries if self._may_be(each, name)]
        if not bound:
            raise Rejected("the account that was bound has no entry below the search base")
        if len(bound) > 1:
            raise Rejected("the directory has several entries for the user name")
        return bound[0]

    def is_certain(self, entry: Entry, name: str) -> bool:
        """
        Return whether it is certain that an entry belongs to the account that was bound.

        A server binds C{alice@example.org} as the account C{alice} of the domain only if no account
        has the C{userPrincipalName} C{alice@example.org}. A search below one base DN cannot exclude
        that an account elsewhere has this C{userPrincipalName}; so an entry certainly belongs to
        the bound account only if the entry itself has this C{userPrincipalName}.
        """
        if self.is_principal:
            return _has(entry, PRINCIPAL, self.bind_name(name))
        return _has(entry, ACCOUNT, name)

    @staticmethod
    def _may_be(entry: Entry, name: str) -> bool:
        return _has(entry, ACCOUNT, name) or not entry.strings(ACCOUNT)

    def is_called(self, entry: Entry, whoami: str) -> bool:
        r"""
        Return whether an entry belongs to the account that the server named (RFC 4532).

        @param whoami: the name of the bound account is C{u:EXAMPLE\alice}, or C{dn:} and the DN of
            the account.
        """
        kind, _, who = whoami.partition(":")
        if kind == "dn":
            return is_same_dn(who, entry.dn, "")
        domain, _, account = who.rpartition("\\")
        known = {each.casefold() for each in self.domains if "." not in each}
        if domain and known and domain.casefold() not in known:
            return False
        return kind == "u" and _has(entry, ACCOUNT, account)


def _has(entry: Entry, attribute: str, value: str) -> bool:
    return any(fold_value(each) == fold_value(value) for each in entry.strings(attribute))


def _guess_domains(domains: Iterable[str], search_base: str) -> Iterator[str]:
    """
    Yield the usual names of a Windows domain: for example, C{example.org} and, for old clients,
    C{EXAMPLE}.

    A wrong domain name in the list of likely names is harmless: the server verifies the password of
    the account, whatever domain the user wrote.
    """
    try:
        steps = [rdn.value_of("dc") for rdn in parse_dn(search_base)]
    except InvalidDn:
        steps = []
    of_base = ".".join(step for step in steps if step)
    for name in filter(None, [*domains, of_base]):
        yield name
        yield name.partition(".")[0]


def parse_logon(
    template: str, domains: Iterable[str] = (), search_base: str = ""
) -> LogonName | None:
    """Return the form of logon names that a template has, or C{None} if the template is a DN."""
    principal = _PRINCIPAL.fullmatch(template)
    match = principal or _DOWN_LEVEL.fullmatch(template)
    if match is None:
        return None
    known = tuple(dict.fromkeys([match["domain"], *domains]))
    guessed = tuple(dict.fromkeys(_guess_domains(known, search_base)))
    return LogonName(template, principal is not None, known, guessed)

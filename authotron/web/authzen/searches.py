"""
Answers the searches of AuthZEN: which subjects, resources or actions do the policies allow?

A search finds only subjects, resources and actions that a rule of the policies names, because the
gateway knows no others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.pieces import PIECE, Pieces
from authotron.concurrency.sorting import part_in_order
from authotron.gateway.asking import StatedRequest
from authotron.model.errors import AmbiguousRequest, MayNotAsk, UnusableFact
from authotron.policy.resources import ANY
from authotron.policy.search import NamedSubject, named_subjects
from authotron.policy.verbs import METHODS
from authotron.web.authzen.entities import (
    Action,
    Context,
    Malformed,
    Resource,
    Subject,
    parse_action,
    parse_context,
    parse_resource,
    parse_subject,
)
from authotron.web.authzen.evaluations import Evaluation, Evaluator
from authotron.web.authzen.mapping import (
    PATH,
    SUBJECT_ID,
    SUBJECT_TYPE,
    USER,
    USERNAME,
    as_properties,
    names,
    property_claims,
    resource_and_id,
)
from authotron.web.authzen.pages import Page, parse_page

_N = TypeVar("_N")
"""The type of a candidate of a search that rules name: a string, or a subject."""

_MOST_EXAMINED = 500
"""
Maximum number of candidates that one search request examines; further candidates are examined for
the next page.
"""

_LARGEST = 256 * 1024
"""
Number of characters of search results at which a page ends; further results are on the
next page.
"""

_IN_A_TURN = 16
"""Number of search candidates to which the policies are applied in one turn of the reactor."""

_ANY = "any"
"""A placeholder for the name of the action or resource for which a client searches."""


@frozen
class Candidate:
    """
    A candidate of an AuthZEN search: a subject, resource or action that becomes a result if the
    policies allow it.

    @ivar name: the name or the id of the candidate; of several candidates with the same name only
        the first allowed one becomes a result.
    @ivar result: the candidate as JSON.
    @ivar question: the evaluation that must be answered with yes so that the candidate becomes a
        result.
    """

    name: str
    result: dict[str, Any]
    question: Evaluation


@frozen
class Searcher:
    """Answers one AuthZEN search of a client."""

    evaluator: Evaluator
    _clock: IReactorTime

    async def subjects(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the subjects that may do something with a resource.

        @raise Malformed: the search is malformed.
        @raise MayNotAsk: the client may not search, because it may ask only about itself.
        """
        subject, context = parse_subject(given, is_searched=True), parse_context(given)
        action, resource, page = parse_action(given), parse_resource(given), parse_page(given)
        if not self.evaluator.asking.caller.is_asker:
            raise MayNotAsk("only a client with a role of policy.askers may search for subjects")
        self._check(context, resource)
        stated = frozenset(property_claims(subject.properties))
        self.evaluator.claims_of(subject)  # checks their number
        results = await self._results(
            self._named_subjects(subject.type),
            lambda each: self._subject_candidate(
                Evaluation(subject, action, resource, context), stated, each
            ),
            page,
        )
        self.evaluator.asking.searched(
            f"any {subject.type}", action.name, resource.type, len(results["results"])
        )
        return results

    async def resources(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the resources of a type with which a subject may do something.

        @raise Malformed: the search is malformed.
        @raise MayNotAsk: the client may not ask about the subject.
        """
        subject, context = parse_subject(given), parse_context(given)
        action, page = parse_action(given), parse_page(given)
        resource = parse_resource(given, is_searched=True)
        access = self.evaluator.access(subject, resource, action)
        table = access.named(self._check(context).namespace)
        if table is None:
            return page.reply([], 0, 0)
        type_, properties = resource.type, resource.properties

        def candidate(id_: str) -> Candidate:
            found = Resource(type_, id_, properties)
            question = Evaluation(subject, action, found, context)
            return Candidate(id_, {"type": type_, "id": id_}, question)

        ids = table.paths() if type_ == PATH else table.ids(type_)
        results = await self._results(ids, candidate, page)
        self.evaluator.asking.searched(_about(subject), action.name, type_, len(results["results"]))
        return results

    async def actions(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return what a subject may do with a resource.

        @raise Malformed: the search is malformed.
        @raise MayNotAsk: the client may not ask about the subject.
        """
        subject, resource = parse_subject(given), parse_resource(given)
        context, page = parse_context(given), parse_page(given)
        access = self.evaluator.access(subject, resource, Action(""))
        stated = self._check(context, resource)
        table = access.named(stated.namespace)
        verbs = set() if table is None else table.verbs(stated.resource)
        if ANY in verbs and stated.resource.startswith("/"):
            verbs |= METHODS

        def candidate(verb: str) -> Candidate:
            question = Evaluation(subject, Action(verb), resource, context)
            return Candidate(verb, {"name": verb}, question)

        results = await self._results([verbs - {ANY}], candidate, page)
        self.evaluator.asking.searched(
            _about(subject), "any action", resource.type, len(results["results"])
        )
        return results

    def _check(self, context: Context, resource: Resource | None = None) -> StatedRequest:
        """
        Check the context of a search, and the resource if it is not searched; return a request with
        both, whose action is a placeholder for any action.

        @raise Malformed: the context or the resource is malformed.
        @raise MayNotAsk: the client may not state the context.
        """
        name, id_ = (_ANY, None) if resource is None else resource_and_id(resource)
        try:
            return self.evaluator.asking.caller.request(
                name, _ANY, context.namespace, id_, context.ip, context.host
            )
        except AmbiguousRequest as ambiguous:
            self.evaluator.asking.unclear()
            raise Malformed(str(ambiguous)) from None

    def _named_subjects(self, type_: str) -> Iterator[list[NamedSubject]]:
        """Yield the subjects of a type that each rule and each group names."""
        policies = self.evaluator.asking.caller.enforcement.policies
        prefix, needed = (USERNAME, "") if type_ == USER else (SUBJECT_ID, f"{SUBJECT_TYPE}{type_}")
        return named_subjects(policies.rules, policies.groups, prefix, needed)

    async def _results(
        self,
        named: Iterable[Collection[_N]],
        candidate_of: Callable[[_N], Candidate],
        page: Page,
    ) -> dict[str, Any]:
        """
        Return one page of the search candidates that the policies allow.

        @param named: the candidates that rules name; there may be many more than fit on a page.
        @param candidate_of: returns the candidate for something that a rule names.
        """
        part, total = await part_in_order(self._clock, named, page.start, _MOST_EXAMINED)
        pieces = Pieces(self._clock)
        results: dict[str, dict[str, Any]] = {}
        end, size = page.start, 0
        for each in part:
            if len(results) >= page.limit or size > _LARGEST:
                break
            end += 1
            candidate = candidate_of(each)
            if candidate.name not in results and self._is_allowed(candidate):
                results[candidate.name] = candidate.result
                size += len(json.dumps(candidate.result))
            await pieces.add(PIECE // _IN_A_TURN + self.evaluator.take_work())
        return page.reply([*results.values()], end, total)

    def _subject_candidate(
        self, searched: Evaluation, stated: frozenset[str], named: NamedSubject
    ) -> Candidate:
        """
        Convert a subject that a rule names to a search candidate, with the claims that the rule
        demands.

        @param searched: the request of the search, whose subject has no id.
        @param stated: the claims that the search request states about every subject.
        """
        type_, claims = searched.subject.type, stated.union(named.tags)
        properties = as_properties(claims)
        result: dict[str, Any] = {"type": type_, "id": named.id}
        if properties:
            result["properties"] = properties
        subject = Subject(type_, named.id, properties)
        self.evaluator.claims[subject] = claims.union(names(subject))
        return Candidate(named.id, result, evolve(searched, subject=subject))

    def _is_allowed(self, candidate: Candidate) -> bool:
        try:
            return self.evaluator.ruled(candidate.question)[1].allows
        except (AmbiguousRequest, UnusableFact):
            return False  # A rule depends on the host, but the search has none.


def _about(subject: Subject) -> str:
    return f"{subject.type} {subject.id}"

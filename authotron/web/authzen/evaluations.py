"""
Answer AuthZEN evaluation requests: about one request (Access Evaluation API) and about several
requests (Access Evaluations API).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from authotron.concurrency.pieces import PIECE, Pieces
from authotron.gateway.asking import StatedRequest
from authotron.gateway.policy import PolicyAccess
from authotron.model.errors import AmbiguousRequest, MayNotAsk, UnusableFact
from authotron.policy.ruling import RESTRICTED, Ruling
from authotron.policy.subjects import in_normal_form
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
from authotron.web.authzen.mapping import claims_of, resource_and_id
from authotron.web.policy_questions import Asking

MOST = 1_000
"""Maximum number of evaluations in one request to the AuthZEN API."""

_MOST_EXPLAINED = 50
"""
Maximum number of evaluations in one request to the AuthZEN API if each evaluation is
explained.
"""

_IN_A_TURN = 16
"""Number of AuthZEN evaluations that are answered in one turn of the reactor."""

_CLAIMS_IN_A_TURN = 5_000
"""Number of claims of AuthZEN evaluations that are handled in one turn of the reactor."""

_MOST_KNOWN = 16
"""Maximum number of sets of claims for which an L{Evaluator} caches what the policies allow."""

E = TypeVar("E")
"""The type of an entity (subject, action, resource or context) of an AuthZEN evaluation."""

EXECUTE_ALL, DENY_ON_FIRST_DENY, PERMIT_ON_FIRST_PERMIT = _SEMANTICS = (
    "execute_all",
    "deny_on_first_deny",
    "permit_on_first_permit",
)
"""
The values of C{options.evaluations_semantic}: the answer after which the gateway answers no further
evaluation of the request.
"""

Decision = dict[str, Any]
"""
The answer to one evaluation, as JSON: the key C{decision}, and the key C{context} with the reason
for a denial.
"""


@frozen
class Evaluation:
    """One AuthZEN evaluation: the question whether a subject may do something with a resource."""

    subject: Subject
    action: Action
    resource: Resource
    context: Context


@define(eq=False)
class Evaluator:
    """
    Answers the AuthZEN evaluations in one request of a client.

    Most evaluations in one request share their entities, which may be large, so each entity is
    parsed only once.

    @ivar explains: whether each answer contains an explanation; only clients with a role of
        C{policy.askers} get explanations.
    @ivar claims: for each subject, resource or action that was parsed, the claims that are made of
        the entity.
    @ivar work: the work for the claims of all evaluations so far, expressed as a number of bytes.
    @ivar _entities: the parsed entity, or the error if its JSON is malformed, by the name of the
        entity and the C{id()} of the JSON object; the JSON object lives as long as the request.
    @ivar _known: what the policies allow to each of the most recent sets of claims in the request.
    """

    asking: Asking
    explains: bool = False
    claims: WeakKeyDictionary[Subject | Resource | Action, frozenset[str]] = field(
        factory=WeakKeyDictionary, init=False
    )
    work: int = field(default=0, init=False)
    _entities: dict[tuple[str, int], Any] = field(factory=dict, init=False)
    _known: dict[frozenset[str], PolicyAccess] = field(factory=dict, init=False)

    def answer(self, given: Mapping[str, Any]) -> Decision:
        """
        Answer the only evaluation of an AuthZEN request, and log the answer.

        @raise Malformed: the evaluation cannot be answered; the message of the exception states the
            reason.
        @raise MayNotAsk: the client may not ask about this subject or state these facts.
        """
        question, stated, ruling = self._evaluate(given)
        subject = question.subject
        self.asking.log(f"{subject.type} {subject.id}", stated, ruling)
        return self._decision(question, stated, ruling)

    def answer_one_of_several(self, given: Mapping[str, Any]) -> Decision:
        """
        Answer one of several evaluations of an AuthZEN request.

        @raise Malformed: the evaluation cannot be answered; the message of the exception states the
            reason.
        @raise MayNotAsk: the client may not ask about this subject or state these facts.
        """
        return self._decision(*self._evaluate(given))

    def _evaluate(self, given: Mapping[str, Any]) -> tuple[Evaluation, StatedRequest, Ruling]:
        question = self._parse(given)
        try:
            stated, ruling = self.ruled(question)
        except (AmbiguousRequest, UnusableFact) as unclear:
            self.asking.unclear()
            raise Malformed(str(unclear)) from None
        self.asking.count(ruling)
        return question, stated, ruling

    def _parse(self, given: Mapping[str, Any]) -> Evaluation:
        """
        Return a question.

        @raise Malformed: a required key is missing, or the value of a key is of the wrong type.
        """
        return Evaluation(
            self._once("subject", parse_subject, given),
            self._once("action", parse_action, given),
            self._once("resource", parse_resource, given),
            self._once("context", parse_context, given),
        )

    def _once(
        self, name: str, parse: Callable[[Mapping[str, Any]], E], given: Mapping[str, Any]
    ) -> E:
        """
        Return an entity of an AuthZEN evaluation; if the same JSON object was parsed before, return
        the earlier result.

        @raise Malformed: the JSON of the AuthZEN entity is malformed.
        """
        if name not in given:
            return parse(given)
        key = name, id(given[name])
        found = self._entities.get(key)
        if found is None:
            try:
                found = parse(given)
                if isinstance(found, Subject | Resource | Action):
                    self.claims_of(found)
            except Malformed as malformed:
                found = malformed
            self._entities[key] = found
        if isinstance(found, Malformed):
            raise Malformed(str(found))
        return found

    def claims_of(self, entity: Subject | Resource | Action) -> frozenset[str]:
        """
        Return the claims that are made of an entity of an AuthZEN evaluation.

        @raise Malformed: the AuthZEN entity states malformed claims, or too many claims.
        """
        found = self.claims.get(entity)
        if found is None:
            found = claims_of(entity)
            self.claims[entity] = found
        return found

    def take_work(self) -> int:
        """
        Return the work, expressed as a number of bytes, that was done since the last call of this
        method.
        """
        found, self.work = self.work, 0
        return found

    def _decision(self, question: Evaluation, stated: StatedRequest, ruling: Ruling) -> Decision:
        context: dict[str, Any] = {} if ruling.allows else {"reason": ruling.reason.value}
        if ruling.required is not None:
            context.update(ruling.required.parameters())
        if self.explains:
            context["explanation"] = self._explanation(question, stated, ruling)
        return {"decision": ruling.allows, **({"context": context} if context else {})}

    def _explanation(
        self, question: Evaluation, stated: StatedRequest, ruling: Ruling
    ) -> dict[str, Any]:
        more = self.claims_of(question.resource) | self.claims_of(question.action)
        whole = self.claims_of(question.subject) | more
        found = self.asking.caller.enforcement.explain_claims(
            map(in_normal_form, whole), stated.known
        )
        return evolve(found, ruling=ruling).as_json()

    def ruled(self, question: Evaluation) -> tuple[StatedRequest, Ruling]:
        """
        Apply the policies to an AuthZEN evaluation, and return the ruling with the request to which
        the policies were applied.

        @raise Malformed: the evaluation is malformed.
        @raise AmbiguousRequest: the evaluation is malformed, or can be interpreted in different
            ways.
        @raise UnusableFact: a rule depends on a fact that the evaluation does not state.
        @raise MayNotAsk: the client may not ask about this subject or state these facts.
        """
        resource, id_ = resource_and_id(question.resource)
        context = question.context
        access = self.access(question.subject, question.resource, question.action)
        stated = self.asking.caller.request(
            resource, question.action.name, context.namespace, id_, context.ip, context.host
        )
        if self.asking.caller.is_restricted(stated):
            return stated, RESTRICTED
        return stated, access.ruling(stated)

    def access(self, subject: Subject, resource: Resource, action: Action) -> PolicyAccess:
        """
        Return an access object, which states what the policies allow, for the subject of an AuthZEN
        evaluation.

        @raise Malformed: an entity of the evaluation states malformed claims, or too many claims.
        @raise MayNotAsk: the client may not ask about the subject, or states properties.
        """
        more = self.claims_of(resource) | self.claims_of(action)
        if more and not self.asking.caller.is_asker:
            raise MayNotAsk(
                "only a client with a role of policy.askers may state properties of a resource or "
                "an action"
            )
        whole = self.claims_of(subject)
        whole = whole | more if more else whole
        self.work += PIECE * len(whole) // _CLAIMS_IN_A_TURN
        found = self._known.get(whole)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[whole] = self.asking.caller.access_of(whole)
        return found


async def evaluate_all(
    evaluator: Evaluator, given: Mapping[str, Any], clock: IReactorTime
) -> dict[str, Any]:
    """
    Answer all evaluations in a request to the Access Evaluations API of AuthZEN.

    @return: the JSON reply. The key C{evaluations} has one answer for each evaluation, up to the
        answer that ends the work. If the request has no key C{evaluations}, the reply is the answer
        to its only evaluation.

    @raise Malformed: the request as a whole is malformed; a single malformed evaluation is answered
        with a denial that states the reason.
    @raise MayNotAsk: the client may not ask one of the evaluations in the request.
    """
    questions, semantic = _questions(given), _semantic(given)
    if evaluator.explains and len(questions) > _MOST_EXPLAINED:
        raise Malformed(f"evaluations has more than {_MOST_EXPLAINED} elements to explain")
    if not questions:
        return evaluator.answer(given)
    pieces = Pieces(clock)
    answers: list[Decision] = []
    for question in questions:
        answers.append(_answer(evaluator, given, question))
        if _ends(semantic, answers[-1]):
            break
        size = PIECE if evaluator.explains else PIECE // _IN_A_TURN
        await pieces.add(size + evaluator.take_work())
    evaluator.asking.log_several([each["decision"] for each in answers])
    return {"evaluations": answers}


def _questions(given: Mapping[str, Any]) -> Sequence[object]:
    found = given.get("evaluations", [])
    if not isinstance(found, list):
        raise Malformed("evaluations must be an array")
    if len(found) > MOST:
        raise Malformed(f"evaluations has more than {MOST} elements")
    return found


def _semantic(given: Mapping[str, Any]) -> str:
    options = given.get("options", {})
    if not isinstance(options, dict):
        raise Malformed("options must be an object")
    found = options.get("evaluations_semantic", EXECUTE_ALL)
    if found not in _SEMANTICS:
        raise Malformed(f"options.evaluations_semantic must be one of {', '.join(_SEMANTICS)}")
    return str(found)


def _answer(evaluator: Evaluator, given: Mapping[str, Any], question: object) -> Decision:
    """
    Answer one of several AuthZEN evaluations; a malformed evaluation is answered with a denial.

    @param given: the JSON body of the request; an evaluation that lacks an entity (subject, action,
        resource or context) uses the entity of the body.
    """
    try:
        return evaluator.answer_one_of_several(dict(_with_defaults(given, question)))
    except Malformed as malformed:
        error = {"status": 400, "message": str(malformed)}
        return {"decision": False, "context": {"error": error}}


def _with_defaults(given: Mapping[str, Any], question: object) -> Iterator[tuple[str, Any]]:
    """
    Yield the entities of one of several AuthZEN evaluations; an entity that the evaluation lacks is
    taken from the request.

    @raise Malformed: the evaluation is not a JSON object.
    """
    if not isinstance(question, dict):
        raise Malformed("an evaluation must be an object")
    for key in ("subject", "action", "resource", "context"):
        if key in question:
            yield key, question[key]
        elif key in given:
            yield key, given[key]


def _ends(semantic: str, answer: Decision) -> bool:
    """
    Return whether an answer is the last one, so that no further evaluation of the request is
    answered.
    """
    if semantic == DENY_ON_FIRST_DENY:
        return not answer["decision"]
    return semantic == PERMIT_ON_FIRST_PERMIT and bool(answer["decision"])

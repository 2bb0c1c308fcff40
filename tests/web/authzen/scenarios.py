"""
The published scenarios of AuthZEN, as facts: the policies that they describe, written as rules of
this gateway, and the expected decisions.

The facts are those of the repository openid/authzen at commit e287920: the Todo application
(decisions of Authorization API 1.0 draft 02), the API gateways in front of it, the search
application, the identity provider, and the certification scenario.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Json = dict[str, Any]


class Row(NamedTuple):
    """One question of a scenario, with the expected answer."""

    request: Json
    expected: Any


def pid(letter: str) -> str:
    """Return the id of a user of the Todo application; the ids differ in one character only."""
    return f"CiRmZD{letter}2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"


def rule(name: str, subject: list[list[str]], *permissions: str) -> Json:
    return {"name": name, "subject": subject, "permissions": [*permissions]}


def group(name: str, *subject: list[str]) -> Json:
    return {"name": name, "subject": [*subject]}


def in_group(*names: str) -> list[str]:
    return [f"@group:name={each}" for each in names]


# --- the Todo application ---

RICK, MORTY, SUMMER, BETH, JERRY = map(pid, "AEIMQ")
OWNERS = {
    RICK: "rick@the-citadel.com",
    MORTY: "morty@the-citadel.com",
    SUMMER: "summer@the-smiths.com",
    BETH: "beth@the-smiths.com",
    JERRY: "jerry@the-smiths.com",
}
TODO_IDS = dict(
    zip(OWNERS, (f"7240d0db-8ff0-41ec-98b2-34a096273b9{n}" for n in (2, 1, 3, 4, 5)), strict=True)
)


def people(prefix: str = "username=") -> list[Json]:
    """Return the roles of the Todo application as groups of the users that have them."""
    return [
        group("admin", [prefix + RICK]),
        group("evil_genius", [prefix + RICK]),
        group(
            "editor",
            [prefix + MORTY],
            [prefix + SUMMER],
            in_group("admin"),
            in_group("evil_genius"),
        ),
        group("viewer", [prefix + BETH], [prefix + JERRY], in_group("editor")),
    ]


_OWN = [
    [*in_group("editor"), f"username={each}", f"@resource:ownerID={owner}"]
    for each, owner in OWNERS.items()
]
TODO: Json = {
    "askers": ["asker"],
    "groups": people(),
    "rules": [
        rule("view", [in_group("viewer")], "user:can_read_user", "todo:can_read_todos"),
        rule("create", [in_group("editor")], "todo:can_create_todo"),
        rule("own", _OWN, "todo:can_update_todo,can_delete_todo"),
        rule("delete any", [in_group("admin")], "todo:can_delete_todo"),
        rule("update any", [in_group("evil_genius")], "todo:can_update_todo"),
    ],
}

_TODO_DECISIONS = {
    # reads a user, reads todos, creates; updates and deletes those of Rick, and the own ones
    RICK: "yyy yy yy",
    MORTY: "yyy ny ny",
    SUMMER: "yyy ny ny",
    BETH: "yyn nn nn",
    JERRY: "yyn nn nn",
}


def _todo(who: str, action: str, resource: Json) -> Json:
    return {
        "subject": {"type": "user", "id": who},
        "action": {"name": action},
        "resource": resource,
    }


def _of(owner: str) -> Json:
    properties = {"ownerID": OWNERS[owner]}
    return {"type": "todo", "id": TODO_IDS[owner], "properties": properties}


def todo_rows() -> Iterator[Row]:
    """Yield the 40 decisions of the Todo application by the Access Evaluation API."""
    for who, decisions in _TODO_DECISIONS.items():
        views, updates, deletes = decisions.split()
        # The rows about Rick change a todo of Morty in the place of an own one.
        other = MORTY if who == RICK else who
        for id_ in (OWNERS[BETH], OWNERS[who]):
            yield Row(_todo(who, "can_read_user", {"type": "user", "id": id_}), views[0] == "y")
        listed = {"type": "todo", "id": "todo-1"}
        yield Row(_todo(who, "can_read_todos", listed), views[1] == "y")
        yield Row(_todo(who, "can_create_todo", listed), views[2] == "y")
        for action, answers in (("can_update_todo", updates), ("can_delete_todo", deletes)):
            for owner, answer in zip((RICK, other), answers, strict=True):
                yield Row(_todo(who, action, _of(owner)), answer == "y")


def todo_batches() -> Iterator[Row]:
    """Yield the 3 requests to the Access Evaluations API."""
    for who, other, expected in (
        (RICK, JERRY, (True, True)),
        (MORTY, MORTY, (False, True)),
        (JERRY, JERRY, (False, False)),
    ):
        request = {
            "subject": {"type": "user", "id": who},
            "action": {"name": "can_update_todo"},
            "evaluations": [{"resource": _of(owner)} for owner in (RICK, other)],
        }
        yield Row(request, list(expected))


# --- API gateways in front of the Todo application ---

GATEWAYS: Json = {
    "askers": ["asker"],
    "groups": people("@subject:id="),
    "rules": [
        rule("view", [in_group("viewer")], "route:GET:/users/{userId},/todos"),
        rule(
            "edit",
            [in_group("editor")],
            "route:POST:/todos",
            "route:PUT,DELETE:/todos/{todoId}",
        ),
    ],
}
_ROUTES = (
    ("GET", "/users/{userId}"),
    ("GET", "/todos"),
    ("POST", "/todos"),
    ("PUT", "/todos/{todoId}"),
    ("DELETE", "/todos/{todoId}"),
)


def gateway_rows() -> Iterator[Row]:
    """Yield the 25 decisions of the API gateways."""
    for who, decisions in _TODO_DECISIONS.items():
        edits = decisions[2] == "y"
        for (method, route), expected in zip(
            _ROUTES, (True, True, edits, edits, edits), strict=True
        ):
            request = _todo(who, method, {"type": "route", "id": route})
            yield Row({**request, "subject": {"type": "identity", "id": who}}, expected)


# --- the search application, and the identity provider ---

RECORDS = [str(number) for number in range(101, 121)]
_PERSONS = {
    "alice": ("manager", "Sales"),
    "bob": ("employee", "Legal"),
    "carol": ("contractor", "Legal"),
    "dan": ("manager", "Finance"),
    "erin": ("employee", "Finance"),
    "felix": ("contractor", "Accounting"),
}
_DEPARTMENTS = dict(
    zip(RECORDS, "L L L A L A S L A S A L S A F L L A L A".split(), strict=True)  # noqa: SIM905 - one letter for each record
)
_OWNED = {name: RECORDS[place::6] for place, name in enumerate(_PERSONS)}


def _in_department(name: str) -> str:
    return ",".join(each for each in RECORDS if _DEPARTMENTS[each] == name[0])


SEARCH: Json = {
    "askers": ["asker"],
    "groups": [
        group(name, *([f"username={each}"] for each, given in _PERSONS.items() if name in given))
        for name in sorted({each for given in _PERSONS.values() for each in given})
    ],
    "rules": [
        rule("managers", [in_group("manager")], f"record:view:{','.join(RECORDS)}"),
        *(
            rule(f"view {name}", [in_group(name)], f"record:view:{_in_department(name)}")
            for name in ("Sales", "Legal", "Finance", "Accounting")
        ),
        *(
            rule(f"edit {name}", [in_group("manager", name)], f"record:edit:{_in_department(name)}")
            for name in ("Sales", "Legal", "Finance", "Accounting")
        ),
        *(
            rule(f"own {name}", [[f"username={name}"]], f"record:view,edit,delete:{','.join(ids)}")
            for name, ids in _OWNED.items()
        ),
    ],
}

_FOUND = {
    # for each record: nothing, view, view and edit, or all three actions
    "alice": "dvvvvvdvvevvdvvvvvdv",
    "bob": "vdv.v..d...v.d.vv.vd",
    "carol": "vvd.v..vd..v..dvv.v.",
    "dan": "vvvdvvvvvdvvvvedvvvv",
    "erin": "....d.....d...v.d...",
    "felix": "...v.d..v.vd.v...d.v",
}
_ACTIONS = {"view": "ved", "edit": "ed", "delete": "d"}


def _may(name: str, action: str, record: str) -> bool:
    return _FOUND[name][RECORDS.index(record)] in _ACTIONS[action]


def action_searches() -> Iterator[Row]:
    """Yield the 120 action searches."""
    for name in _FOUND:
        for record in RECORDS:
            request = {
                "subject": {"type": "user", "id": name},
                "resource": {"type": "record", "id": record},
            }
            yield Row(request, {each for each in _ACTIONS if _may(name, each, record)})


def resource_searches() -> Iterator[Row]:
    """Yield the 18 resource searches, 6 of which are those of the identity provider."""
    for name in _FOUND:
        for action in _ACTIONS:
            request = {
                "subject": {"type": "user", "id": name},
                "action": {"name": action},
                "resource": {"type": "record"},
            }
            yield Row(request, [each for each in RECORDS if _may(name, action, each)])


def subject_searches() -> Iterator[Row]:
    """Yield the 60 subject searches."""
    for record in RECORDS:
        for action in _ACTIONS:
            request = {
                "resource": {"type": "record", "id": record},
                "action": {"name": action},
                "subject": {"type": "user"},
            }
            yield Row(request, [each for each in _FOUND if _may(each, action, record)])


# --- the certification scenario ---

CERTIFIED: Json = {
    "askers": ["asker"],
    "rules": [
        rule(
            "alice",
            [["username=alice"]],
            "record:read:record-1,record-2",
            "record:write:record-1",
        ),
        rule("bob", [["username=bob"]], "record:read:record-1,record-2"),
        rule(
            "no writing",
            [["username=alice", "@resource:status=archived"]],
            "-record:write",
        ),
        rule("admins", [["role=admin", "@resource:status=archived"]], "record:write"),
        rule("bob as admin", [["username=bob", "role=admin"]], "record:write:record-2"),
        rule("soft", [["username=alice", "@action:soft=true"]], "record:delete:record-1"),
    ],
}

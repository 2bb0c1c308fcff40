"""Who may ask by the AuthZEN API, what questions become, and hostile requests."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from authotron.web.authzen import evaluations, mapping, searches
from tests.web.authzen.scenarios import Json, rule
from tests.web.conversations import ALICE, Answer, InMemoryGateway
from tests.web.policy_case import BOB, PDP, RULES, STAFF, AskingCase

USER = {"type": "user", "id": "bob", "properties": {"realm": "internal", "roles": ["reader"]}}
SELF = {"type": "user", "id": "bob"}


def path(id_: str, **properties: Any) -> Json:
    found: Json = {"type": "path", "id": id_}
    return {**found, "properties": properties} if properties else found


_SPELLINGS = (
    *("", "secret", "SECRET", "%73ecret", "..", ".", "%2e", "x%2Fy", "%252e", "a;b", "%3B"),
    *("\u00e9", "%FF", "\\", "%", "%00", "*", "**"),
)
"""Segments of paths, many of which some servers read in another way."""


class QuestionCase(AskingCase):
    """Questions to the AuthZEN API."""

    def ask(self, request: Json, who: str = PDP, api: str = "evaluation") -> Answer:
        return self.post(f"/access/v1/{api}", request, who)

    def decided(
        self, resource: Json, action: Any = "GET", subject: Json = USER, who: str = PDP, **more: Any
    ) -> str:
        """Return the decision, with the reason of a denial, or the status of an error."""
        named = {"name": action} if isinstance(action, str) else action
        request = {"subject": subject, "action": named, "resource": resource, **more}
        answer = self.ask(request, who)
        if answer.status != 200:
            self.assertIsInstance(answer.json(), str)
            return str(answer.status)
        found = answer.json()
        return " ".join([str(found["decision"]), *found.get("context", {}).values()])


class MappingTests(QuestionCase):
    """What the entities of a question become."""

    rules = (
        *RULES,
        rule("types", [["@subject:type=robot", "@subject:id=r2"]], "door:open"),
        rule("names", [["username=r2"]], "door:close"),
        rule("values", [["size=3", "big=true", "team=a", "team=b"]], "box:open"),
        rule("pinned", [["@source:realm=internal", "role=pinned"]], "safe:open"),
        rule("grouped", [["@group:name=crew"]], "ship:board"),
        rule("owner", [["@resource:owner=bob", "username=bob"]], "page:edit"),
        rule("no nested", [["@action:deep=x"]], "page:edit"),
        rule("accent", [["username=ren\u00e9"]], "-cafe:enter"),
        rule("cafe", [["role=guest"]], "cafe:enter"),
        rule("scoped", [["scope=data:read"]], "page:read"),
    )

    def test_path_S_STATED(self) -> None:
        """A resource of the type C{path} is ruled like the request of a proxy."""
        self.assertEqual(self.decided(path("/data/x")), "True")
        self.assertEqual(self.decided(path("/data/secret/")), "False denied-by-policy")
        self.assertEqual(self.decided(path("/data/%73ecret")), "False denied-by-policy")
        self.assertEqual(self.decided(path("/admin/x")), "False no-matching-policy")
        for wrong in ("data/x", "", "/data//x", "/data/x%2fy", "/data/x?y=z", "/a" * 1001):
            self.assertEqual(self.decided(path(wrong)), "400", wrong)
        self.assertEqual(self.decided(path("/data/x"), "get"), "400")

    def test_like_a_proxy_S_STATED(self) -> None:
        """A client gets the same answer about its request as a proxy, however it is spelt."""
        rules = [each for each in RULES if each["name"] != "host"]
        policy = {"rules": rules, "askers": ["asker"]}
        proxied = {"trusted_proxies": ["192.0.2.0/24"]}
        self.gateway = self.make(policy=policy, server=proxied)
        answers = {200: "True", 403: "False", 400: "400"}
        forms = ("/data/{}", "/{}/data", "/data/{}/")
        asked = [(form.format(each), "GET") for form in forms for each in _SPELLINGS]
        asked += [("/data/x", method) for method in ("HEAD", "DELETE", "get", "Foo")]
        for uri, method in asked:
            answer = self.gateway.ask(
                "GET /authenticate",
                Authorization=BOB,
                X_Original_URI=uri,
                X_Original_Method=method,
            )
            found = self.decided(path(uri), method, SELF, BOB).partition(" ")[0]
            self.assertEqual(found, answers[answer.status], f"{method} {uri}")

    def test_context(self) -> None:
        """The address, the namespace and the host of the context count; the time does not."""
        inside = path("/inside")
        self.assertEqual(self.decided(inside), "False network")
        self.assertEqual(self.decided(inside, context={"ip": "10.1.2.3"}), "True")
        self.assertEqual(self.decided(path("/old"), context={"namespace": "/archive"}), "True")
        self.assertEqual(self.decided(path("/by-host"), context={"host": "a.example.org"}), "True")
        self.assertEqual(self.decided(path("/by-host")), "400")
        for wrong in ({"ip": "10"}, {"namespace": "x"}, {"host": "a/b"}, {"ip": None}):
            self.assertEqual(self.decided(inside, context=wrong), "400", wrong)

    def test_subject_types_S_STATED(self) -> None:
        """A subject of another type is not the user of the same name."""
        robot = {"type": "robot", "id": "r2"}
        door = {"type": "door", "id": "1"}
        self.assertEqual(self.decided(door, "open", robot), "True")
        self.assertEqual(self.decided(door, "close", robot), "False no-matching-policy")
        user = {"type": "user", "id": "r2"}
        self.assertEqual(self.decided(door, "open", user), "False no-matching-policy")
        self.assertEqual(self.decided(door, "close", user), "True")

    def test_property_values(self) -> None:
        """Numbers, booleans and the elements of arrays are compared as strings."""
        known = {"size": 3, "big": True, "team": ["a", "b", {"x": 1}, None, []]}
        subject = {"type": "user", "id": "x", "properties": known}
        box = {"type": "box", "id": "1"}
        self.assertEqual(self.decided(box, "open", subject), "True")
        known["big"] = False
        self.assertEqual(self.decided(box, "open", subject), "False no-matching-policy")

    def test_scopes(self) -> None:
        """Scopes are stated with the name of their service."""
        for key in ("scope", "scopes"):
            subject = {"type": "user", "id": "x", "properties": {key: ["data:read"]}}
            self.assertEqual(self.decided({"type": "page", "id": "1"}, "read", subject), "True")

    def test_literal_claims_S_STATED(self) -> None:
        """The property C{claims} states claims that no other property can state."""
        safe = {"type": "safe", "id": "1"}
        claims = ["@source:realm=internal", "role=pinned"]
        subject: Json = {"type": "user", "id": "x", "properties": {"claims": claims}}
        self.assertEqual(self.decided(safe, "open", subject), "True")
        for wrong in (
            "role=x",
            [1],
            ["role"],
            ["@group:name=crew"],
            ["@resource:a=b"],
            ["@subject:id=r2"],
            ["username=alice"],
            ["a=" + "x" * 2000],
        ):
            subject["properties"]["claims"] = wrong
            self.assertEqual(self.decided(safe, "open", subject), "400", wrong)

    def test_reserved_properties_S_STATED(self) -> None:
        """A property of a subject sets no claim that the gateway or another key sets."""
        for properties, resource, action in (
            ({"@source:realm": "internal", "role": "pinned"}, "safe", "open"),
            ({"@group:name": "crew"}, "ship", "board"),
            ({"@resource:owner": "bob"}, "page", "edit"),
            ({"username": "r2"}, "door", "close"),
            ({"@subject:type": "robot", "@subject:id": "r2"}, "door", "open"),
        ):
            subject = {"type": "user", "id": "bob", "properties": properties}
            found = self.decided({"type": resource, "id": "1"}, action, subject)
            self.assertEqual(found, "False no-matching-policy", properties)

    def test_entity_properties_S_STATED(self) -> None:
        """The properties of a resource are no claims of the subject, and the other way round."""
        page = {"type": "page", "id": "1", "properties": {"owner": "bob"}}
        self.assertEqual(self.decided(page, "edit"), "True")
        page["properties"] = {"owner": "alice"}
        self.assertEqual(self.decided(page, "edit"), "False no-matching-policy")
        self.assertEqual(
            self.decided(
                {"type": "page", "id": "1", "properties": {"role": "ops", "username": "alice"}},
                {"name": "edit", "properties": {"owner": "bob", "deep": {"a": "x"}}},
            ),
            "False no-matching-policy",
        )

    def test_condition(self) -> None:
        """A condition may compare a property of the resource with a claim of the subject."""
        when = 'claims["@resource:owner"].exists(owner, owner in claims.username)'
        owned = {**rule("own", [["role=reader"]], "page:edit"), "when": when}
        self.gateway = self.make(policy={"askers": ["asker"], "rules": [owned]})
        for owners, expected in (
            ("bob", "True"),
            (["alice", "bob"], "True"),
            ("alice", "False condition"),
            ([], "False condition"),
        ):
            page = {"type": "page", "id": "1", "properties": {"owner": owners}}
            self.assertEqual(self.decided(page, "edit"), expected, owners)

    def test_normal_form_S_STATED(self) -> None:
        """A deny of a user is not hidden by another spelling of the same name in Unicode."""
        cafe = {"type": "cafe", "id": "1"}
        for form in ("NFC", "NFD"):
            name = unicodedata.normalize(form, "ren\u00e9")
            subject = {"type": "user", "id": name, "properties": {"role": "guest"}}
            self.assertEqual(self.decided(cafe, "enter", subject), "False denied-by-policy")

    def test_wildcards_S_STATED(self) -> None:
        """A question about every resource or every action is none."""
        self.assertEqual(self.decided({"type": "*", "id": "x"}), "400")
        self.assertEqual(self.decided(path("/data/x"), "*"), "400")
        self.assertEqual(self.decided({"type": "box", "id": "1"}, ""), "400")


class AskerTests(QuestionCase):
    """Clients without a role of C{policy.askers} ask about themselves alone."""

    def test_about_oneself_S_ASKER(self) -> None:
        """Such a client is known with all its claims, whatever it states of them."""
        for subject in (SELF, USER, {**SELF, "properties": {"realm": "internal"}}):
            self.assertEqual(self.decided(path("/data/x"), "GET", subject, BOB), "True")
            found = self.decided(path("/data/secret"), "GET", subject, BOB)
            self.assertEqual(found, "False denied-by-policy")

    def test_about_others_S_ASKER(self) -> None:
        """Another identity, or a claim that the client lacks, is a 403."""
        for subject in (
            {"type": "user", "id": "alice"},
            {"type": "robot", "id": "bob"},
            {**SELF, "properties": {"roles": ["ops"]}},
            {**SELF, "properties": {"realm": "elsewhere"}},
            {**SELF, "properties": {"claims": ["@source:type=ldap"]}},
            {**SELF, "properties": {"department": "x"}},
        ):
            self.assertEqual(self.decided(path("/data/x"), "GET", subject, BOB), "403", subject)
        [refused, *_] = self.named("policy.question.refused")
        self.assertEqual((refused["by_username"], refused["api"]), ("bob", "evaluation"))

    def test_stated_context_S_ASKER(self) -> None:
        """Such a client cannot state an address, a namespace, or properties of a resource."""
        for more in (
            {"context": {"ip": "10.1.2.3"}},
            {"context": {"namespace": "/archive"}},
            {"resource": path("/data/x", status="active")},
            {"action": {"name": "GET", "properties": {"soft": True}}},
        ):
            request = {
                "subject": SELF,
                "action": {"name": "GET"},
                "resource": path("/data/x"),
                **more,
            }
            self.assertEqual(self.ask(request, BOB).status, 403, more)

    def test_known_context(self) -> None:
        """Such a client may state what the gateway knows itself."""
        for context in ({"ip": "192.0.2.7"}, {"namespace": "/"}, {"time": "x", "foo": {}}):
            found = self.decided(path("/data/x"), "GET", SELF, BOB, context=context)
            self.assertEqual(found, "True", context)

    def test_batch_about_others_S_ASKER(self) -> None:
        """One question about another identity refuses the whole request."""
        request = {"action": {"name": "GET"}, "resource": path("/data/x")}
        own, other = {"subject": SELF}, {"subject": {"type": "user", "id": "alice"}}
        for several, status in (([own, own], 200), ([own, other], 403)):
            given = {**request, "evaluations": several}
            self.assertEqual(self.ask(given, BOB, "evaluations").status, status)

    def test_searches_S_ASKER(self) -> None:
        """Such a client searches what it may do itself, and never who may do something."""
        request = {"subject": SELF, "resource": path("/data/x")}
        found = self.ask(request, BOB, "search/action").json()["results"]
        self.assertEqual(found, [{"name": "GET"}, {"name": "HEAD"}])
        request["subject"] = {"type": "user", "id": "alice"}
        self.assertEqual(self.ask(request, BOB, "search/action").status, 403)
        request = {"subject": SELF, "action": {"name": "GET"}, "resource": {"type": "path"}}
        self.assertEqual(self.ask(request, BOB, "search/resource").json(), {"results": []})
        request["resource"] = path("/data/x")
        self.assertEqual(self.ask(request, BOB, "search/subject").status, 403)
        self.assertEqual(self.ask(request, ALICE, "search/subject").status, 403)


class RestrictedTests(QuestionCase):
    """Clients that ask by an API token with limits, through a proxy."""

    def make(self, **over: Any) -> InMemoryGateway:
        return super().make(server={"trusted_proxies": ["192.0.2.0/24"]}, **over)

    def found(self, token: str, host: str | None, api: str = "evaluation", **over: Any) -> Any:
        """Return the answer to a question about a host."""
        question: Json = {"subject": SELF, "action": {"name": "GET"}, "resource": path("/data/x")}
        context = {} if host is None else {"host": host}
        given = {**question, "context": context, **over}
        who = f"Bearer {token}"
        return self.post(f"/access/v1/{api}", given, who, X_Forwarded_Host="gate.test").json()

    def test_hosts_S_STATED(self) -> None:
        """A client that asks about itself may do no more than its token."""
        token = self.token(BOB, hosts=["gate.test", "a.example.org"])
        self.assertEqual(self.found(token, "a.example.org"), {"decision": True})
        for host in ("b.example.org", None):
            refused = {"decision": False, "context": {"reason": "restricted"}}
            self.assertEqual(self.found(token, host), refused)
        self.assertEqual(self.found(self.token(BOB), None), {"decision": True})

    def test_search_S_STATED(self) -> None:
        """A search finds what the token may do."""
        token = self.token(BOB, hosts=["gate.test", "a.example.org"])
        for host, named in (("a.example.org", ["GET", "HEAD"]), ("b.example.org", [])):
            results = self.found(token, host, "search/action")["results"]
            self.assertEqual([each["name"] for each in results], named)

    def test_asker_S_STATED(self) -> None:
        """The limits of an asker's token are about its questions, not about others."""
        token = self.token(PDP, hosts=["gate.test"])
        self.assertEqual(self.found(token, "b.example.org", subject=USER), {"decision": True})


class HostileTests(QuestionCase):
    """Requests that are meant to harm."""

    def test_bodies_S_QUESTION(self) -> None:
        """Duplicate keys, deep nesting, odd numbers and broken text are a 400."""
        whole = json.dumps(
            {"subject": USER, "action": {"name": "GET"}, "resource": path("/data/x")}
        )
        for body in (
            whole[:-1] + ', "subject": {"type": "user", "id": "alice"}}',
            whole[:-1] + ', "subj\\u0065ct": {"type": "user", "id": "alice"}}',
            whole[:-1] + ', "x": ' + "[" * 100 + "]" * 100 + "}",
            whole[:-1] + ', "x": ' + "[]," * 9000 + "}",
            whole[:-1] + ', "x": NaN}',
            whole[:-1] + ', "x": ' + "9" * 1000 + "}",
            whole[:-1] + ', "x": "\\ud800"}',
            whole + "x",
            "\ufeff" + whole,
            f"[{whole}]",
            '"' + "x" * 60_000 + '"',
        ):
            for api in ("evaluation", "evaluations", "search/action"):
                answer = self.raw(f"/access/v1/{api}", body.encode("utf-8"))
                self.assertEqual(answer.status, 400, body[-80:])
        self.assertEqual(self.raw("/access/v1/evaluation", whole.encode("utf-16")).status, 400)
        self.assertEqual(self.raw("/access/v1/evaluation", whole.encode()).status, 200)

    def test_message_is_short_S_QUESTION(self) -> None:
        """An error message repeats nothing long of the request."""
        long = "x" * 20_000
        for given in (
            {"subject": USER, "action": {"name": "GET"}, "resource": path(f"/{long}?")},
            {"subject": USER, "action": {"name": "GET"}, "resource": path(long)},
            {"subject": {"type": long}, long: long},
        ):
            answer = self.ask(given)
            self.assertEqual(answer.status, 400)
            self.assertLess(len(answer.body), 300)

    def test_request_id_S_QUESTION(self) -> None:
        """A C{X-Request-ID} of more than 1024 characters is not repeated."""
        request = {"subject": USER, "action": {"name": "GET"}, "resource": path("/data/x")}
        for size, repeated in ((1024, True), (1025, False)):
            answer = self.post("/access/v1/evaluation", request, X_Request_ID="x" * size)
            self.assertEqual("x-request-id" in answer.headers, repeated)

    def test_shared_entities_S_QUESTION(self) -> None:
        """An entity that many questions share is parsed once, also if it is malformed."""
        parsed: list[object] = []

        def counted(entity: Any) -> frozenset[str]:
            parsed.append(entity)
            return mapping.claims_of(entity)

        self.patch(evaluations, "claims_of", counted)
        request: Json = {"action": {"name": "GET"}, "resource": path("/data/x")}
        for claims, decided in (
            (["role=reader"] * 2000, {True}),
            (["a=b"] * 2000 + ["x"], {False}),
        ):
            del parsed[:]
            subject = {"type": "user", "id": "bob", "properties": {"claims": claims}}
            given = {**request, "subject": subject, "evaluations": [{}] * 1000}
            found = self.ask(given, api="evaluations").json()["evaluations"]
            self.assertEqual({each["decision"] for each in found}, decided)
            self.assertLessEqual(len(parsed), 3)

    def test_own_entities_S_QUESTION(self) -> None:
        """Questions that differ in one entity get answers of their own."""
        reader = {"type": "user", "id": "x", "properties": {"roles": ["reader"]}}
        request = {"subject": USER, "action": {"name": "GET"}, "resource": path("/data/x")}
        given = {
            **request,
            "evaluations": [
                {},
                {"subject": {"type": "user", "id": "bob"}},
                {"subject": reader, "resource": path("/admin")},
                {"subject": reader},
                {"action": {"name": "PUT"}},
                {"subject": None},
                {},
            ],
        }
        found = self.ask(given, api="evaluations").json()["evaluations"]
        wanted = [True, False, False, True, False, False, True]
        self.assertEqual([each["decision"] for each in found], wanted)

    def test_too_many_claims_S_QUESTION(self) -> None:
        """An entity whose properties are more than 5,000 claims is a 400."""
        for number, wanted in ((4999, "True"), (5001, "400")):
            properties = {"roles": ["reader", *range(number - 1)]}
            subject = {"type": "user", "id": "bob", "properties": properties}
            self.assertEqual(self.decided(path("/data/x"), subject=subject), wanted)
        page = path("/data/x", x=[*range(5001)])
        self.assertEqual(self.decided(page), "400")

    def test_log_is_short_S_QUESTION(self) -> None:
        """The log repeats at most a thousand characters of each part of a question."""
        subject = {"type": "user", "id": "x" * 20_000}
        self.decided({"type": "y" * 20_000, "id": "1"}, "z" * 20_000, subject)
        [event] = self.named("policy.asked")
        for part in ("about", "verb", "resource", "namespace"):
            self.assertLessEqual(len(event[part]), 1000)

    def test_log_of_many_S_QUESTION(self) -> None:
        """Many questions in one request are one line of the log."""
        request = {"subject": USER, "action": {"name": "GET"}, "resource": path("/data/x")}
        given = {**request, "evaluations": [{}, {}, {"resource": path("/x")}]}
        self.ask(given, api="evaluations")
        self.assertEqual(self.named("policy.asked"), [])
        [event] = self.named("policy.asked.several")
        self.assertEqual((event["number"], event["allowed"]), (3, 2))

    def test_both_ways(self) -> None:
        """The fast path hands such a request over, and the answer is the same."""
        request = {"subject": USER, "action": {"name": "GET"}, "resource": path("/data/x")}
        body = json.dumps(request).encode()
        head = (
            f"POST /access/v1/evaluation HTTP/1.1\r\nHost: gate\r\nAuthorization: {PDP}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        for site in (self.gateway.public, self.gateway.entrance):
            for size in (0, 1):
                [answer] = self.gateway.say(head.encode() + body, site, size)
                self.assertEqual((answer.status, answer.json()), (200, {"decision": True}))

    def test_without_policies(self) -> None:
        """Without a section C{policy} no path of the API exists."""
        self.gateway = InMemoryGateway({"providers": [STAFF]})
        for api in ("evaluation", "evaluations", "search/subject"):
            self.assertEqual(self.ask({}, api=api).status, 404)
        answer = self.gateway.ask("GET /.well-known/authzen-configuration")
        self.assertEqual(answer.status, 404)


class PageTests(QuestionCase):
    """Searches with many candidates, and hostile pages."""

    rules = (
        rule("no identity", [["username=u8", "@subject:id=x"]], "record:read:x1"),
        rule("many", [["username=bob"]], f"record:read:{','.join(f'r{n:02}' for n in range(12))}"),
        *(rule(f"user {n}", [[f"username=u{n}"]], "record:read:x1") for n in range(6)),
    )

    def setUp(self) -> None:
        super().setUp()
        self.patch(searches, "_MOST_EXAMINED", 5)

    def pages(self, kind: str, request: Json) -> list[list[str]]:
        found = []
        while True:
            answer = self.ask(request, api=f"search/{kind}")
            self.assertEqual(answer.status, 200, answer.body)
            content = answer.json()
            found.append([each["id"] for each in content["results"]])
            token = content.get("page", {}).get("next_token", "")
            if not token:
                return found
            request = {**request, "page": {**request.get("page", {}), "token": token}}

    def test_all_found_S_QUESTION(self) -> None:
        """One request looks at few candidates; the pages together have all results."""
        request: Json = {
            "subject": SELF,
            "action": {"name": "read"},
            "resource": {"type": "record"},
        }
        found = self.pages("resource", request)
        self.assertEqual([len(each) for each in found], [5, 5, 2])
        self.assertEqual(len({id_ for each in found for id_ in each}), 12)
        request["page"] = {"limit": 4}
        self.assertEqual([len(each) for each in self.pages("resource", request)], [4, 4, 4])

    def test_large_results_S_QUESTION(self) -> None:
        """Results that are large are divided into pages, with or without C{page}."""
        self.patch(searches, "_LARGEST", 30_000)
        many = {"type": "user", "properties": {"team": ["x" * 20_000]}}
        resource = {"type": "record", "id": "x1"}
        request: Json = {"subject": many, "action": {"name": "read"}, "resource": resource}
        found = self.pages("subject", request)
        self.assertEqual([len(each) for each in found], [2, 2, 2])

    def test_subjects(self) -> None:
        """A page may have fewer results than candidates."""
        resource = {"type": "record", "id": "x1"}
        request = {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": resource}
        found = self.pages("subject", request)
        self.assertEqual([len(each) for each in found], [4, 2])

    def test_limit_zero(self) -> None:
        """A page of no results leads to the same candidates again."""
        request: Json = {
            "subject": SELF,
            "action": {"name": "read"},
            "resource": {"type": "record"},
        }
        request["page"] = {"limit": 0}
        content = self.ask(request, api="search/resource").json()
        self.assertEqual(content["results"], [])
        self.assertTrue(content["page"]["next_token"].startswith("0."))

    def test_malformed_pages_S_QUESTION(self) -> None:
        """A malformed page, or a token of another search, is a 400."""
        request: Json = {
            "subject": SELF,
            "action": {"name": "read"},
            "resource": {"type": "record"},
        }
        first = self.ask(request, api="search/resource").json()
        token = first["page"]["next_token"]
        page: Any
        for page in (
            [],
            None,
            {"limit": -1},
            {"limit": True},
            {"limit": 1.5},
            {"limit": "1"},
            {"token": 1},
            {"token": ""},
            {"token": "x"},
            {"token": "0." + "0" * 16},
            {"token": token + "\n"},
            {"token": token, "limit": 10**100},
            {"token": "9" * 5000 + token},
        ):
            answer = self.ask({**request, "page": page}, api="search/resource")
            self.assertEqual(answer.status, 400, page)
        for other in ({"subject": USER}, {"action": {"name": "write"}}, {"context": {"x": 1}}):
            given = {**request, **other, "page": {"token": token}}
            self.assertEqual(self.ask(given, api="search/resource").status, 400)
        beyond = {**request, "page": {"token": "999999999" + token[token.index(".") :]}}
        content = self.ask(beyond, api="search/resource").json()
        self.assertEqual((content["results"], content["page"]["next_token"]), ([], ""))

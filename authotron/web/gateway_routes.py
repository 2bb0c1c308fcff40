"""The routes of the main port: C{/authenticate} for proxies, and the routes for clients."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field
from klein import Klein
from twisted.internet.interfaces import IReactorTime

from authotron import __version__
from authotron.gateway.carriers import Carriers
from authotron.gateway.gateway import LiveGateway
from authotron.model.authentication import Authentication
from authotron.model.request import Facts, Presented
from authotron.telemetry.metrics import Part
from authotron.web import later_routes, pages, replies
from authotron.web.answering import Answer, Answerer
from authotron.web.later_routes import Call, Switches
from authotron.web.replies import Reply, text_reply
from authotron.web.request import Request
from authotron.web.routing import CONTRACT_RULE, EarlyReply, handle_errors, no_route, route

if TYPE_CHECKING:  # the routes are loaded by name, with the first request for API tokens
    from authotron.web.token_routes import TokenRoutes

_FOR_A_DAY = (b"Cache-Control", b"public, max-age=86400")


WITH_BODY = (
    ("POST", "/tokens"),
    ("POST", "/tokens/revoke"),
    ("PATCH", "/tokens/{id}"),
    *later_routes.WITH_BODY,
)
"""
The methods and metric labels of the routes that read the request body. A request for a route that
is not in this table is answered as soon as its headers are received.
"""


def _asset(name: str, content_type: str) -> Reply:
    content = (resources.files("authotron.web") / "assets" / name).read_bytes()
    return text_reply(content_type, content, _FOR_A_DAY)


def _plugins_as_json(plugins: Iterable[Part]) -> list[dict[str, str]]:
    return [{"name": each.name, "type": each.type, "realm": each.realm} for each in plugins]


def _presented(request: Request, carriers: Carriers, facts: Facts) -> Presented:
    """
    Return everything by which a client may prove its identity; if C{Authorization} or
    C{X-Auth-Realm} is duplicated, the first one counts.
    """
    fields = request.requestHeaders.getRawHeaders

    def joined(name: bytes) -> bytes | None:
        found = fields(name)
        return b",".join(found) if found else None

    is_question = request.asked is not None
    others = carriers.of_question(joined, facts) if is_question else carriers.of_client(joined)
    authorization, realm = fields(b"Authorization"), fields(b"X-Auth-Realm")
    return Presented(
        authorization[0] if authorization else None, realm[0] if realm else None, others
    )


@cache
def _home() -> Any:
    """
    Load the template of the home page when the page is first requested, so that the gateway starts
    faster.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - loaded late, for a quick start

    loader = PackageLoader("authotron.web", "assets")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("home.html")


@cache
def _token_routes() -> type[TokenRoutes]:
    """
    Load the routes of API tokens with the first request for one of them: a gateway without a token
    store needs neither the routes nor the models of their bodies.
    """
    module = import_module("authotron.web.token_routes")
    return cast("type[TokenRoutes]", module.TokenRoutes)


@define(eq=False)
class GatewayRoutes:
    """The routes of the main port."""

    _serving: LiveGateway[Reply]
    _clock: IReactorTime
    _answerer: Answerer = field(init=False)
    _logo: Reply = field(init=False)
    _icon: Reply = field(init=False)
    _switches: Switches = field(init=False)
    app = Klein()
    handle_errors(app)
    later_routes.register(app, lambda routes, request: routes.call(request))

    def __attrs_post_init__(self) -> None:
        self._answerer = Answerer(self._serving, self._clock)
        self._logo = _asset("logo.svg", "image/svg+xml")
        self._icon = _asset("favicon.ico", "image/x-icon")
        self._switches = Switches(self.app)

    def is_off(self, path: bytes) -> bool:
        """
        Return whether a path belongs to a route of a feature, such as policies, that the
        configuration in use lacks.
        """
        return self._switches.is_off(path, self._serving.gateway)

    def call(self, request: Request) -> Call:
        """Return what a route needs to answer a request, if its module is imported late."""
        serving = self._serving
        authentication = partial(self._authentication, request)
        return Call(request, serving, serving.gateway, self._clock, authentication)

    async def _answer(self, request: Request) -> Answer:
        """Authenticate and authorize a request, and count the outcome in the metrics."""
        contracts = self._serving.gateway.contracts
        question = request.question(contracts)
        if request.asked is None:
            contract, endpoint = None, contracts.direct
        else:
            contract, endpoint, _ = request.asked
            unstated = self._answerer.unstated(contract, endpoint, question)
            if unstated is not None:
                return unstated
        client = partial(endpoint.client, question)
        facts = endpoint.facts(question)
        presented = _presented(request, self._serving.gateway.carriers, facts)
        return await self._answerer.answer(contract, presented, facts, client, question.values)

    async def _authenticate(self, request: Request) -> Answer:
        """
        Authenticate and authorize a client's request.

        @raise EarlyReply: the client is not authenticated, or its request is denied.
        """
        answer = await self._answer(request)
        request.outcome, request.reason = answer.outcome, answer.reason
        if not answer.is_admitted:
            raise EarlyReply(answer.reply)
        return answer

    async def _authentication(self, request: Request) -> Authentication:
        outcome = (await self._authenticate(request)).outcome
        assert outcome is not None
        assert outcome.authentication is not None
        return outcome.authentication

    @route(app, "/authenticate", "GET")
    @route(app, "/auth", "GET")
    @route(app, "/_auth", "GET")
    async def authenticate(self, request: Request) -> Reply:
        """
        Answer the authentication request of a proxy; older proxy configurations use the paths
        C{/auth} and C{/_auth}. All three paths belong to the contract of nginx, which
        C{server.contracts} may lack.
        """
        if request.asked is None:
            no_route()
        return (await self._authenticate(request)).reply

    @route(app, CONTRACT_RULE)
    async def answer_contract(self, request: Request, contract: str) -> Reply:
        """
        Answer the authentication request of a proxy at the path of its contract, with
        any method.
        """
        if request.asked is None or request.asked.contract.name != contract:
            no_route()
        return (await self._authenticate(request)).reply

    @route(app, "/whoami", "GET")
    async def whoami(self, request: Request) -> Reply:
        try:
            found = await self._authentication(request)
        except EarlyReply as end:
            page = self._serving.gateway.config.file.page
            raise EarlyReply(pages.for_browser(request, end.reply, page)) from None
        return pages.readable(request, replies.whoami(found.identity))

    @route(app, "/token", "GET")
    async def make_token_by_get(self, request: Request) -> Reply:
        return await self._tokens(request).make_by_get(await self._authentication(request), request)

    @route(app, "/token/<token>", "DELETE")
    async def revoke_token_by_path(self, request: Request, token: str) -> Reply:
        return await self._tokens(request).revoke(await self._authentication(request), token)

    @route(app, "/tokens", "GET")
    async def list_tokens(self, request: Request) -> Reply:
        return await self._tokens(request).list_tokens(await self._authentication(request), request)

    @route(app, "/tokens", "POST")
    async def make_token(self, request: Request) -> Reply:
        return await self._tokens(request).make(await self._authentication(request), request)

    @route(app, "/tokens/revoke", "POST")
    async def revoke_presented_token(self, request: Request) -> Reply:
        return await self._tokens(request).revoke_presented(request)

    @route(app, "/tokens/<id_>", "GET")
    async def show_token(self, request: Request, id_: str) -> Reply:
        return await self._tokens(request).show(await self._authentication(request), id_)

    @route(app, "/tokens/<id_>", "PATCH")
    async def change_token(self, request: Request, id_: str) -> Reply:
        return await self._tokens(request).change(await self._authentication(request), request, id_)

    @route(app, "/tokens/<id_>", "DELETE")
    async def revoke_token(self, request: Request, id_: str) -> Reply:
        return await self._tokens(request).revoke(await self._authentication(request), id_)

    def _tokens(self, request: Request) -> TokenRoutes:
        return _token_routes()(
            self._serving.gateway,
            self._serving.invalidate_all_workers,
            self._clock,
            lambda: request.sender,
        )

    @route(app, "/providers", "GET")
    def providers(self, request: Request) -> Reply:
        providers = self._serving.gateway.authenticator.providers
        found = replies.public_json({"providers": _plugins_as_json(providers)})
        return pages.readable(request, found)

    @route(app, "/augmenters", "GET")
    def augmenters(self, request: Request) -> Reply:
        augmenters = self._serving.gateway.authenticator.augmenters
        found = replies.public_json({"augmenters": _plugins_as_json(augmenters)})
        return pages.readable(request, found)

    @route(app, "/.well-known/jwks.json", "GET")
    async def jwks(self, request: Request) -> Reply:
        minter = self._serving.gateway.minter
        if (unread := minter.first_read) is not None:
            await unread.join()
        keys = minter.jwks
        caching = (b"Cache-Control", b"public, max-age=%d" % minter.jwks_max_age)
        return pages.readable(request, replies.public_json(keys, caching))

    @route(app, "/health", "GET")
    def health(self, _request: Request) -> Reply:
        return replies.HEALTHY

    @route(app, "/", "GET")
    def home(self, request: Request) -> Reply:
        authenticator = self._serving.gateway.authenticator
        logins = dict.fromkeys(
            (provider.realm, provider.scheme.capitalize(), carrier and str(carrier))
            for provider in authenticator.providers
            for carrier in authenticator.looks_at(provider)
        )
        page = _home().render(
            version=__version__,
            logins=list(logins),
            address=pages.address(request),
            page=self._serving.gateway.config.file.page,
        )
        return replies.page_reply(200, page.encode(), *pages.POLICY, replies.NO_STORE)

    @route(app, "/logo.svg", "GET")
    def logo(self, _request: Request) -> Reply:
        return self._logo

    @route(app, "/favicon.ico", "GET")
    def favicon(self, _request: Request) -> Reply:
        return self._icon

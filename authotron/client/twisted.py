"""
Resources of Twisted that need a user.

::

    site = Site(Protected(resource, verifier, "reader"))

    class Read(Resource):
        def render_GET(self, request):
            return user_of(request).username.encode()
"""

from __future__ import annotations

from collections.abc import Collection

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import Interface, implementer

from authotron.client import problems
from authotron.client.errors import AuthotronError, NoToken
from authotron.client.user import User, as_names
from authotron.client.verifier import Verifier


class IUser(Interface):
    """
    The name of the Twisted component (an adapter) of a request that holds the
    user who sent it.
    """


@implementer(IResource)
class Protected:
    """
    Passes requests with a valid JWT on to a resource, and refuses all other requests.

    @param roles: the roles of which the user needs one.
    @param scopes: the scopes, all of which the user needs.
    """

    isLeaf = True

    def __init__(
        self,
        resource: IResource,
        verifier: Verifier,
        *roles: str,
        scopes: str | Collection[str] = (),
    ) -> None:
        self._resource, self._verifier = resource, verifier
        self._roles, self._scopes = as_names(roles), as_names(scopes)

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        """Never called: the resource is a leaf, which finds its child once the user is known."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """Add a child to the resource that is protected."""
        self._resource.putChild(path, child)

    def render(self, request: Request) -> int:
        """
        Verify the JWT, and then render the child resource that belongs to the remaining segments of
        the path.
        """
        user = authenticate(request, self._verifier)
        request.notifyFinish().addErrback(lambda _: user.cancel())
        user.addCallback(self._admit, request)
        user.addErrback(refuse, request)
        user.addErrback(_ignore_cancelled)
        user.addErrback(_report, request)
        return NOT_DONE_YET

    def _admit(self, user: User, request: Request) -> None:
        user.require(*self._roles, scopes=self._scopes)
        request.render(getChildForRequest(self._resource, request))


def _ignore_cancelled(failure: Failure) -> None:
    """Do not log that a request failed if its client has closed the connection."""
    failure.trap(CancelledError)


def _report(failure: Failure, request: Request) -> None:
    """Answer with a 500, and log the exception, as Twisted does for a resource that raises one."""
    request.processingFailed(failure)  # the last callback returns the failure


def authenticate(request: IRequest, verifier: Verifier) -> Deferred[User]:
    """
    Verify the JWT of a request, and store its user in the request, so that L{user_of} can return
    the user.
    """
    fields = request.requestHeaders.getRawHeaders(b"authorization", [])
    found = verifier.authenticate_deferred([field.decode("latin-1") for field in fields])

    def remember(user: User) -> User:
        request.setComponent(IUser, user)  # type: ignore[attr-defined] # Componentized
        return user

    return found.addCallback(remember)


def user_of(request: IRequest) -> User:
    """
    Return the user who sent a request.

    @raise NoToken: the request has no token.
    """
    user = request.getComponent(IUser)  # type: ignore[attr-defined] # Componentized
    if not isinstance(user, User):
        raise NoToken
    return user


def refuse(failure: Failure, request: IRequest) -> None:
    """Answer a request that failed with an error of this library; raise all other errors again."""
    failure.trap(AuthotronError)
    error = failure.value
    assert isinstance(error, AuthotronError)
    content = write_head(error, request)
    request.write(content)
    request.finish()


def write_head(error: AuthotronError, request: IRequest) -> bytes:
    """Set status and headers of the response to an error, and return its body."""
    request.setResponseCode(error.status)
    for name, value in problems.headers(error).items():
        request.setHeader(name.encode(), value.encode())
    content = problems.body(error)
    request.setHeader(b"content-length", b"%d" % len(content))
    return content

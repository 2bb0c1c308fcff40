"""The options of the commands for clients of a gateway, and how these commands run."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import click
from attrs import frozen
from twisted.internet.task import react

from authotron.cli.options import exit_on_config_error, text
from authotron.cli.output import say, say_json
from authotron.concurrency.reactor import IGatewayReactor
from authotron.daemon.runtime import Pool, make_world
from authotron.login import kept_login, profile, remote_gateway
from authotron.login.errors import NotLoggedIn, UnsafeFile
from authotron.login.logins import Logins
from authotron.login.private_folder import PrivateFolder
from authotron.login.profile import PASSWORDS, Profile
from authotron.login.remote_gateway import Presented
from authotron.model.errors import Rejected, Unavailable

EX_TEMPFAIL = 75
"""Exit status if the gateway does not answer, so that trying again may help (sysexits.h)."""

_FILE = click.Path(path_type=str)
_PROVIDERS = click.Choice(["basic", "ldap", "certificate", "token"])
_LONGEST_LINE = 65_536

_Options = Callable[[Any], Any]


def _together(*options: _Options) -> _Options:
    """Return one decorator that adds several options, in this order in the help text."""
    return lambda command: reduce(lambda found, add: add(found), reversed(options), command)


gateway_options = _together(
    click.option("--gateway", type=text, metavar="URL", help="The URL of the gateway."),
    click.option("--profile", type=text, metavar="NAME", help="The profile; default: default."),
    click.option("--ca-file", type=_FILE, help="Certificates (PEM) to trust, not the system's."),
    click.option("--client-certificate-file", type=_FILE, help="Your certificate (PEM)."),
    click.option("--client-key-file", type=_FILE, help="The key (PEM) of your certificate."),
    click.option("--timeout", type=text, help="Time for each request; default: 10s."),
    click.option(
        "--allow-http/--no-allow-http",
        default=None,
        help="Send credentials unencrypted, to a gateway on another machine, too.",
    ),
)
"""The options by which a command finds the gateway."""

credential_options = _together(
    click.option("--user", type=text, metavar="NAME", help="Your user name; - asks for it."),
    click.option("--realm", type=text, help="The realm in which your credential is judged."),
    click.option("--password-file", type=_FILE, help="Your password; - asks for it."),
    click.option("--token-file", type=_FILE, help="The token to log in with; - asks for it."),
)
"""The options that state the credential of a client; a secret is never an argument."""

provider_option: _Options = click.option(
    "--provider", type=_PROVIDERS, help="Present this kind of credential, not the kept token."
)
provider_argument: _Options = click.argument("provider", type=_PROVIDERS, required=False)

_WORDS: Mapping[str, tuple[str, str]] = {
    "--role": ("roles", "Grant only this role (may be repeated)."),
    "--scope": ("scopes", "SERVICE=SCOPE: grant only this scope (may be repeated)."),
    "--audience": ("audience", "Allow only this backend (may be repeated)."),
    "--cloak": ("cloak", "Hide this attribute from backends, * hides all (may be repeated)."),
    "--permission": ("permissions", "Valid for these requests alone, such as /data/**:GET."),
    "--method": ("methods", "Valid for this method alone (may be repeated)."),
    "--host": ("hosts", "Valid at this host alone (may be repeated)."),
    "--network": ("networks", "Valid for clients in this network alone (may be repeated)."),
}

wish_options = _together(
    click.option("--validity", type=text, help="Lifetime of the token, such as 15m, 2h or 7d."),
    *(
        click.option(option, key, type=text, multiple=True, help=about)
        for option, (key, about) in _WORDS.items()
    ),
    click.option("--namespace", type=text, help="Valid in this namespace alone, and below it."),
)
"""The options that make a token narrower than the credential that it is issued for."""

WISH_KEYS = ("validity", "namespace", *(key for key, _ in _WORDS.values()))


def as_wish(given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the request body for L{wish_options}; the gateway checks the values.

    @raise BadParameter: a scope is not SERVICE=SCOPE.
    """
    scopes: dict[str, list[str]] = {}
    for each in given["scopes"]:
        service, equals, scope = each.partition("=")
        if not (service and equals and scope):
            raise click.BadParameter("is not SERVICE=SCOPE", param_hint="--scope")
        scopes.setdefault(service, []).append(scope)
    lists = ("permissions", "methods", "hosts", "networks")
    restriction = {key: [*given[key]] for key in lists if given[key]}
    if given["namespace"] is not None:
        restriction["namespace"] = given["namespace"]
    wish = {key: [*given[key]] for key in ("roles", "audience", "cloak") if given[key]}
    return {
        **({} if given["validity"] is None else {"validity": given["validity"]}),
        **wish,
        **({"scopes": scopes} if scopes else {}),
        **({"restrictions": [restriction]} if restriction else {}),
    }


@frozen
class Session:
    """The settings of a command, and the place where its login is kept."""

    profile: Profile
    name: str
    folder: PrivateFolder


def session(given: Mapping[str, Any], *, as_json: bool = False) -> Session:
    """
    Return the settings of a command; print their problems and exit with 78 if there are some.

    @param given: the options of the command by their names.

    @raise UsageError: no setting names a gateway.
    """
    places = profile.places()
    name = given.get("profile") or places.environ.get("AUTHOTRON_PROFILE") or "default"
    if Path(name).name != name or name.startswith("."):
        raise click.BadParameter("is the name of a file without .yaml", param_hint="--profile")
    known = {*Profile.model_fields, "password_file", "token_file", "client_key_file"}
    options = {key: value for key, value in given.items() if key in known}
    with exit_on_config_error(as_json=as_json):
        found = profile.read(name, options, places)
        folder = PrivateFolder(places.cache, places.user)
    if found.gateway is None:
        where = " or ".join(str(each / f"{name}.yaml") for each in reversed(places.profiles))
        raise click.UsageError(
            f"no gateway is named; use --gateway URL, AUTHOTRON_GATEWAY, or `gateway` in {where}"
        )
    return Session(found, name, folder)


def ask(settings: Profile) -> Presented:
    """
    Return the credential of a client, and ask for what no setting has.

    @raise UsageError: the kind of the credential is not known, or a part of it is missing.
    """
    kind, realm = settings.provider, settings.realm
    if kind in PASSWORDS:
        user = settings.user or _line("User name", hidden=False)
        if ":" in user:
            raise click.UsageError("user names must not have a colon (RFC 7617)")
        password = settings.password
        secret = password.get_secret_value() if password else _line("Password", hidden=True)
        return Presented(basic=(user, secret), realm=realm)
    if kind == "token":
        token = settings.token
        secret = token.get_secret_value() if token else _line("Token", hidden=True)
        return Presented(bearer=text(secret.strip()), realm=realm)
    if kind == "certificate":
        if settings.client_certificate_file is None:
            raise click.UsageError("give --client-certificate-file and --client-key-file")
        return Presented(realm=realm, certificate=str(settings.client_certificate_file))
    raise click.UsageError(
        "name the credential that you present, as in `authotron login basic` or by the option "
        "--provider: basic, ldap, certificate or token"
    )


def _line(what: str, *, hidden: bool) -> str:
    """
    Ask a question at the terminal; if standard input is not a terminal, read one line from it.

    @raise UsageError: the line is empty, or is not UTF-8.
    """
    if sys.stdin.isatty():
        found = str(click.prompt(what, hide_input=hidden, err=True))
    else:
        found = sys.stdin.readline(_LONGEST_LINE).removesuffix("\n").removesuffix("\r")
    if not found or not found.isprintable():
        raise click.UsageError(f"{what}: nothing was entered, or a control character")
    return found


Work = Callable[[Logins], Awaitable[None]]
"""The work of a command: a function that is called with the login of the command."""


def run(found: Session, work: Work, *, as_json: bool = False) -> None:
    """
    Do the work of a command with its login.

    Exit with 1 if a credential is rejected or nothing can be kept, and with 75 if the gateway does
    not answer.
    """
    react(_run, (found, work, as_json))


async def _run(
    reactor: IGatewayReactor,
    found: Session,
    work: Work,
    as_json: bool,  # noqa: FBT001 - react() passes no keywords
) -> None:
    pool = Pool(reactor)
    pool.startService()
    try:
        world = make_world(reactor, pool)
        remote = remote_gateway.make(found.profile, world)
        name = kept_login.name_of(remote.url, found.name)
        await work(Logins(found.profile, remote, found.folder, name, world.clock, _warn))
    except (Rejected, NotLoggedIn, UnsafeFile) as reason:
        _fail(reason, 1, as_json=as_json)
    except Unavailable as reason:
        _fail(reason, EX_TEMPFAIL, as_json=as_json)
    finally:
        found.folder.close()
        pool.stopService()


def _warn(message: str) -> None:
    say(f"warning: {message}", fg="yellow", err=True)


def _fail(reason: Exception, status: int, *, as_json: bool) -> None:
    if as_json:
        say_json({"error": str(reason)})
    say(str(reason), fg="red", err=True)
    raise SystemExit(status)

"""C{authotron proxy-config}: print the configuration of a reverse proxy, or write it to files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import execute

from authotron.cli.composed import compose_or_exit
from authotron.cli.options import (
    Command,
    clock,
    config_option,
    exit_on_config_error,
    json_option,
    load_config,
)
from authotron.cli.output import say, say_as_it_is, say_json
from authotron.config.files import acting_as_owner, write_once
from authotron.net.world import World
from authotron.proxy_config import rendering, setting
from authotron.proxy_config.addresses import Address
from authotron.proxy_config.advice import advice
from authotron.proxy_config.setting import Deployment

_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")
_ADDRESS = re.compile(r"(?:http://)?(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})/?")
_PATH = re.compile(r"[A-Za-z0-9/._-]+")
_HIGHEST_PORT = 65_535

_MODE = 0o644
"""
The file mode of a written file, which contains no secret and which the proxy must be
able to read.
"""


def _address(_context: Any, _option: Any, given: str | None) -> Address | None:
    """
    Return the host and port that a command-line option names, if it is given.

    @raise BadParameter: the value is not HOST:PORT or http://HOST:PORT.
    """
    if given is None:
        return None
    found = _ADDRESS.fullmatch(given)
    if found is None or not 0 < int(found[3]) <= _HIGHEST_PORT:
        raise click.BadParameter("must be HOST:PORT, such as 127.0.0.1:8000")
    return Address(found[1] or found[2], int(found[3]))


def _host(_context: Any, _option: Any, given: str) -> str:
    """
    Return the host name by which clients know the protected service.

    @raise BadParameter: the value is not the name of a host.
    """
    if given and not _NAME.fullmatch(given):
        raise click.BadParameter("must be the name of a host, such as app.example.org")
    return given


def _file(_context: Any, _option: Any, given: str) -> str:
    """
    Return the path that a command-line option names.

    @raise BadParameter: the path has a character that the language of a proxy may read otherwise.
    """
    if not _PATH.fullmatch(given):
        raise click.BadParameter("must be a path of letters, digits, and /._-")
    return given


def _folder(context: Any, option: Any, given: Path | None) -> Path | None:
    """
    Return the folder that a command-line option names; the files of the proxy contain its path.

    @raise BadParameter: the path has a character that the language of a proxy may read otherwise.
    """
    return given and Path(_file(context, option, str(given.absolute())))


@click.command(
    "proxy-config",
    cls=Command,
    examples=(
        "authotron proxy-config nginx --backend 127.0.0.1:8000 --host app.example.org",
        "authotron proxy-config haproxy --write /etc/haproxy",
    ),
)
@click.argument("proxy", type=click.Choice(sorted(rendering.PROXIES)), metavar="PROXY")
@config_option
@click.option(
    "--backend",
    callback=_address,
    default="127.0.0.1:8000",
    show_default=True,
    help="The address of the service that the proxy protects.",
)
@click.option(
    "--host",
    "host",
    callback=_host,
    default="",
    help="The host of the service; every host if not given.",
)
@click.option(
    "--listen",
    callback=_address,
    default="127.0.0.1:80",
    show_default=True,
    help="The address at which the proxy listens.",
)
@click.option(
    "--gateway",
    callback=_address,
    help="The address of the gateway; where its configuration listens if not given.",
)
@click.option(
    "--ca-file",
    default=Deployment().ca_file,
    show_default=True,
    callback=_file,
    help="The certificates that the proxy trusts, if the gateway listens by TLS.",
)
@click.option(
    "--write",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_folder,
    help="Write the files to this folder.",
)
@click.option("--force", is_flag=True, help="With --write replace files that differ.")
@json_option
def proxy_config(
    proxy: str,
    path: Path,
    *,
    backend: Address,
    host: str,
    listen: Address,
    gateway: Address | None,
    ca_file: str,
    folder: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """
    Print the configuration of a reverse proxy.

    PROXY is apache, caddy, envoy, haproxy, nginx or traefik, or, for manifests of Kubernetes,
    kubernetes-envoy-gateway, kubernetes-istio, kubernetes-nginx or kubernetes-traefik.

    The proxy asks the gateway of the configuration about every request. Several files are printed
    one after the other, each below a line with its name.

    Exit status 0, 1 if a file cannot be written, 78 if the configuration is invalid.
    """
    config = load_config(path, as_json=as_json)
    inside = "" if folder is None else str(folder.absolute())
    deployment = Deployment(listen, backend, host, gateway, ca_file, inside)
    built = compose_or_exit(config, World(clock(), execute), as_json=as_json)
    with exit_on_config_error(as_json=as_json):
        found = setting.make(built, proxy, deployment)
    files, warnings = rendering.files(proxy, found), [*advice(proxy, config, found)]
    for warning in () if as_json else warnings:
        say(f"warning: {warning}", fg="yellow", err=True)
    if folder is not None:
        written = _write(folder, files, own=path, force=force)
        if as_json:
            say_json({"proxy": proxy, "written": written, "warnings": warnings})
    elif as_json:
        say_json({"proxy": proxy, "files": files, "warnings": warnings})
    else:
        _print(files)


def _print(files: dict[str, str]) -> None:
    for name, text in files.items():
        if len(files) > 1:
            say(f"===== {name} =====", bold=True)
        say_as_it_is(text, nl=False)


def _write(folder: Path, files: dict[str, str], *, own: Path, force: bool) -> list[str]:
    """
    Write files to a folder, and print which; return their paths.

    @param own: the configuration of the gateway, which no file replaces.

    @raise ClickException: a file exists with other contents, or cannot be written; nothing is
        written in the first case.
    """
    paths = {folder / name: text.encode() for name, text in files.items()}
    try:
        with acting_as_owner(folder / "file"):
            _require_another(paths, own)
            _require_same(paths, force=force)
            folder.mkdir(parents=True, exist_ok=True)
            for path, content in paths.items():
                say(f"{_write_file(path, content)} {path}", err=True)
    except OSError as error:
        reason = f"cannot write {error.filename or folder}: {error.strerror}"
        raise click.ClickException(reason) from None
    return [*map(str, paths)]


def _require_another(paths: Iterable[Path], own: Path) -> None:
    for path in paths:
        if path.is_file() and own.is_file() and path.samefile(own):
            reason = f"{path} is the configuration of the gateway; write to another folder"
            raise click.ClickException(reason)


def _require_same(paths: Mapping[Path, bytes], *, force: bool) -> None:
    differing = [str(path) for path, content in paths.items() if _differs(path, content)]
    if differing and not force:
        names = ", ".join(differing)
        raise click.ClickException(f"exists with other contents: {names}; replace by --force")


def _differs(path: Path, content: bytes) -> bool:
    return os.path.lexists(path) and not _has(path, content)


def _has(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _write_file(path: Path, content: bytes) -> str:
    """
    Write a file that every account may read, in place of an existing file; return what was done.

    A symbolic link at the path of the file is replaced, and the file to which it leads stays as it
    is.
    """
    if _has(path, content):
        return "unchanged:"
    with suppress(FileNotFoundError):
        path.unlink()
    write_once(path, content)
    path.chmod(_MODE)
    return "wrote"

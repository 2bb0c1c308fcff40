"""C{authotron check}: say what a configuration would run, or list all its problems."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import execute

from authotron.cli.composed import compose_or_exit
from authotron.cli.options import Command, clock, config_option, json_option, load_config
from authotron.cli.output import say, say_json
from authotron.config import credentials
from authotron.config.check import Config
from authotron.config.endpoint import HTTP, protocol_of, with_mode
from authotron.config.plugins import PluginConfig
from authotron.config.section import Section
from authotron.net.world import World


@click.command(
    cls=Command,
    examples=("authotron check config.yaml", "authotron check --strict --json config.yaml"),
)
@click.argument("file", required=False, type=click.Path(path_type=Path, readable=False))
@config_option
@click.option("--strict", is_flag=True, help="Exit with 1 if there are warnings.")
@json_option
def check(file: Path | None, path: Path, *, strict: bool, as_json: bool) -> None:
    """
    Check a configuration.

    Print what the configuration would run, or all problems of the configuration.

    Exit status 0 if the configuration is valid, 78 if not, 1 with --strict if there are warnings.
    """
    found = load_config(file or path, as_json=as_json)
    compose_or_exit(found, World(clock(), execute), as_json=as_json)
    if as_json:
        say_json({"good": True, **_summary(found), "warnings": list(found.warnings)})
    else:
        for line in _description(found):
            say(line)
        for warning in found.warnings:
            say(f"warning: {warning}", fg="yellow", err=True)
        say("The configuration is good.", fg="green")
    if strict and found.warnings:
        sys.exit(1)


def _summary(found: Config) -> dict[str, Any]:
    """Return what a configuration runs, without secrets, for C{check --json}."""
    file = found.file
    return {
        "gateway": _addresses(file.server.listen, file.server.host, file.server.port),
        "workers": file.server.processes,
        "metrics": _addresses(
            file.metrics.listen, file.metrics.host or file.server.host, file.metrics.port
        )
        if file.metrics.enabled
        else [],
        "jwt": {"alg": file.jwt.alg, "iss": file.jwt.iss, "exp": file.jwt.exp},
        "providers": [_plugin(each) for each in found.providers],
        "augmenters": [_plugin(each) for each in found.augmenters],
        "store": None if found.store is None else found.store.type,
        "policy": _policy(found),
        **_authorizer(found),
    }


def _authorizer(found: Config) -> dict[str, Any]:
    """
    Return the authorizer under the key C{authorizer}, or an empty result if the configuration has
    no authorizer.
    """
    authorizer = found.authorizer
    if authorizer is None:
        return {}
    return {"authorizer": {"name": authorizer.name, "type": authorizer.type}}


def _policy(found: Config) -> dict[str, Any] | None:
    """Return what a policy does, or C{None} if every identity may make any request."""
    if found.policy is None:
        return None
    given = found.policy.section
    return {
        "mode": given.mode,
        "default": given.default,
        "rules": sum(not each.disabled for each in found.policy.rules),
        "groups": sum(not each.disabled for each in found.policy.groups),
    }


def _addresses(listen: Sequence[str], host: str, port: int | None) -> list[str]:
    found = [*map(with_mode, listen)]
    if port is not None and all(protocol_of(each) != HTTP for each in listen):
        found.insert(0, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return found


def _plugin(config: PluginConfig) -> dict[str, Any]:
    found: dict[str, Any] = {"name": config.name, "type": config.type, "realm": config.realm}
    carriers = _carriers(config)
    return {**found, "credentials": carriers} if carriers else found


def _carriers(section: Section) -> list[str]:
    """
    Return the parts of a request in which a section's credentials are looked for, if it has the key
    C{credentials}.
    """
    given = getattr(section, "credentials", None)
    if given is None:
        return []
    return ["Authorization" if each is None else str(each) for each in credentials.carriers(given)]


def _where(section: Section) -> str:
    """
    Return the parts of a request that carry credentials, as the end of a printed line, if there are
    others than C{Authorization}.
    """
    carriers = _carriers(section)
    return f", credentials in {' or '.join(carriers)}" if carriers else ""


def _description(found: Config) -> list[str]:
    """Return lines that describe what a configuration runs, without secrets."""
    file = found.file
    summary = _summary(found)
    server, second = ", ".join(summary["gateway"]), ", ".join(summary["metrics"])
    lines = [
        f"gateway:   {server}",
        f"workers:   {file.server.processes}",
        f"metrics:   {second or 'off'}",
        f"tokens:    {file.jwt.alg}, issuer {file.jwt.iss}, {file.jwt.exp} s",
    ]
    for kind, configs in (("provider", found.providers), ("augmenter", found.augmenters)):
        lines += [
            f"{kind + ':':10} {each.name} ({each.type}) in realm {each.realm}{_where(each)}"
            for each in configs
        ]
    if found.store is not None:
        lines.append(f"store:     {found.store.type}{_where(found.store)}")
    if (policy := summary["policy"]) is not None:
        lines.append("policy:    " + ", ".join(f"{key} {value}" for key, value in policy.items()))
    if found.authorizer is not None:
        lines.append(f"authorizer: {found.authorizer.name} ({found.authorizer.type})")
    return lines

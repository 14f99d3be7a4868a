"""``wavebreak token``: making and revoking tokens of the service."""

from __future__ import annotations

import json as _json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from ..messages.errors import WavebreakError
from .access import Scope, new_token, read_rules, write_rules

token_app = App(name="token", help="Make and revoke tokens of the service.")

_FILE = Path("wavebreak-tokens.json")
Tokens = Annotated[Path, Parameter(env_var="WAVEBREAK_TOKENS")]


def _in_json(data: Any) -> str:
    return _json.dumps(data)


@token_app.command(name="new")
def token_new(
    name: str,
    /,
    *,
    scope: tuple[Scope, ...] = (Scope.READ, Scope.SEND, Scope.STOP),
    tenant: tuple[str, ...] = ("",),
    file: Tokens = _FILE,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Make a token, and print it: it is shown this once.

    Args:
        name: what it is called.
        scope: what it allows: read, send, stop, admin.
        tenant: for whom; * for all.
        file: where its hash is kept.
        json: answer in JSON.
    """
    rules = read_rules(file) if file.exists() else ()
    if any(rule.name == name for rule in rules):
        msg = f"a token {name!r} is there already: revoke it first, or take another name"
        raise WavebreakError(msg)
    token, rule = new_token(name, scope, tenant)
    write_rules(file, (*rules, rule))
    print(_in_json({"name": name, "token": token}) if json else token)  # noqa: T201


@token_app.command(name="revoke")
def token_revoke(name: str, /, *, file: Tokens = _FILE) -> None:
    """Revoke a token: a running service lets nobody in by it from the next request on.

    Args:
        name: what it is called.
        file: where its hash is kept.
    """
    rules = read_rules(file)
    left = [rule for rule in rules if rule.name != name]
    if len(left) == len(rules):
        msg = f"there is no token {name!r}; there are: {', '.join(r.name for r in rules) or 'none'}"
        raise WavebreakError(msg)
    write_rules(file, left)
    Console().print(f"revoked {name}")


@token_app.command(name="list")
def token_list(
    *, file: Tokens = _FILE, json: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """List the tokens; nobody can see them again themselves.

    Args:
        file: where their hashes are kept.
        json: answer in JSON.
    """
    rules = [
        {"name": r.name, "scopes": sorted(r.scopes), "tenants": sorted(r.tenants)}
        for r in read_rules(file)
    ]
    if json:
        print(_in_json(rules))  # noqa: T201
        return
    for rule in rules:
        tenants = ", ".join(tenant or "(none)" for tenant in rule["tenants"])
        Console().print(f"{rule['name']}: {', '.join(rule['scopes'])}; tenants: {tenants}")

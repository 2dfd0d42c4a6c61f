"""`brigade users`: people and their API keys, for who has an admin's key."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from common.errors import ConfigurationError, NotFound
from deploy.cli.configuration import connect
from deploy.cli.output import JsonOption, emit, err, out, table
from deploy.client import Client, User

users = typer.Typer(
    help="Make, list, disable and remove users, and their API keys.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


class Scope(StrEnum):
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@users.command()
def add(
    name: NameArgument,
    admin: Annotated[bool, typer.Option("--admin", help="May do everything.")] = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="Uses API keys only.")] = False,
    json: JsonOption = False,
) -> None:
    """Make a user. The password is asked for, or read as a line of standard input."""
    password = None if no_password else _new_password()
    with connect() as client:
        _tell(client.people.create_user(name, password=password, is_admin=admin), "is a user now", json=json)


@users.command("list")
def list_them(json: JsonOption = False) -> None:
    """List all users, the newest first."""
    with connect() as client:
        people = list(client.people.users())
    if json:
        emit(people)
        return
    rows = [(one.username, _standing(one), one.created_at.date().isoformat(), one.id) for one in people]
    table(["name", "", "since", "id"], rows)


@users.command()
def password(name: NameArgument, json: JsonOption = False) -> None:
    """Give a user another password, and end their logins. It is asked for, or read from standard input."""
    fresh = _new_password()
    with connect() as client:
        changed = client.people.change_user(_find(client, name).id, password=fresh)
    _tell(changed, "has a new password", json=json)


@users.command()
def disable(name: NameArgument, json: JsonOption = False) -> None:
    """Lock a user out. What is theirs stays."""
    with connect() as client:
        _tell(client.people.change_user(_find(client, name).id, disabled=True), "is locked out", json=json)


@users.command()
def enable(name: NameArgument, json: JsonOption = False) -> None:
    """Let a user in again, with the keys of before."""
    with connect() as client:
        _tell(client.people.change_user(_find(client, name).id, disabled=False), "is let in", json=json)


@users.command()
def remove(name: NameArgument, json: JsonOption = False) -> None:
    """Delete a user of whom nothing is there; disable one who owns anything."""
    with connect() as client:
        removal = client.people.remove_user(_find(client, name).id)
    if json:
        emit(removal)
    else:
        _say(f"{name} is {removal.outcome}.")


@users.command()
def keys(name: NameArgument, json: JsonOption = False) -> None:
    """List a user's API keys."""
    with connect() as client:
        found = client.people.keys(_find(client, name).id)
    if json:
        emit(found)
        return
    rows = [(key.prefix, key.name, " ".join(key.scopes), key.expires_at) for key in found]
    table(["begins with", "name", "scopes", "until"], rows)


@users.command()
def key(
    name: NameArgument,
    called: Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is for.")] = "made by an admin",
    scopes: Annotated[list[Scope] | None, typer.Option("--scope", help="Repeat it for more; all if left out.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="How long it works; for ever if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Make an API key for a user; it is shown this once."""
    with connect() as client:
        made = client.people.create_key(
            called,
            scopes=[scope.value for scope in scopes] if scopes else None,
            expires_in_days=days,
            user_id=_find(client, name).id,
        )
    if json:
        emit(made)
        return
    err.print(f"A key of {name}; it is shown this once:", markup=False, highlight=False)
    typer.echo(made.key)


@users.command()
def revoke(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="How the key begins: brigade users keys.")],
    json: JsonOption = False,
) -> None:
    """Revoke an API key."""
    with connect() as client:
        client.people.revoke_key(prefix)
    if json:
        emit({"prefix": prefix, "revoked": True})
    else:
        _say(f"The key {prefix}… works no more.")


def _find(client: Client, name: str) -> User:
    for user in client.people.users(name):
        return user
    raise NotFound(f"There is no user {name!r}.")


def _new_password() -> str:
    """Never an argument: those are seen by all who list this machine's processes."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise ConfigurationError("There is no password on standard input.")
    return given


def _standing(user: User) -> str:
    return "disabled" if user.disabled else "admin" if user.is_admin else ""


def _tell(user: User, what: str, *, json: bool) -> None:
    if json:
        emit(user)
    else:
        _say(f"{user.username} {what}.")


def _say(sentence: str) -> None:
    out.print(sentence, markup=False, highlight=False, soft_wrap=True)

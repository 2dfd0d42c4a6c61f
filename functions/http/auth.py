"""Logging in and out, and what people may do with their own account."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from common import audit, passwords, users
from common.access_tokens import AccessToken
from common.errors import Forbidden, Refused, Unauthenticated
from common.http import Call
from common.passwords import Password
from common.principal import TOKEN, Principal
from common.services import Services
from functions.http.users import UserView

# Of a name that somebody tried, for the audit log.
_NAME_CHARACTERS = 100


class Login(msgspec.Struct):
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    password: Annotated[str, msgspec.Meta(max_length=256)]


class PasswordChange(msgspec.Struct):
    current_password: Annotated[str, msgspec.Meta(max_length=256)]
    new_password: Password


class Me(msgspec.Struct, kw_only=True, frozen=True):
    """Who calls, and with what. `credential`: a key's prefix, or "token"."""

    user: UserView
    credential: str
    scopes: list[str]
    default_knowledge_base_id: str | None
    expires_at: datetime | None


def log_in(call: Call, body: Login) -> AccessToken:
    """Get an access token for a username and a password."""
    services = call.services
    services.access_tokens.demand()
    services.limits.login(body.username, call.address)
    with services.database.transaction() as connection:
        user = users.credentials(connection, body.username)
    if passwords.matches(body.password, user and user.password_hash) and user is not None:
        token = issue(services, user.id, "login.password", call.address, password_hash=user.password_hash)
        if token is not None:
            _keep_up(services, user.id, user.password_hash, body.password)
            return token
    with services.database.transaction() as connection:
        who = Principal(user.id if user else "", is_admin=False, scopes=frozenset())
        audit.record(connection, who, "login.failed", body.username[:_NAME_CHARACTERS], address=call.address)
    services.limits.login_was_wrong(body.username, call.address)
    raise Unauthenticated("The username or the password is wrong.")


def log_out(call: Call) -> None:
    """Make all access tokens of the caller void. API keys stay."""
    with call.services.database.transaction() as connection:
        users.log_out(connection, call.caller.user_id)
        audit.record(connection, call.caller, "logout", call.caller.user_id)


def who_am_i(call: Call) -> Me:
    """Tell who calls, and what the credential is good for."""
    caller = call.caller
    with call.services.database.transaction() as connection:
        row = users.read(connection, caller.user_id)
    if row is None:
        raise Unauthenticated
    return Me(
        user=UserView.of(row),
        credential=caller.credential,
        scopes=sorted(caller.scopes & users.scopes_of(caller.is_admin)),
        default_knowledge_base_id=row["default_knowledge_base_id"],
        expires_at=caller.expires_at,
    )


def change_password(call: Call, body: PasswordChange) -> None:
    """Set a new password. All access tokens of before are void."""
    user_id = call.caller.user_id
    call.services.limits.login(user_id, call.address)
    with call.services.database.transaction() as connection:
        kept = users.password_hash(connection, user_id)
    if kept is None:
        raise Refused("You have no password: ask an admin to give you one.", code="NO_PASSWORD")
    if not passwords.matches(body.current_password, kept):
        with call.services.database.transaction() as connection:
            audit.record(connection, call.caller, "password.refused", user_id, address=call.address)
        call.services.limits.login_was_wrong(user_id, call.address)
        raise Forbidden("The current password is wrong.", code="WRONG_PASSWORD")
    fresh = passwords.hashed(body.new_password)
    with call.services.database.transaction() as connection:
        users.set_password(connection, user_id, fresh)
        audit.record(connection, call.caller, "password.change", user_id)


def issue(
    services: Services, user_id: str, action: str, address: str, *, password_hash: str | None = None
) -> AccessToken | None:
    """A token for who has just proved to be this user; None if they are disabled, or have another password by now."""
    with services.database.transaction() as connection:
        found = users.log_in(connection, user_id, password_hash=password_hash)
        if found is None:
            return None
        now, is_admin = found
        audit.record(
            connection, Principal(user_id, is_admin=is_admin, credential=TOKEN), action, user_id, address=address
        )
        return services.access_tokens.issue(user_id, users.scopes_of(is_admin), now)


def _keep_up(services: Services, user_id: str, kept: str, password: str) -> None:
    if passwords.is_outdated(kept):
        fresh = passwords.hashed(password)
        with services.database.transaction() as connection:
            users.rehash(connection, user_id, kept, fresh)

"""Who may: users, API keys, one's own account, and the audit log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from deploy.client import calls
from deploy.client.pages import items
from deploy.client.people_shapes import AuditEntry, FreshKey, Key, Me, Removal, User
from deploy.client.transport import Transport


class People:
    """What is for admins is refused to others: `ApiError` with the code FORBIDDEN."""

    def __init__(self, api: Transport) -> None:
        self._api = api

    # One's own account

    def me(self) -> Me:
        return self._api.call(calls.WHO_AM_I)

    def change_password(self, current_password: str, new_password: str) -> None:
        """Voids all access tokens of before."""
        self._api.call(calls.CHANGE_PASSWORD, {"current_password": current_password, "new_password": new_password})

    def log_out(self) -> None:
        """Voids all access tokens of the caller; API keys stay."""
        self._api.call(calls.LOG_OUT)

    # API keys

    def keys(self, user_id: str | None = None) -> list[Key]:
        return list(items(self._api, calls.LIST_KEYS, {"user_id": user_id}))

    def create_key(
        self,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        expires_in_days: int | None = None,
        user_id: str | None = None,
    ) -> FreshKey:
        """`scopes` of read, write, admin; None: all that the caller has. `user_id`: for another, by an admin."""
        body = {
            "name": name,
            "scopes": None if scopes is None else list(scopes),
            "expires_in_days": expires_in_days,
            "user_id": user_id,
        }
        return self._api.call(calls.CREATE_KEY, body)

    def revoke_key(self, prefix: str) -> None:
        self._api.call(calls.REVOKE_KEY, prefix=prefix)

    # Users, for admins

    def users(self, username: str | None = None) -> Iterator[User]:
        return items(self._api, calls.LIST_USERS, {"username": username})

    def user(self, user_id: str) -> User:
        return self._api.call(calls.GET_USER, user_id=user_id)

    def create_user(self, username: str, *, password: str | None = None, is_admin: bool = False) -> User:
        return self._api.call(calls.CREATE_USER, {"username": username, "password": password, "is_admin": is_admin})

    def change_user(
        self,
        user_id: str,
        *,
        password: str | None = None,
        disabled: bool | None = None,
        is_admin: bool | None = None,
    ) -> User:
        """What is None stays as it is."""
        body = {"password": password, "disabled": disabled, "is_admin": is_admin}
        return self._api.call(calls.CHANGE_USER, body, user_id=user_id)

    def remove_user(self, user_id: str) -> Removal:
        return self._api.call(calls.REMOVE_USER, user_id=user_id)

    # What was done, for admins

    def audit(
        self,
        *,
        user_id: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[AuditEntry]:
        """The latest first; times with their zone."""
        query = {
            "user_id": user_id,
            "action": action,
            "subject": subject,
            "since": since and since.isoformat(),
            "until": until and until.isoformat(),
        }
        return items(self._api, calls.LIST_AUDIT, query)

"""Logging in at an OpenID provider, which here is a tiny one of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from sqlalchemy import text
from starlette.applications import Starlette

from common.errors import ConfigurationError
from common.services import Services
from common.settings import Settings
from router.web.oidc import oidc_routes
from tests.integration.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, provider

pytestmark = pytest.mark.integration

LOGIN, CALLBACK = "/v1/auth/oidc/login", "/v1/auth/oidc/callback"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def idp() -> Iterator[Provider]:
    with provider() as made:
        yield made


def configured(database_url: str, idp: Provider, **more: Any) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        jwt_secret=SecretStr("s" * 32),
        oidc_issuer=idp.url,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=SecretStr(CLIENT_SECRET),
        public_url="https://brigade.example.org",
        **more,
    )


@pytest.fixture
def services(database_url: str, idp: Provider) -> Iterator[Services]:
    with closing(Services(configured(database_url, idp))) as services:
        yield services


class Browser:
    """One person's: it keeps cookies."""

    def __init__(self, services: Services, idp: Provider) -> None:
        self._idp = idp
        app = Starlette(routes=oidc_routes(services.settings, services))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://brigade.example.org")

    async def leave(self) -> httpx.Response:
        answer = await self.http.get(LOGIN)
        assert answer.status_code == 302, answer.text
        return answer

    async def log_in(self) -> httpx.Response:
        back = self._idp.authorize((await self.leave()).headers["location"])
        return await self.http.get(CALLBACK, params=back)


@pytest.fixture
def browser(services: Services, idp: Provider) -> Browser:
    return Browser(services, idp)


def users(services: Services) -> dict[str, str]:
    with services.database.transaction() as connection:
        rows = connection.execute(text("SELECT username, oidc_subject FROM users WHERE oidc_issuer IS NOT NULL"))
        return {row.username: row.oidc_subject for row in rows}


@pytest.mark.anyio
async def test_who_logs_in_there_is_known_here_the_same_person_each_time(services: Services, browser: Browser) -> None:
    tokens = [(await browser.log_in()).json() for _ in range(2)]
    callers = {services.authenticator.principal(token["access_token"]).user_id for token in tokens}
    assert len(callers) == 1
    assert users(services) == {"ada": "42"}
    with services.database.transaction() as connection:
        actions = connection.execute(text("SELECT action FROM audit_log ORDER BY id")).scalars().all()
    assert actions == ["user.create", "login.oidc", "login.oidc"]


@pytest.mark.anyio
async def test_a_name_that_is_taken_is_given_to_nobody_twice(
    services: Services, idp: Provider, browser: Browser
) -> None:
    idp.names = {"preferred_username": "admin"}
    token = (await browser.log_in()).json()["access_token"]
    assert services.authenticator.principal(token).user_id != "admin"
    assert not services.authenticator.principal(token).is_admin
    idp.subject = "43"
    await browser.log_in()
    assert users(services) == {"admin-2": "42", "admin-3": "43"}


@pytest.mark.anyio
async def test_who_asks_for_what_is_said_to_the_provider_and_kept_for_minutes_from_scripts_and_other_sites(
    browser: Browser,
) -> None:
    answer = await browser.leave()
    query = httpx.URL(answer.headers["location"]).params
    assert query["redirect_uri"] == f"https://brigade.example.org{CALLBACK}"
    assert query["code_challenge_method"] == "S256"
    assert {"nonce", "state", "code_challenge"} <= set(query.keys())
    cookie = answer.headers["set-cookie"].lower()
    for part in ("secure", "httponly", "samesite=lax", "max-age=600", "path=/v1/auth/oidc;"):
        assert part in cookie


@pytest.mark.anyio
@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": "another", "azp": CLIENT_ID},
        {"iss": "https://another.example.org"},
        {"exp": 1},
    ],
)
async def test_a_word_of_the_provider_that_is_not_for_this_login_is_refused(
    services: Services, idp: Provider, browser: Browser, claims: dict[str, Any]
) -> None:
    idp.claims = claims
    assert (await browser.log_in()).status_code == 401
    assert users(services) == {}


@pytest.mark.anyio
async def test_a_word_signed_by_another_is_refused(services: Services, idp: Provider, browser: Browser) -> None:
    idp.signing_key = RSAKey.generate_key(2048, {"kid": "1"})
    assert (await browser.log_in()).status_code == 401
    assert users(services) == {}


@pytest.mark.anyio
async def test_an_answer_that_comes_twice_or_to_another_browser_is_refused(
    services: Services, idp: Provider, browser: Browser
) -> None:
    back = idp.authorize((await browser.leave()).headers["location"])
    before = dict(browser.http.cookies)
    stranger = Browser(services, idp)
    assert (await stranger.http.get(CALLBACK, params=back)).status_code == 401
    assert (await browser.http.get(CALLBACK, params=back | {"state": "another"})).status_code == 401
    browser.http.cookies.update(before)
    assert (await browser.http.get(CALLBACK, params=back)).status_code == 200
    assert (await browser.http.get(CALLBACK, params=back)).status_code == 401
    # A cookie from before: its state is right again, but the provider gives nothing for a code twice.
    browser.http.cookies.update(before)
    assert (await browser.http.get(CALLBACK, params=back)).status_code == 401


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "?code=a", "?error=access_denied&state=a", "?code=a&state=%00"])
async def test_a_callback_that_nobody_began_is_refused(browser: Browser, query: str) -> None:
    assert (await browser.http.get(CALLBACK + query)).status_code == 401


@pytest.mark.anyio
async def test_who_is_disabled_here_is_refused(services: Services, browser: Browser) -> None:
    await browser.log_in()
    with services.database.transaction() as connection:
        connection.execute(text("UPDATE users SET disabled_at = now() WHERE username = 'ada'"))
    assert (await browser.log_in()).status_code == 403


@pytest.mark.anyio
async def test_where_nobody_is_made_only_who_is_known_gets_in(database_url: str, idp: Provider) -> None:
    with closing(Services(configured(database_url, idp, oidc_create_users=False))) as services:
        assert (await Browser(services, idp).log_in()).status_code == 403
        assert users(services) == {}


@pytest.mark.anyio
async def test_a_provider_that_is_away_is_503(database_url: str, idp: Provider) -> None:
    settings = configured(database_url, idp).model_copy(update={"oidc_issuer": "http://127.0.0.1:1"})
    with closing(Services(settings)) as services:
        answer = await Browser(services, idp).http.get(LOGIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")


def test_without_an_issuer_there_are_no_such_routes_and_with_half_of_it_no_start() -> None:
    assert oidc_routes(Settings(), Services(Settings())) == []
    for half in (
        Settings(oidc_issuer="https://a", jwt_secret=SecretStr("s" * 32)),
        Settings(oidc_issuer="https://a", oidc_client_id="a", oidc_client_secret=SecretStr("b")),
    ):
        with pytest.raises(ConfigurationError):
            oidc_routes(half, Services(half))

"""What every answer carries, and what browsers of other sites are told."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from common.settings import Settings
from router.app import create_app
from router.web.docs import docs

SITE = "https://app.example.org"


def ask(method: str, path: str, scheme: str = "http", origins: tuple[str, ...] = (), **options: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        app = create_app(Settings(allowed_origins=list(origins)))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://api") as http:
            return await http.request(method, path, **options)

    return asyncio.run(one())


@pytest.mark.parametrize("path", ["/healthz", "/v1/tasks", "/nowhere", "/openapi.json", "/docs", "/docs/start.js"])
def test_every_answer_has_the_security_headers(path: str) -> None:
    headers = ask("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers
    assert headers["x-request-id"]


def test_what_is_somebodys_is_stored_nowhere_and_what_is_everybodys_is() -> None:
    assert ask("GET", "/v1/tasks").headers["cache-control"] == "no-store"
    assert "public" in ask("GET", "/docs/swagger-ui.css").headers["cache-control"]


def test_over_https_browsers_are_told_to_stay_there() -> None:
    assert "max-age" in ask("GET", "/healthz", scheme="https").headers["strict-transport-security"]


@pytest.mark.parametrize(("given", "kept"), [("a-B_9.z", True), ("x" * 65, False), ("a b", False), ("", False)])
def test_a_request_id_that_is_a_word_comes_back_and_any_other_is_replaced(given: str, kept: bool) -> None:
    answered = ask("GET", "/healthz", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert (answered == given) is kept
    assert answered


def test_a_fault_is_logged_once_by_the_name_that_the_client_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr("router.web.serve.admit", fails)
    answer = ask("GET", "/v1/tasks", headers={"X-Request-Id": "mine-7", "X-API-Key": "k"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine-7")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in answer.text
    logged = capsys.readouterr().err
    assert logged.count("request.failed") == 1
    assert "mine-7" in logged


def test_pages_of_other_sites_may_call_only_where_it_was_set() -> None:
    preflight = {
        "Origin": SITE,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "X-API-Key",
    }
    assert "access-control-allow-origin" not in ask("OPTIONS", "/v1/tasks", headers=preflight).headers
    allowed = ask("OPTIONS", "/v1/tasks", origins=(SITE,), headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == SITE
    assert "access-control-allow-credentials" not in allowed.headers
    answer = ask("GET", "/v1/tasks", origins=(SITE,), headers={"Origin": SITE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, SITE)


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "https://evil.example"},
        {"Access-Control-Request-Method": "TRACE"},
        {"Access-Control-Request-Headers": "Cookie"},
    ],
)
def test_what_other_sites_may_not_is_refused_in_the_one_shape(changed: dict[str, str]) -> None:
    preflight = {"Origin": SITE, "Access-Control-Request-Method": "GET", **changed}
    refusal = ask("OPTIONS", "/v1/tasks", origins=(SITE,), headers=preflight)
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (403, "CORS_REFUSED")
    if "Origin" in changed:
        assert "access-control-allow-origin" not in refusal.headers


def test_a_fault_can_be_read_by_the_page_that_met_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr("router.web.serve.admit", fails)
    answer = ask("GET", "/v1/tasks", origins=(SITE,), headers={"Origin": SITE, "X-API-Key": "k"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, SITE)


def test_the_page_asks_no_other_site_and_all_that_it_asks_for_is_there() -> None:
    page = ask("GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in page.text.replace("<!DOCTYPE html>", "")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    for served in docs()[1:]:
        answer = ask("GET", served.path)
        assert answer.status_code == 200
        assert answer.content

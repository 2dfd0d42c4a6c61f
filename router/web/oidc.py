"""Logging in at another's: OpenID Connect with PKCE, by Authlib. Only where BRIGADE_OIDC_ISSUER is set."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import httpx2
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth, StarletteOAuth2App
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from common import audit, users
from common.access_tokens import AccessToken
from common.errors import BrigadeError, ConfigurationError, Forbidden, Unauthenticated, Unavailable
from common.http import Reply
from common.principal import Principal
from common.services import Services
from common.settings import Settings
from functions.http.auth import issue
from router.web.credentials import address_of
from router.web.replies import error_reply, response

log = structlog.get_logger()

# One address, since a provider must be told where it may send people back to.
_PATH = "/v1/auth/oidc"
_LOGIN, _CALLBACK = f"{_PATH}/login", f"{_PATH}/callback"
# Between leaving for the provider and coming back, second factor included.
_COOKIE_SECONDS = 600
_COOKIE = "brigade_oidc"
_NAME_CHARACTERS = 90


def oidc_routes(settings: Settings, services: Services) -> list[Route]:
    """`GET /v1/auth/oidc/login` and `/v1/auth/oidc/callback`; none unless an issuer is configured.

    Raises `ConfigurationError` if it is, but not wholly.
    """
    if not settings.oidc_issuer:
        return []
    if not settings.oidc_client_id or not settings.oidc_client_secret.get_secret_value():
        raise ConfigurationError("BRIGADE_OIDC_ISSUER needs BRIGADE_OIDC_CLIENT_ID and BRIGADE_OIDC_CLIENT_SECRET.")
    services.access_tokens.demand()  # it signs the cookie, too
    site = (settings.public_url or settings.url).rstrip("/")
    login = _Login(settings, services, site + _CALLBACK)
    session = Middleware(
        SessionMiddleware,
        secret_key=_cookie_secret(settings),
        session_cookie=_COOKIE,
        max_age=_COOKIE_SECONDS,
        path=_PATH,
        same_site="lax",
        https_only=site.startswith("https:"),
    )
    return [
        Route(path, _answering(path, answer), middleware=[session])
        for path, answer in ((_LOGIN, login.leave), (_CALLBACK, login.come_back))
    ]


class _Login:
    def __init__(self, settings: Settings, services: Services, callback: str) -> None:
        self._services = services
        self._callback = callback
        self._issuer = settings.oidc_issuer
        self._creates = settings.oidc_create_users
        # Without these the issuer is what the provider says, and a token for another client that names us passes.
        self._expected = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": settings.oidc_client_id},
        }
        self._provider: StarletteOAuth2App = OAuth().register(
            "provider",
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret.get_secret_value(),
            server_metadata_url=f"{self._issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": settings.oidc_scopes,
                "code_challenge_method": "S256",
                "timeout": settings.server_timeout_seconds,
            },
        )

    async def leave(self, request: Request) -> Response:
        """Send the browser to the provider."""
        redirect: Response = await self._provider.authorize_redirect(request, self._callback)
        return redirect

    async def come_back(self, request: Request) -> Reply[AccessToken]:
        """Whom the provider sent back, with its word who they are."""
        token = await self._provider.authorize_access_token(request, claims_options=self._expected)
        claims = token.get("userinfo")
        if not claims:
            raise Unauthenticated("The provider did not say who you are.")
        address = address_of(request)
        return Reply(await run_in_threadpool(self._log_in, claims, address))

    def _log_in(self, claims: Mapping[str, Any], address: str) -> AccessToken:
        subject = str(claims["sub"])
        with self._services.database.transaction() as connection:
            user_id = users.with_identity(connection, self._issuer, subject)
            if user_id is None:
                if not self._creates:
                    raise Forbidden("You have no account here: ask an admin for one.")
                # Never one who is there: that a provider calls somebody by a name proves nothing here.
                username = users.free_username(connection, _names(claims, subject))
                user_id = users.create(connection, username, oidc=(self._issuer, subject))
                who = Principal(user_id, is_admin=False, credential="oidc")
                audit.record(connection, who, "user.create", user_id, username=username, is_admin=False)
        token = issue(self._services, user_id, "login.oidc", address)
        if token is None:
            raise Forbidden("This account is disabled.")
        return token


def _answering(
    path: str, answer: Callable[[Request], Coroutine[Any, Any, Response | Reply[Any]]]
) -> Callable[[Request], Any]:
    async def answered(request: Request) -> Response:
        try:
            made = await answer(request)
        except OAuthError as error:
            log.warning("oidc.refused", reason=str(error))
            made = error_reply(Unauthenticated("The login was not completed: begin it again."))
        except JoseError as error:
            log.warning("oidc.refused", reason=str(error))
            made = error_reply(Unauthenticated("The provider's word who you are is not valid."))
        except (httpx2.HTTPError, ValueError) as error:  # ValueError: it is no JSON
            log.warning("oidc.unavailable", reason=f"{type(error).__name__}: {error}")
            made = error_reply(Unavailable("The OIDC provider does not answer.", server="oidc"))
        except BrigadeError as error:
            made = error_reply(error)
        return made if isinstance(made, Response) else response(made, request.method, path)

    return answered


def _names(claims: Mapping[str, Any], subject: str) -> Iterator[str]:
    """What to call a new user: as the provider does, else with a number, which two of the same name need."""
    wanted = claims.get("preferred_username") or claims.get("email") or subject
    name = re.sub(r"[^\w.@+-]+", "-", str(wanted)).strip("-")[:_NAME_CHARACTERS] or "user"
    yield name
    for number in range(2, 1000):
        yield f"{name}-{number}"


def _cookie_secret(settings: Settings) -> str:
    """Of its own, so that what it signs is good for nothing else."""
    secret = settings.jwt_secret.get_secret_value().encode()
    return hmac.new(secret, b"brigade oidc cookie", hashlib.sha256).hexdigest()

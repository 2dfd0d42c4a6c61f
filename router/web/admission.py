"""Who asks: by the credential they show, and within what their credential and their address may ask for."""

from __future__ import annotations

from collections.abc import Mapping

from common.errors import NotFound, Unauthenticated
from common.principal import Principal
from common.security import authenticate
from common.services import Services
from router.web.rules import Rule

ANONYMOUS = Principal("", is_admin=False, scopes=frozenset())


def admit(services: Services, rule: Rule, key: str, path: Mapping[str, str], address: str) -> Principal:
    """Who calls; an error unless the rule lets them."""
    if any("\0" in value for value in path.values()):
        raise NotFound
    if rule.scope is None:
        return ANONYMOUS
    caller = identify(services, key, address)
    rule.check(services.database, caller, path)
    return caller


def identify(services: Services, credential: str, address: str) -> Principal:
    """Whose credential this is. Raises `Unauthenticated`, or `TooMany` for too many requests or wrong credentials."""
    limits = services.limits
    limits.guess(address, credential)
    try:
        caller = authenticate(services, credential)
    except Unauthenticated:
        limits.was_wrong(address, credential)
        raise
    limits.was_right(credential)
    limits.request(caller)
    return caller

"""How often one may ask, and who pays for it."""

from __future__ import annotations

import pytest

from common import limits as module
from common.errors import TooMany
from common.limits import Limits
from common.principal import Principal
from common.settings import Settings

ANNA, OTTO = (Principal(name, is_admin=False, credential=f"bb_{name}") for name in ("anna", "otto"))


class Clock:
    now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def limits(**settings: int) -> Limits:
    return Limits(Settings.model_validate(settings))


def test_a_credential_that_asks_too_often_is_told_when_to_come_back(clock: Clock) -> None:
    limited = limits(requests_per_minute=2)
    limited.request(ANNA)
    clock.now += 20
    limited.request(ANNA)
    with pytest.raises(TooMany) as caught:
        limited.request(ANNA)
    assert caught.value.retry_after == 40
    limited.request(OTTO)
    clock.now += 41
    limited.request(ANNA)


def test_zero_means_that_nothing_is_limited(clock: Clock) -> None:
    unlimited = limits(requests_per_minute=0, logins_per_minute=0, failures_per_minute=0)
    for _ in range(1000):
        unlimited.request(ANNA)
        unlimited.login("anna", "1.2.3.4")
        unlimited.was_wrong("1.2.3.4", "guess")
        unlimited.guess("1.2.3.4", "guess")


def test_wrong_passwords_are_counted_by_name_and_by_address(clock: Clock) -> None:
    limited = limits(logins_per_minute=3, failures_per_minute=5)
    for number in range(3):
        limited.login("anna", f"9.9.9.{number}")
        limited.login_was_wrong("anna", f"9.9.9.{number}")
    with pytest.raises(TooMany, match="this user"):
        limited.login("anna", "8.8.8.8")
    for number in range(5):
        limited.login(f"name-{number}", "1.2.3.4")
        limited.login_was_wrong(f"name-{number}", "1.2.3.4")
    with pytest.raises(TooMany, match="this address"):
        limited.login("another", "1.2.3.4")


def test_right_passwords_are_not_counted(clock: Clock) -> None:
    limited = limits(logins_per_minute=1)
    for _ in range(100):
        limited.login("anna", "1.2.3.4")


def test_an_address_that_guesses_is_shut_out_but_not_who_was_right_there(clock: Clock) -> None:
    limited = limits(failures_per_minute=3)
    limited.was_right("good")
    for number in range(3):
        limited.guess("1.2.3.4", f"guess-{number}")
        limited.was_wrong("1.2.3.4", f"guess-{number}")
    with pytest.raises(TooMany):
        limited.guess("1.2.3.4", "another")
    limited.guess("1.2.3.4", "good")
    limited.guess("5.6.7.8", "another")
    limited.was_wrong("1.2.3.4", "good")  # it was revoked
    with pytest.raises(TooMany):
        limited.guess("1.2.3.4", "good")


def test_whoever_has_one_ipv6_address_has_those_beside_it(clock: Clock) -> None:
    limited = limits(failures_per_minute=1)
    limited.login_was_wrong("anna", "2001:db8::1")
    with pytest.raises(TooMany):
        limited.login("otto", "2001:db8::2")
    limited.login("otto", "2001:db8:1::2")


def test_a_server_that_listens_on_both_sees_ipv4_addresses_as_different_ones(clock: Clock) -> None:
    limited = limits(failures_per_minute=1)
    limited.login_was_wrong("anna", "::ffff:1.2.3.4")
    limited.login("otto", "::ffff:1.2.3.5")
    with pytest.raises(TooMany, match="this address"):
        limited.login("another", "1.2.3.4")


def test_a_name_written_in_another_form_is_the_same_name(clock: Clock) -> None:
    limited = limits(logins_per_minute=1)
    limited.login_was_wrong("anna", "1.2.3.4")
    with pytest.raises(TooMany, match="this user"):
        limited.login("ａｎｎａ", "1.2.3.5")


def test_what_is_over_is_forgotten(clock: Clock) -> None:
    limited = limits(logins_per_minute=1)
    for number in range(100):
        limited.login_was_wrong(f"name-{number}", f"1.2.3.{number}")
    clock.now += 61
    limited.login_was_wrong("anna", "9.9.9.9")
    assert len(limited._limiter.storage._counts) == 2  # type: ignore[attr-defined]

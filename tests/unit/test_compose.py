"""docker-compose.yml and what goes with it, checked without Docker: whole, safe, and agreeing with our code."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from common.presigner import signing_key
from common.settings import Settings
from deploy.docker import env
from router import topology

ROOT = Path(__file__).parents[2]
OURS = ("api", "worker", "scheduler", "migrate")
SECRET = re.compile(r"PASS|SECRET|TOKEN|(?<!ACCESS)_KEY")
REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?P<how>:\?|:-)(?P<rest>[^}]*)\}")
# The settings of a target that Silo and MinIO know and that we use.
WEBHOOK = {"ENABLE", "ENDPOINT", "AUTH_TOKEN", "QUEUE_DIR"}
AMQP = {
    *("ENABLE", "URL", "EXCHANGE", "EXCHANGE_TYPE", "DURABLE"),
    *("DELIVERY_MODE", "PUBLISHING_CONFIRMS", "QUEUE_DIR"),
}

SOURCE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text()
EXAMPLE = env.EXAMPLE.read_text()


def assignments(text: str) -> dict[str, str]:
    return dict(re.findall(r"^#?([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))


def rendered(environment: dict[str, str]) -> dict[str, Any]:
    """The compose file as Docker would read it with this .env."""

    def value(reference: re.Match[str]) -> str:
        found = environment.get(reference["name"])
        if not found and reference["how"] == ":?":
            raise KeyError(reference["name"])
        return found or reference["rest"]

    compose: dict[str, Any] = yaml.safe_load(REFERENCE.sub(value, SOURCE))
    return compose


COMPOSE = rendered({name: value for name, value in assignments(env.filled(EXAMPLE)).items() if value})
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
STORE: dict[str, str] = SERVICES["store"]["environment"]


def settings(service: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in SERVICES[service]["environment"].items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=None)


def targets(kind: str) -> dict[str, dict[str, str]]:
    """The store's notification targets of a kind, by name, with their settings."""
    found: dict[str, dict[str, str]] = {}
    for variable, value in STORE.items():
        if match := re.fullmatch(rf"MINIO_NOTIFY_{kind}_(\w+)_([A-Z]+)", variable):
            found.setdefault(match[2], {})[match[1]] = value
    return found


def instructions(name: str) -> Iterator[list[str]]:
    """The words after each instruction of this name in the Dockerfile."""
    for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines():
        if line.startswith(name + " "):
            yield shlex.split(line)[1:]


def copied() -> list[str]:
    return [source for words in instructions("COPY") if not words[0].startswith("--from") for source in words[:-1]]


def test_every_variable_of_ours_is_a_setting() -> None:
    known = {f"BRIGADE_{name.upper()}" for name in Settings.model_fields}
    used = set(re.findall(r"\bBRIGADE_[A-Z0-9_]+", SOURCE + DOCKERFILE + EXAMPLE))
    assert used - known - {"BRIGADE_ENV_FILE"} == set()


@pytest.mark.parametrize("service", OURS)
def test_the_environment_of_each_process_makes_settings(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(service, monkeypatch)


def test_one_image_serves_all_processes() -> None:
    assert len({SERVICES[name]["image"] for name in OURS}) == 1
    assert [SERVICES[name]["command"] for name in OURS] == [[name] for name in OURS]
    assert list(instructions("ENTRYPOINT")) == [["[brigade]"]]


def test_every_image_is_pinned_to_a_version() -> None:
    stages = [words[2] for words in instructions("FROM") if len(words) == 3]
    bases = [words[0] for words in instructions("FROM")]
    images = [service["image"] for service in SERVICES.values()] + [base for base in bases if base not in stages]
    assert [image for image in images if not re.search(r":\D*\d+[.-]\d+[^:]*$", image)] == []


def test_every_service_that_stays_says_whether_it_is_well_and_comes_back() -> None:
    staying = {name: service for name, service in SERVICES.items() if name != "migrate"}
    assert [name for name, service in staying.items() if not service["healthcheck"]["test"]] == []
    assert {service["restart"] for service in staying.values()} == {"unless-stopped"}


def test_ours_wait_for_migrate_and_migrate_waits_for_every_server() -> None:
    for name in ("api", "worker", "scheduler"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    servers = SERVICES.keys() - set(OURS)
    assert SERVICES["migrate"]["depends_on"] == {name: {"condition": "service_healthy"} for name in servers}


def test_ports_are_published_on_loopback_only() -> None:
    published = {name: port for name, service in SERVICES.items() for port in service.get("ports", [])}
    assert published.keys() == {"api", "store"}
    assert [port for port in published.values() if not port.startswith("127.0.0.1:")] == []


def test_the_api_listens_where_the_container_network_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    api = settings("api", monkeypatch)
    assert api.api_host == "0.0.0.0"
    assert SERVICES["api"]["ports"] == [f"127.0.0.1:8080:{api.api_port}"]


def test_ours_run_with_as_few_rights_as_they_need() -> None:
    for name in OURS:
        assert SERVICES[name]["read_only"]
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    assert list(instructions("USER")) == [["brigade"]]


def test_no_secret_is_written_down_or_has_a_default() -> None:
    written = yaml.safe_load(SOURCE)["services"]
    for name, service in written.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable) or "@" in value:
                assert REFERENCE.search(value), f"{name}: {variable} is written down"
    for reference in REFERENCE.finditer(SOURCE):
        assert reference["how"] == ":?" or not SECRET.search(reference["name"]), f"{reference['name']} has a default"


def test_what_is_missing_from_the_env_file_is_named() -> None:
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        rendered({})


def test_the_example_names_every_variable_that_is_asked_for_and_no_secret() -> None:
    example = assignments(EXAMPLE)
    assert {reference["name"] for reference in REFERENCE.finditer(SOURCE)} <= example.keys()
    assert [name for name, value in example.items() if SECRET.search(name) and value] == []


def test_the_env_file_is_for_its_owner_and_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    env.main()
    made = (tmp_path / ".env").read_text()
    secrets = [value for name, value in assignments(made).items() if SECRET.search(name)]
    assert len(set(secrets)) == len(secrets) == 8
    assert all(re.fullmatch(r"[0-9a-f]{32}", secret) for secret in secrets)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    with pytest.raises(SystemExit, match="there already"):
        env.main()
    assert (tmp_path / ".env").read_text() == made


def test_the_stores_targets_are_those_that_the_rules_name(monkeypatch: pytest.MonkeyPatch) -> None:
    webhooks, queues = targets("WEBHOOK"), targets("AMQP")
    arns = [f"arn:minio:sqs::{name}:webhook" for name in webhooks] + [f"arn:minio:sqs::{name}:amqp" for name in queues]
    assert sorted(arns) == sorted(settings("migrate", monkeypatch).notification_arns)
    assert {target["ENABLE"] for target in (*webhooks.values(), *queues.values())} == {"on"}


def test_the_store_calls_our_webhook_with_our_token_on_a_fast_and_a_safe_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    webhooks, api = targets("WEBHOOK"), settings("api", monkeypatch)
    assert webhooks.keys() == {"FAST", "SAFE"}
    for webhook in webhooks.values():
        assert webhook.keys() <= WEBHOOK
        assert webhook["ENDPOINT"] == f"http://api:{api.api_port}/events/s3"
        assert webhook["AUTH_TOKEN"] == api.events_token.get_secret_value()
    assert "QUEUE_DIR" not in webhooks["FAST"]
    assert on_a_volume("store", webhooks["SAFE"]["QUEUE_DIR"])


def test_the_store_and_our_topology_declare_the_same_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    (target,) = targets("AMQP").values()
    (declared,) = (exchange for exchange in topology.exchanges() if exchange.name == target["EXCHANGE"])
    bound = [binding for queue in topology.queues() for binding in queue.bindings if binding[0] == declared.name]
    assert target.keys() == AMQP
    assert target["EXCHANGE"] == topology.NOTIFICATIONS
    assert target["EXCHANGE_TYPE"] == declared.type
    assert target["DURABLE"] == target["PUBLISHING_CONFIRMS"] == "on"
    assert target["DELIVERY_MODE"] == "2"
    assert target["URL"] == settings("worker", monkeypatch).amqp_url.get_secret_value()
    assert on_a_volume("store", target["QUEUE_DIR"])
    assert bound == [(topology.NOTIFICATIONS, "#")]


def test_ours_have_the_keys_of_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = settings("worker", monkeypatch)
    database, broker = urlsplit(ours.database_url.get_secret_value()), urlsplit(ours.amqp_url.get_secret_value())
    postgres, rabbitmq = SERVICES["postgres"]["environment"], SERVICES["rabbitmq"]["environment"]
    milvus = SERVICES["milvus"]["environment"]
    assert (database.username, database.password) == (postgres["POSTGRES_USER"], postgres["POSTGRES_PASSWORD"])
    assert database.path == f"/{postgres['POSTGRES_DB']}"
    assert (broker.username, broker.password) == (rabbitmq["RABBITMQ_DEFAULT_USER"], rabbitmq["RABBITMQ_DEFAULT_PASS"])
    assert ours.milvus_token.get_secret_value() == f"root:{milvus['COMMON_SECURITY_DEFAULTROOTPASSWORD']}"
    assert ours.s3_access_key.get_secret_value() == STORE["MINIO_ROOT_USER"]
    assert ours.s3_secret_key.get_secret_value() == STORE["MINIO_ROOT_PASSWORD"]
    hosts = {urlsplit(url).hostname for url in (ours.s3_endpoint, ours.milvus_uri)} | {
        database.hostname,
        broker.hostname,
    }
    assert hosts <= SERVICES.keys()


def test_only_who_signs_uploads_or_makes_the_key_for_it_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    having = [name for name, service in SERVICES.items() if "SIGNING" in str(service.get("environment", {}))]
    assert sorted(having) == ["api", "migrate"]
    main = settings("worker", monkeypatch)
    signing, made = (signing_key(settings(name, monkeypatch)) for name in ("api", "migrate"))
    assert signing
    assert made
    assert (signing.access_key, signing.secret_key) == (made.access_key, made.secret_key)
    assert signing.access_key != main.s3_access_key.get_secret_value()
    assert signing.secret_key != main.s3_secret_key.get_secret_value()


@pytest.mark.parametrize(("given", "origins"), [("", []), ('["https://a.example"]', ["https://a.example"])])
def test_sites_that_may_upload_are_told_to_the_api_and_to_migrate(
    given: str, origins: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    services = rendered(assignments(env.filled(EXAMPLE)) | {"BRIGADE_ALLOWED_ORIGINS": given})["services"]
    for name in ("api", "migrate"):
        monkeypatch.setenv("BRIGADE_ALLOWED_ORIGINS", services[name]["environment"]["BRIGADE_ALLOWED_ORIGINS"])
        assert Settings(_env_file=None).allowed_origins == origins


def test_what_is_mounted_exists_and_every_volume_is_used() -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert sorted(set(mounts) - set(files)) == sorted(COMPOSE["volumes"])


def test_what_the_image_is_made_of_exists_and_reaches_the_builder() -> None:
    ignored, *kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored == "*"
    for source in copied():
        assert (ROOT / source).exists(), f"{source} does not exist"
        assert f"!{source.split('/')[0]}" in kept, f"{source} is ignored"


def test_all_our_code_and_only_hashed_packages_are_in_the_image() -> None:
    assert {"common", "functions", "router", "deploy"} <= set(copied())
    for words in instructions("RUN"):
        if words[:2] == ["pip", "install"]:
            assert "--require-hashes" in words or words == ["pip", "install", "--no-deps", "."]


def on_a_volume(service: str, path: str) -> bool:
    return path in {mount.split(":")[1] for mount in SERVICES[service]["volumes"]}

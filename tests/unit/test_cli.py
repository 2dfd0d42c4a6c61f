from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from deploy.cli import app, output
from deploy.cli.progress import document_bars
from deploy.cli.uploads import Outcome, Uploads
from deploy.client import Client
from deploy.local import environment
from tests.unit.fake_api import KEY, FakeApi, fake_api

Run = Callable[..., Any]


def test_what_others_named_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=said))
    monkeypatch.setattr(output, "err", Console(file=said))
    output.table(["key"], [["b/incoming/\x1b]52;c;aGk=\x07"], ["two\nlines"]])
    output.complain("The store refused incoming/\x1b[2J\x9b2J.")
    assert not {"\x1b", "\x9b", "\x07"} & set(said.getvalue())
    assert [line.strip() for line in said.getvalue().splitlines()][2:4] == ["two", "lines"]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with fake_api() as api:
        yield api


@pytest.fixture
def run(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls `brigade` in a directory below one with a `var/local.env`, as a user's second terminal would."""
    for name in ("BRIGADE_URL", "BRIGADE_API_KEY", "BRIGADE_ENV_FILE", "BRIGADE_VAR_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "var").mkdir()
    (tmp_path / "below").mkdir()
    environment.write(tmp_path / "var" / "local.env", {"BRIGADE_URL": api.url, "BRIGADE_API_KEY": KEY})
    monkeypatch.chdir(tmp_path / "below")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(name: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"The text of {name}.")
    return path


def test_a_file_is_uploaded_and_waited_for(run: Run, api: FakeApi) -> None:
    result = run("upload", document("a.txt"), "--wait")
    assert result.exit_code == 0
    assert "a.txt  can be searched" in result.stdout
    assert api.stored == {"d0": b"The text of a.txt."}


def test_without_waiting_the_task_is_told(run: Run) -> None:
    assert "brigade status --wait task-d0" in run("upload", document("a.txt")).stdout


def test_json_is_one_line_a_document_and_nothing_else(run: Run) -> None:
    result = run("upload", document("a.txt"), document("b.txt"), "--wait", "--json")
    outcomes = [json.loads(line) for line in result.stdout.splitlines()]
    assert {outcome["file"] for outcome in outcomes} == {"a.txt", "b.txt"}
    assert {outcome["status"] for outcome in outcomes} == {"COMPLETED"}


def test_directories_are_uploaded_however_deep_without_hidden_files(run: Run, api: FakeApi) -> None:
    document("all/a.txt"), document("all/deep/er/b.txt"), document("all/.git/c.txt"), document("all/.d.txt")
    assert run("upload", "all").exit_code == 0
    assert sorted(api.names.values()) == ["a.txt", "b.txt"]


def test_one_document_that_fails_is_told_with_its_reason_and_stops_no_other(run: Run, api: FakeApi) -> None:
    api.failing = frozenset({"bad.txt"})
    result = run("upload", document("bad.txt"), document("good.txt"), "--wait")
    assert result.exit_code == 1
    assert "good.txt  can be searched" in result.stdout
    assert "bad.txt: This PDF has no text layer." in result.stderr


def test_an_upload_that_the_store_refuses_fails_and_stops_no_other(run: Run, api: FakeApi) -> None:
    api.refused = frozenset({"bad.txt"})
    result = run("upload", document("bad.txt"), document("good.txt"), "--json")
    assert result.exit_code == 1
    errors = {outcome["file"]: outcome["error"] for outcome in map(json.loads, result.stdout.splitlines())}
    assert errors["good.txt"] is None
    assert "AccessDenied" in errors["bad.txt"]


def test_a_directory_without_files_is_an_error(run: Run) -> None:
    Path("empty").mkdir()
    result = run("upload", "empty")
    assert result.exit_code == 1
    assert "no file" in result.stderr


def test_a_file_that_is_not_there_is_a_usage_error(run: Run) -> None:
    assert run("upload", "nowhere.pdf").exit_code == 2


def test_a_status_shows_the_seven_steps(run: Run) -> None:
    run("upload", document("a.txt"))
    shown = run("status", "task-d0").stdout
    assert [line.split()[0] for line in shown.splitlines()[1:]] == [
        "UPLOAD",
        "VALIDATE",
        "EXTRACT_TEXT",
        "PREPROCESS",
        "SPLIT",
        "VECTORIZE",
        "STORE",
        "overall",
    ]
    assert "pages 4" in shown


def test_a_status_that_is_waited_for_tells_each_step_as_it_ends(run: Run) -> None:
    run("upload", document("a.txt"))
    result = run("status", "task-d0", "--wait", "--json")
    assert json.loads(result.stdout)["status"] == "COMPLETED"
    assert "VECTORIZE      completed" in result.stderr


def test_a_failed_task_is_exit_code_1_with_the_reason(run: Run, api: FakeApi) -> None:
    api.failing = frozenset({"a.txt"})
    run("upload", document("a.txt"), "--wait")
    result = run("status", "task-d0")
    assert result.exit_code == 1
    assert "no text layer" in result.stderr


def test_an_unknown_task_is_a_sentence_and_no_traceback(run: Run) -> None:
    result = run("status", "nowhere")
    assert result.exit_code == 1
    assert result.stderr == "Error: There is no task nowhere.\n"


def test_the_environment_comes_before_the_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIGADE_API_KEY", "another")
    assert "Send an API key" in run("search", "x").stderr


def test_the_local_key_is_not_sent_to_another_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_api() as other:
        monkeypatch.setenv("BRIGADE_URL", other.url)
        result = run("search", "x")
    assert result.exit_code == 1
    assert "Set BRIGADE_API_KEY" in result.stderr


def test_without_a_stack_it_says_what_to_set(run: Run, tmp_path: Path) -> None:
    (tmp_path / "var" / "local.env").unlink()
    assert "Set BRIGADE_URL and BRIGADE_API_KEY" in run("search", "x").stderr


def test_queues_of_a_broker_that_is_not_there_are_an_error_in_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIGADE_AMQP_URL", "amqp://guest:secret@127.0.0.1:1/")
    result = run("queues", "--json")
    assert result.exit_code == 1
    assert "RabbitMQ does not answer at 127.0.0.1:1" in result.stderr
    assert result.stdout == ""
    assert "secret" not in result.stderr


def test_a_wrong_setting_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIGADE_API_PORT", "many")
    result = run("queues")
    assert result.exit_code == 1
    assert "BRIGADE_API_PORT" in result.stderr


def test_a_terminal_sees_bytes_and_then_steps(api: FakeApi, tmp_path: Path) -> None:
    shown = io.StringIO()
    ended: list[Outcome] = []
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path in paths:
        path.write_bytes(b"x" * 1_500_000)
    with Client(api.url, KEY) as client, document_bars(Console(file=shown, force_terminal=True, width=120)) as bars:
        assert Uploads(client, bars, ended.append).run(paths, wait=True)
        bars.refresh()
    assert "of 1.5 MB" in shown.getvalue()
    assert "VALIDATE" in shown.getvalue()
    assert [outcome.status for outcome in ended] == ["COMPLETED", "COMPLETED"]


def test_a_function_is_run_by_hand_on_standard_input() -> None:
    one = b'{"number": 1, "text": "three  small words"}\n'
    run = CliRunner().invoke(app, ["invoke", "preprocess", "-"], input=one)
    assert (run.exit_code, run.stdout) == (0, '{"number":1,"text":"three small words"}\n')


def test_a_function_tells_what_it_takes_and_what_it_cannot_read(tmp_path: Path) -> None:
    wrong = tmp_path / "pages.jsonl"
    wrong.write_text('{"number": 1}\n')
    run = CliRunner().invoke(app, ["invoke", "preprocess", str(wrong)])
    assert run.exit_code == 1
    assert "takes a stream of Page" in run.stderr
    missing = CliRunner().invoke(app, ["invoke", "preprocess", str(tmp_path / "none")])
    assert missing.exit_code == 1
    assert "No such file" in missing.stderr

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from deploy.local import environment


def test_what_is_written_is_read_and_only_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "local.env"
    path.write_text("what stood there before")
    path.chmod(0o644)
    variables = {"BRIGADE_URL": "http://127.0.0.1:8080", "BRIGADE_API_KEY": "with $dollars #and \\ and spaces"}
    environment.write(path, variables)
    assert environment.read(path) == variables
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_shell_can_source_it(tmp_path: Path) -> None:
    path = tmp_path / "local.env"
    environment.write(path, {"BRIGADE_API_KEY": "with $dollars and spaces"})
    told = subprocess.run(["sh", "-c", f'. {path}; printf %s "$BRIGADE_API_KEY"'], capture_output=True, text=True)
    assert told.stdout == "with $dollars and spaces"


def test_it_is_found_from_the_directories_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIGADE_VAR_DIR", raising=False)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert environment.find(below) is None
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "local.env").touch()
    assert environment.find(below) == tmp_path / "var" / "local.env"


def test_a_directory_that_was_named_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "local.env").touch()
    monkeypatch.setenv("BRIGADE_VAR_DIR", str(tmp_path / "elsewhere"))
    assert environment.find(tmp_path) is None
    assert environment.directory() == tmp_path / "elsewhere"


def test_without_a_file_there_are_no_variables(tmp_path: Path) -> None:
    assert environment.read(tmp_path / "nowhere") == {}


def test_a_value_that_would_break_out_of_its_quotes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="BRIGADE_API_KEY"):
        environment.write(tmp_path / "local.env", {"BRIGADE_API_KEY": "it's"})

"""Programs of the machine in the jail: what they may, and what they may not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common import confinement
from common.errors import Rejected
from common.jail import Jail, Limits
from common.programs import executables
from functions import converters
from functions.extractors import DOC
from tests.unit import compound

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have none of it")

LIMITS: dict[str, Any] = {"wall_seconds": 20, "cpu_seconds": 10, "memory_bytes": 256 << 20, "output_bytes": 1 << 20}


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    jail = Jail()
    yield jail
    jail.close()


class Programs:
    def __init__(self, jail: Jail, path: Path) -> None:
        self._jail, self._path = jail, path
        (path / "document").write_text("The document's words.")

    def run(self, *command: str, data: tuple[str, ...] = (), **limits: Any) -> str:
        output = self._path / "output"
        output.unlink(missing_ok=True)
        given = Limits(**{**LIMITS, **limits})
        self._jail.run_program(command, input=self._path / "document", output=output, data=data, limits=given)
        return output.read_text()

    def script(self, text: str, **limits: Any) -> str:
        """Of /bin/sh, which has the document's path as $1."""
        file = self._path / "script"
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return self.run(str(file), **limits)


@pytest.fixture
def programs(jail: Jail, tmp_path: Path) -> Programs:
    return Programs(jail, tmp_path)


def test_what_a_program_prints_of_the_document_is_the_output(programs: Programs) -> None:
    assert programs.script('read line < "$1"; echo "$line"') == "The document's words.\n"
    assert programs.run(shutil.which("cat") or "") == "The document's words."


def test_a_program_has_no_environment_and_no_descriptor_but_its_output(programs: Programs) -> None:
    assert programs.script('echo "[$HOME$BRIGADE_S3_SECRET_KEY$PATH_]"') == "[]\n"
    assert programs.script("[ -e /proc/$$/fd/1 ] && [ ! -e /proc/$$/fd/3 ] && echo closed") == "closed\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exec /usr/bin/id", "another program"),
        ("echo x | read y", "a process"),
        ("echo x > /tmp/brigade-test-made", "a file"),
        ("read line < /etc/passwd", "another's file"),
        ("kill -9 $PPID", "a signal"),
    ],
)
@pytest.mark.skipif(not confinement.protections()["landlock"], reason="this kernel has no Landlock")
def test_a_program_is_refused_what_a_reader_is_refused(programs: Programs, script: str, why: str) -> None:
    try:
        printed = programs.script(f"{script} && echo succeeded")
    except Rejected:
        printed = ""
    assert "succeeded" not in printed
    assert not Path("/tmp/brigade-test-made").exists()


@pytest.mark.parametrize(
    ("script", "limits", "code"),
    [
        ("while :; do :; done", {"cpu_seconds": 1}, "EXTRACT_CPU"),
        ("while :; do :; done", {"wall_seconds": 0.5}, "EXTRACT_TIMEOUT"),
        ("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", {"output_bytes": 10_000}, "EXTRACT_OUTPUT"),
        ("exit 3", {}, "FILE_DAMAGED"),
        ("kill -SEGV $$", {}, "EXTRACT_CRASHED"),
    ],
)
def test_a_program_keeps_to_its_budgets(programs: Programs, script: str, limits: dict[str, Any], code: str) -> None:
    with pytest.raises(Rejected) as caught:
        programs.script(script, **limits)
    assert caught.value.code == code
    assert programs.script("echo next") == "next\n"


def test_a_function_may_still_execute_nothing(jail: Jail, tmp_path: Path) -> None:
    """Beside the other tests of the jail: that programs may does not loosen what readers may."""
    (tmp_path / "document").touch()
    options = {"name": "becomes a program"}
    target = "tests.unit.escapes:attempts"
    files = {"input": tmp_path / "document", "output": tmp_path / "output"}
    told = jail.run(target, options=options, limits=Limits(**LIMITS), **files)  # type: ignore[arg-type]
    assert "not permitted" in told["error"] or "denied" in told["error"]


def test_what_loads_a_program_is_found_in_it() -> None:
    cat = shutil.which("cat") or ""
    assert executables(cat)[0] == os.path.realpath(cat)
    assert len(executables(cat)) == 2
    assert all(os.access(path, os.X_OK) for path in executables(cat))


def test_a_machine_without_a_converter_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Rejected, match="needs catdoc or antiword, which is not installed") as caught:
        converters.converter(DOC.media_type, "old.doc")
    assert caught.value.code == "CONVERTER_MISSING"


@pytest.mark.skipif(
    not os.environ.get("CI") and shutil.which("catdoc") is None,
    reason="a laptop may lack catdoc; CI's machine must not",
)
def test_catdoc_reads_an_old_word_file_in_the_jail(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "document").write_bytes(compound.old_word("First paragraph.\nÄ second – one."))
    command, data = converters.converter(DOC.media_type, "old.doc")
    assert programs.run(*command, data=data).split("\n") == ["First paragraph.", "Ä second – one.", ""]

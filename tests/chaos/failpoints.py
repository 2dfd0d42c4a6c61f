"""The named points at which a process kills itself, each armed by making its flag file."""

from __future__ import annotations

from pathlib import Path

from router import topology

_STEP_POINTS = ("after_claim", "after_run", "after_finish", "after_publish", "after_ack")
# after_run of VALIDATE: pinned, and not written down. after_run of STORE: vectors written, and the step not finished.
POINTS = (
    *(f"{point}:{step}" for step in topology.step_names() for point in _STEP_POINTS),
    "after_vectors:REMOVE",  # vectors gone, rows still there
    "after_finish:UPLOAD",  # a task made of an event, its message not sent
    "after_publish:UPLOAD",  # sent, and the notification not acked
    "after_publish:RELAY",  # sent by the relay, and not yet written down as sent
)


class Flags:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def spec(self) -> str:
        """What BRIGADE_FAILPOINTS is to be."""
        return ",".join(f"{point}={self._file(point)}" for point in POINTS)

    def arm(self, point: str) -> None:
        self._file(point).touch()

    def disarm(self, point: str) -> bool:
        """Whether it was still armed: nobody came by."""
        file = self._file(point)
        armed = file.exists()
        file.unlink(missing_ok=True)
        return armed

    def fired(self, point: str) -> bool:
        return not self._file(point).exists()

    def _file(self, point: str) -> Path:
        return self._directory / point.replace(":", "-")

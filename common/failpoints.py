"""Named points at which a process kills itself, for tests that show that nothing is lost or doubled there.

BRIGADE_FAILPOINTS holds `point:STEP=flag-file` entries, comma-separated. Reaching one whose flag file exists removes
the file and ends the process by SIGKILL, so each fires once. Without the setting a point costs one look into a dict.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


class Failpoints:
    def __init__(self, spec: str) -> None:
        """`spec`: the setting's text."""
        self._flags = {
            point: Path(flag) for point, _, flag in (entry.partition("=") for entry in spec.split(",") if entry)
        }

    def reach(self, point: str, step: str) -> None:
        """Die here, if so set."""
        flag = self._flags.get(f"{point}:{step}")
        if flag is not None and flag.exists():
            flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


NONE = Failpoints("")

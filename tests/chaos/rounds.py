"""Rounds: load, a schedule of faults drawn from the seed, and the oracle; and the table of what came of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median

from tests.chaos.faults import FAULTS, Fault, Targets
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.oracle import DOUBLED, LOST, STUCK, WRONG, Oracle, Verdict
from tests.chaos.stage import Stage

# Two faults may overlap: what takes down two servers at once is a test of its own.
_LANES = 2


@dataclass(frozen=True)
class Plan:
    """`operations`: of the writers, a round. `long`: faults last as long as in the long form."""

    operations: int
    pace_seconds: float
    faults: int
    patience_seconds: float
    long: bool


SHORT = Plan(operations=30, pace_seconds=0.8, faults=6, patience_seconds=150, long=False)
# Without a protection a round ends when patience does: there need not be much of it.
SABOTAGED = Plan(operations=24, pace_seconds=0.5, faults=0, patience_seconds=45, long=False)
LONG = Plan(operations=90, pace_seconds=1.5, faults=8, patience_seconds=240, long=True)


@dataclass(frozen=True)
class Round:
    number: int
    seed: str
    faults: list[str]
    puts: int
    verdict: Verdict

    def __str__(self) -> str:
        outcome = "; ".join(map(str, self.verdict.faults[:20])) or "all is as it should be"
        return (
            f"round {self.number} (seed {self.seed}): {self.puts} puts, {', '.join(self.faults)}: "
            f"recovered in {self.verdict.seconds:.1f} s: {outcome}"
        )


@dataclass
class Series:
    """Rounds on one stage, each on top of what the earlier ones left."""

    stage: Stage
    plan: Plan
    rounds: list[Round] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    def play(self, number: int, kinds: Sequence[str] | None = None) -> Round:
        """One round, with these faults in this order, or with some drawn by the seed."""
        seed = f"{self.stage.seed}/{number}"
        random = Random(seed)
        names = list(kinds) if kinds is not None else self._draw(random)
        puts = self.ledger.puts
        load = Load(
            self.stage,
            self.ledger,
            seed=seed,
            operations=self.plan.operations,
            pace_seconds=self.plan.pace_seconds,
        )
        load.start()
        injected = _Injector(self.stage, [FAULTS[name] for name in names], seed, self.plan.long).run()
        load.join()
        verdict = Oracle(self.stage, self.ledger).judge(self.plan.patience_seconds)
        played = Round(number, seed, injected, self.ledger.puts - puts, verdict)
        self.rounds.append(played)
        return played

    def _draw(self, random: Random) -> list[str]:
        possible = sorted(name for name, fault in FAULTS.items() if not fault.missing(self.stage))
        return random.sample(possible, min(self.plan.faults, len(possible)))

    def table(self) -> str:
        """What came of all rounds, in Markdown."""
        verdicts = [one.verdict for one in self.rounds]
        seconds = [verdict.seconds for verdict in verdicts]
        injected = Counter(name for one in self.rounds for name in one.faults)
        kinds = {kind: sum(verdict.count(kind) for verdict in verdicts) for kind in (LOST, DOUBLED, STUCK, WRONG)}
        figures = [
            len(self.rounds),
            injected.total(),
            sum(one.puts for one in self.rounds),
            *kinds.values(),
            f"{median(seconds) if seconds else 0:.1f} s",
            f"{max(seconds, default=0):.1f} s",
        ]
        lines = [
            "| rounds | faults injected | objects put | lost | doubled | stuck | wrong | recovery p50 | max |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            "| " + " | ".join(map(str, figures)) + " |",
            "",
            f"Deaths at failpoints: {len(self.stage.deaths)}, at {len(set(self.stage.deaths))} different ones. "
            "Faults: " + ", ".join(f"{name} {count}" for name, count in sorted(injected.items())),
        ]
        return "\n".join(lines)


class _Injector:
    """Faults one after the other in each of two lanes; none of a target that is broken already."""

    def __init__(self, stage: Stage, faults: Sequence[Fault], seed: str, long: bool) -> None:
        self._stage = stage
        self._seed = seed
        self._long = long
        self._lanes = [list(faults[lane::_LANES]) for lane in range(_LANES)]
        self._targets = Targets()
        self._injected: list[str] = []
        self._errors: list[BaseException] = []
        self._pause = threading.Event()

    def run(self) -> list[str]:
        """The names of what was broken, in order."""
        threads = [
            threading.Thread(target=self._lane, args=(lane, faults), daemon=True)
            for lane, faults in enumerate(self._lanes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]
        return self._injected

    def _lane(self, lane: int, faults: Sequence[Fault]) -> None:
        random = Random(f"{self._seed}/lane {lane}")
        try:
            for fault in faults:
                self._pause.wait(random.uniform(0.2, 1.5))
                with self._targets.of(fault), fault.breaking(self._stage, random):
                    self._injected.append(fault.name)
                    self._pause.wait(fault.long if self._long else fault.short)
        except BaseException as error:  # noqa: BLE001 - raised by `run`
            self._errors.append(error)


def play_all(
    series: Series,
    rounds: int,
    *,
    kinds: Sequence[str] | None,
    minutes: float | None,
    report: Callable[[str], None],
) -> bool:
    """Whether all was as it should be. Ends after a round that was not: what follows would only tell of it again."""
    deadline = time.monotonic() + 60 * minutes if minutes else float("inf")
    for number in range(1, rounds + 1):
        played = series.play(number, kinds)
        report(str(played))
        if played.verdict.faults:
            return False
        if time.monotonic() > deadline:
            break
    return True

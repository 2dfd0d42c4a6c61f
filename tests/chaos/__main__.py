"""`python -m tests.chaos`: rounds of load, faults and judgement, for as long as wanted. Exit code 1 on any fault."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from deploy.local.supervisor import tail
from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS
from tests.chaos.rounds import LONG, SABOTAGED, SHORT, Series, play_all
from tests.chaos.sabotage import PROTECTIONS
from tests.chaos.stage import Stage


def main() -> int:
    options = _options()
    series: Series | None = None
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as directory:
        where = Path(options.keep or directory)
        kinds = options.faults.split(",") if options.faults else None
        plan = SABOTAGED if options.sabotage else SHORT if options.short else LONG
        if options.sabotage and kinds is None:
            kinds = list(PROTECTIONS[options.sabotage].faults)
        with ExitStack() as opened:
            cluster = (
                opened.enter_context(Cluster(where / "cluster", password=secrets.token_hex(16)))
                if options.cluster
                else None
            )
            stage = opened.enter_context(Stage(where, seed=options.seed, sabotage=options.sabotage, cluster=cluster))
            series = Series(stage, plan)
            fine = play_all(
                series,
                options.rounds,
                kinds=kinds,
                minutes=options.minutes,
                report=lambda line: print(line, flush=True),
            )
            if not fine:
                for log in stage.log_files(""):
                    print(f"\n{log.name} ends:\n{tail(log, 12)}")
        print("\n" + series.table())
    return 0 if fine else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=1, help="what is put and what is broken; the same again for the same"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--minutes", type=float, help="no further round begins after so long")
    parser.add_argument("--faults", help="these, in this order, in each round: " + ", ".join(FAULTS))
    parser.add_argument("--cluster", action="store_true", help="RabbitMQ as three nodes, which are lost in turn")
    parser.add_argument("--short", action="store_true", help="rounds as short as those of CI")
    parser.add_argument(
        "--sabotage", default="", choices=["", *PROTECTIONS], help="without this protection: must go red"
    )
    parser.add_argument("--keep", help="a directory for data and logs, which stay")
    options = parser.parse_args()
    for name in options.faults.split(",") if options.faults else ():
        if name not in FAULTS:
            parser.error(f"no fault {name!r}; there are: {', '.join(FAULTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())

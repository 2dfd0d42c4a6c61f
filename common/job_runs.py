"""When a job that is due once in a long while was last done: processes may be started anew more often than that."""

from __future__ import annotations

from sqlalchemy import Connection, text


def is_due(connection: Connection, job: str, *, every_seconds: float) -> bool:
    """Whether nobody has done the job for so long."""
    done = connection.execute(
        text("""
            SELECT FROM job_runs WHERE name = :name AND ended_at > clock_timestamp() - :every * interval '1 second'
        """),
        {"name": job, "every": every_seconds},
    )
    return done.one_or_none() is None


def ended(connection: Connection, job: str) -> None:
    """The job has been done."""
    connection.execute(
        text("""
            INSERT INTO job_runs (name, ended_at) VALUES (:name, clock_timestamp())
            ON CONFLICT (name) DO UPDATE SET ended_at = excluded.ended_at
        """),
        {"name": job},
    )

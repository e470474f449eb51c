"""Text output of `halite flash`: steps, a progress bar, and the rack's report."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from halite.board.flash import Job, flash
from halite.board.refusal import BoardError
from halite.board.serial_port import check
from halite.board.serial_ports import choose
from halite.build import firmware as build
from halite.config import load
from halite.config.keys import require_secret


class _Bar:
    """The text of the current step, with a bar while bytes are sent."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self.step = "start"

    def __call__(self, step: str, done: int, total: int) -> None:
        self.step = step
        self._progress.update(self._task, description=step, completed=done, total=total or None)


def _summary(job: Job) -> dict[str, Any]:
    assert job.survey and job.plan
    return {
        "ok": True,
        "port": job.path,
        "firmware": job.survey.firmware,
        "machine": job.survey.machine,
        "unique_id": job.survey.unique_id,
        "files": len(job.wanted),
        "bytes": sum(len(data) for data in job.wanted.values()),
        "uploaded": list(job.plan.upload),
        "removed": job.removed,
        "seconds": job.seconds,
        "report": job.report,
    }


def run(config_file: str, port: str, quiet: bool, development: bool = False) -> dict[str, Any]:
    """Build and flash; HaliteError with the failed step. Returns the summary as data.

    development: accept a maintenance key that everybody knows on a board that is not emulated.
    """
    config = load(config_file)
    path = choose(port)
    check(path)  # before the seconds that the build takes
    require_secret(config.maintenance_key, str(Path(path).resolve()), development)
    built = build.make(config)
    screen = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bar = _Bar(progress, progress.add_task("start", total=None))
        job = Job(path, built, config.maintenance_key, bar)
        try:
            flash(job)
        except KeyboardInterrupt:
            print(f"{path}: stopped at: {bar.step}; the same command finishes it", file=sys.stderr)
            raise
    answer = _summary(job)
    if not quiet:
        sent, gone = len(answer["uploaded"]), len(answer["removed"])
        print(f"{job.path}: {config.name} on {answer['machine']} ({answer['unique_id']})")
        print(f"{answer['files']} files verified, {sent} uploaded, {gone} removed, {sum(job.seconds.values()):.1f} s")
        print(f"the rack reports: {report_line(job.report)}")
    return answer


def report_line(report: dict[str, Any]) -> str:
    """The rack's status answer in one line."""
    return ", ".join(f"{key} {value}" for key, value in report.items() if key != "re" and not isinstance(value, dict))


__all__ = ["BoardError", "report_line", "run"]

"""The application's tasks and its task table without hardware, for tests of the schedule."""

from array import array
from types import SimpleNamespace
from unittest.mock import MagicMock

from halite.config import load_params
from rack.app import add_tasks
from rack.definitions.codes import AFE_RUN, TASK_SCAN
from rack.generated import ids as I
from rack.scheduler import Scheduler
from rack.tasks.afe import AfeTask
from rack.tasks.collector import Collector
from rack.tasks.console import ConsoleTask
from rack.tasks.scan import ScanTask
from rack.tasks.slow import SlowTask

from support.wires import settled_response


class TaskTable:
    """Stores the task table instead of a Scheduler. rows: namespaces with the columns by name."""

    def __init__(self):
        self.rows = []

    def add(self, task, name, function, **columns):
        self.rows.append(SimpleNamespace(task=task, name=name, function=function, **columns))


def application(params, ticks_us=lambda: 0, **parts):
    """Return an application with the attributes that its tasks use. Every part that is not given is a mock.

    params: parameters of a rack. parts: attributes such as `afe`, `console`, `modbus`.
    """
    app = MagicMock()
    app.params = params
    app.port.ticks_us = ticks_us
    app.controller.s = array("i", [0] * I.COUNT)
    app.controller.response = settled_response().response
    app.unlocked = lambda function, argument: function(argument)
    for name, part in {"modbus": None, **parts}.items():
        setattr(app, name, part)
    app.collector = Collector(app)
    app.scan = ScanTask(app)
    app.afe_task = AfeTask(app)
    app.console_task = ConsoleTask(app)
    app.slow = SlowTask(app)
    return app


def begin(app, scheduler):
    """Give the tasks their scheduler in the same way as rack.app."""
    for task in (app.scan, app.collector, app.afe_task, app.console_task):
        task.begin(scheduler)


def table_of(app):
    """Return the rows of the application's task table."""
    table = TaskTable()
    add_tasks(table, app)
    return table.rows


def pacing(scan_ms, passed_us, **parts):
    """Return an application for the pacing of console answers. Its last scan was due `passed_us` ago."""
    params = load_params("lfp_rack")
    params.rack_scan_ms = scan_ms
    app = application(params, lambda: passed_us, **parts)
    scheduler = Scheduler(lambda: 0, array("i", [0]))
    add_tasks(scheduler, app)
    begin(app, scheduler)
    scheduler.ask(scheduler.index_of(TASK_SCAN), 0, 1_000 * scan_ms)
    app.controller.s[I.CELLS_AGE_ms] = 0
    app.afe.state = AFE_RUN
    return app

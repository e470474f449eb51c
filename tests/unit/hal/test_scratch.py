"""Contents of the scratch registers after each kind of reset."""

import pytest
from halite.common.paths import FIRMWARE
from hypothesis import given
from hypothesis import strategies as st
from rack.definitions.codes import REASON_COMMAND, REASON_HANG, REASON_MAINTENANCE, REASON_POWER, TASK_CONSOLE
from rack.hal import chip_rp2040 as chip
from rack.hal.scratch import MAINTENANCE_MAGIC, TASK_MAGIC, Scratch

MODE, TASK, REASON = chip.SCRATCH_MODE, chip.SCRATCH_TASK, chip.SCRATCH_REASON


def registers(noise=0):
    """The registers as a dict instead of machine.mem32."""
    return {MODE: 0, TASK: noise, REASON: noise}


@given(st.integers(0, 255))
def test_the_task_that_hung_is_named_once(task):
    """The start after a hang reads the number of the task; the next start does not."""
    memory = registers()
    Scratch(memory)
    memory[TASK] = TASK_MAGIC + task
    after = Scratch(memory)
    assert after.task_before == task and after.reset_reason(True) == REASON_HANG
    assert Scratch(memory).task_before == -1


def test_no_task_is_named_between_tasks():
    """A reset while no task runs leaves no number."""
    memory = registers()
    Scratch(memory)
    for noted in (TASK_MAGIC + 3, 0):
        memory[TASK] = noted
    assert Scratch(memory).task_before == -1


@pytest.mark.parametrize("reason", [REASON_MAINTENANCE, REASON_COMMAND])
def test_a_deliberate_reset_keeps_its_reason_once(reason):
    """A reset on command is not a hang of the task that ran; the reason is read once."""
    memory = registers()
    before = Scratch(memory)
    memory[TASK] = TASK_MAGIC + TASK_CONSOLE     # the task that executed the command
    before.note_reason(reason)
    after = Scratch(memory)
    assert after.reset_reason(True) == reason
    assert after.task_before == -1
    assert Scratch(memory).reset_reason(True) == REASON_HANG


@given(st.integers(0, 2**32 - 1))
def test_random_power_on_contents_are_ignored(noise):
    """Registers with random contents name neither a task nor a reason."""
    memory = registers(noise & ~0x0FFF0000)
    assert Scratch(memory).task_before == -1
    assert Scratch(memory).reset_reason(False) == REASON_POWER


def test_boot_py_knows_the_maintenance_request():
    """boot.py imports no module, so it repeats the register and the value."""
    memory = registers()
    Scratch(memory).request_maintenance()
    assert memory[MODE] == MAINTENANCE_MAGIC
    boot = (FIRMWARE / "boot.py").read_text(encoding="utf-8")
    assert f"machine.mem32[0x{MODE:08X}] == 0x{MAINTENANCE_MAGIC:08X}" in boot
    assert f"machine.mem32[0x{MODE:08X}] = 0" in boot

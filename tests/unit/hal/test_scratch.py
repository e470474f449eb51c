"""What the scratch registers say after each kind of reset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rack.hal import scratch
from rack.hal.scratch import Scratch

MODE, TASK, REASON = 0x4005800C, 0x40058010, 0x40058014


def registers(noise=0):
    return {MODE: 0, TASK: noise, REASON: noise}


@given(st.integers(0, 255))
def test_the_task_that_hung_is_named_once(task):
    memory = registers()
    Scratch(memory)
    memory[TASK] = scratch.TASK_MAGIC + task
    after = Scratch(memory)
    assert after.task_before == task and after.reset_reason(True) == scratch.REASON_HANG
    assert Scratch(memory).task_before == -1


def test_no_task_is_named_between_tasks():
    memory = registers()
    Scratch(memory)
    for noted in (scratch.TASK_MAGIC + 3, 0):
        memory[TASK] = noted
    assert Scratch(memory).task_before == -1


@pytest.mark.parametrize("reason", [scratch.REASON_MAINTENANCE, scratch.REASON_COMMAND])
def test_a_deliberate_reset_keeps_its_reason_once(reason):
    memory = registers()
    before = Scratch(memory)
    memory[TASK] = scratch.TASK_MAGIC + 7   # the console, which was told to reset
    before.note_reason(reason)
    after = Scratch(memory)
    assert after.reset_reason(True) == reason
    assert after.task_before == -1      # nothing hung
    assert Scratch(memory).reset_reason(True) == scratch.REASON_HANG


@given(st.integers(0, 2**32 - 1))
def test_random_power_on_contents_are_no_message(noise):
    memory = registers(noise & ~0x0FFF0000)
    assert Scratch(memory).task_before == -1
    assert Scratch(memory).reset_reason(False) == scratch.REASON_POWER


def test_service_is_requested_by_the_value_that_boot_py_knows():
    memory = registers()
    Scratch(memory).request_maintenance()
    assert memory[MODE] == 0x05E41CE5

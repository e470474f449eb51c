"""The fast path on RP2040: from the zero crossing's interrupt to the CAN request on the SPI bus.

This code must not wait, allocate or raise: an exception that leaves a hard interrupt handler switches the interrupt
off for good. Kernel, encoder and counters are those of every port; only the interpreter's bytecode between them is left
out. Register addresses: RP2040 data sheet 2.3.1.7 (SIO), 3.7 (PIO), 4.4.4 (SSP).
"""

from time import sleep_ms

import machine
import micropython
from micropython import const

from rack.generated import pcs_link_state as L
from rack.generated import response_state as K
from rack.control.response.recorder import record_kernel
from rack.control.response.request_kernel import request_kernel
from rack.base.period_count import MAX_TICKS
from rack.base.viper import ptr8, ptr32
from rack.hal import chip_rp2040 as chip

_FIRST_MS = const(50)           # more than two of the longest periods; the kernel refuses that as one period


@micropython.viper
def _address(values) -> ptr8:
    """Return the address of an array or bytearray as an integer below 2**30, which a kernel takes in its place.

    Viper converts an integer 0.5 to 1 us faster than an array. The caller must keep the array.
    """
    return ptr8(values)


@micropython.viper
def _finish_send(frame, select: int) -> int:
    """End READ STATUS, which `edge` has begun, then LOAD TXB0 and RTS unless TXB0 is still pending; 1 if sent.

    frame: 14 bytes or their address, the first is LOAD TXB0; select: bit of the chip-select pin. The shift clock,
    which always runs, bounds the waits. Interrupts disabled.
    """
    b = ptr8(frame)
    spi = ptr32(chip.SPI0)                   # 2 SSPDR, 3 SSPSR with bit 2: something received
    sio = ptr32(chip.SIO)
    got = 0
    status = 0
    while got < 2:
        if int(spi[3]) & 4:
            status = int(spi[2])
            got += 1
    sio[chip.SIO_OUT_SET] = select
    if status & 4:
        return 0
    sio[chip.SIO_OUT_CLR] = select
    sent = 0
    got = 0
    while got < 14:
        if sent < 14 and sent - got < 8:
            spi[2] = int(b[sent])
            sent += 1
        if int(spi[3]) & 4:
            status = int(spi[2])
            got += 1
    sio[chip.SIO_OUT_SET] = select
    got = 0                                  # chip select stays high for 50 ns at least
    while got < 1:
        got += 1
    sio[chip.SIO_OUT_CLR] = select
    spi[2] = 0x81
    while int(spi[3]) & 4 == 0:
        pass
    status = int(spi[2])
    sio[chip.SIO_OUT_SET] = select
    return 1


@micropython.viper
def _leave_bus(select: int):
    """End a transfer that has failed, and drop its answer: the next transfer would read it as its own."""
    spi = ptr32(chip.SPI0)
    ptr32(chip.SIO)[chip.SIO_OUT_SET] = select
    while int(spi[3]) & 0x14:                # bytes that are received, or still on their way
        select = int(spi[2])                 # an empty FIFO gives any value


class FastPath:
    """Answers each mains period with a request (`edge`), and sends one when its flags have changed (`send`)."""

    def __init__(self, state_machines, hold_off, overhead, response, link, recorder, select):
        """state_machines: one for each phase, the first ones of PIO1, with the period program.

        hold_off in cycles, overhead in ticks; select: chip-select bit. link: rack.comms.pcs_link.PcsLink, whose
        `encode_request` fills a frame.
        """
        self._state_machines = state_machines
        self._hold_off = hold_off
        self._link = link.state
        self._kept = response, link             # the owners of the arrays below, which the collector must not free
        k, rings, curve = response.arrays
        m, entries = recorder.arrays
        # One tuple: the interrupt unpacks it in 1 µs; each attribute would take 3 µs.
        self._parts = (
            _address(link.state), _address(k), _address(rings), _address(curve),
            response.kernel, request_kernel, overhead,
            link.can, link.encode_request, _address(link.request_data), _address(link.crc_table),
            _finish_send, _address(link.request), select, record_kernel, m, entries,
        )  # fmt: skip

    def start(self):
        """Begin with the next whole period: the first count did not begin at an edge. Takes 50 ms."""
        for state_machine in self._state_machines:
            state_machine.active(0)
            state_machine.restart()
            state_machine.put(self._hold_off)
            state_machine.active(1)
        sleep_ms(_FIRST_MS)
        for state_machine in self._state_machines:
            while state_machine.rx_fifo():
                state_machine.get()
        for state_machine in self._state_machines:      # the first interrupt reads the counts of all of them
            state_machine.irq(self.edge, hard=True)

    def send(self):
        """Send one request with the present flags and power. Scan context."""
        state = machine.disable_irq()
        self._link[L.ASKED] = 1
        self.edge(None)
        machine.enable_irq(state)

    @micropython.viper
    def edge(self, source):
        """Hard interrupt at each rising zero crossing of any phase. Does not allocate or raise."""
        (
            link_address, state, rings, curve,
            measure, request, overhead,
            can, encode, data, table,
            finish_send, frame, select, record, m, entries,
        ) = self._parts  # fmt: skip
        link = ptr32(int(link_address))
        k = ptr32(int(state))
        try:
            pio = ptr32(0x50300000)          # PIO1: 1 FSTAT with bit 8 + n: RXFn empty, 8 + n RXFn
            periods = 0
            phase = 0
            while phase < 3:
                while int(pio[1]) & (0x100 << phase) == 0:
                    count = int(pio[8 + phase])
                    if count < 0 or count > MAX_TICKS:
                        count = MAX_TICKS  # refused as a period in any case, and still a small integer
                    k[K.PHASE] = phase
                    if int(measure(state, rings, count + int(overhead))):
                        request(state, rings, curve)
                    periods += 1
                phase += 1
            asked = int(link[L.ASKED])
            link[L.ASKED] = 0
            if periods + asked:              # both 0: `send` has taken the period before its interrupt came
                sent = 0
                if int(can.state) == 3:      # STATE_RUN of rack.drivers.mcp2515
                    sio = ptr32(chip.SIO)
                    spi = ptr32(chip.SPI0)
                    sio[chip.SIO_OUT_CLR] = int(select)
                    spi[2] = 0xA0            # READ STATUS takes its 2 us while the encoder works
                    spi[2] = 0
                    encode(data, table, int(k[K.REQUEST]), int(link[L.SENT]), int(link[L.FLAGS]))
                    sent = int(finish_send(frame, select))
                if sent:
                    link[L.SENT] = (int(link[L.SENT]) + 1) & 0xFFFF
                else:
                    link[L.UNSENT] = (int(link[L.UNSENT]) + 1) & 0xFFFF
            if periods:
                record(m, entries, state)
        except Exception:
            _leave_bus(int(select))
            link[L.FAULTS] = (int(link[L.FAULTS]) + 1) & 0xFFFF

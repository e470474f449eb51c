"""Op codes of the pipes between the application on the unix port and the simulated rack on the host.

A message is one op code, then the fixed fields below, little-endian, then as many bytes as the last field counts
where `data` is named. Messages with an answer wait for it. Constants only; rack.hal.unix_board sends these messages,
halite.hosts.unix_port answers them.
"""

from micropython import const

OP_WAIT = const(1)              # u64 from µs, u16 step µs, u32 steps; answer: u32 steps made, u8 edges, then for each
                                # edge i32 count of the period program and u8 phase
OP_UART_WRITE = const(2)        # u16 count, data to the AFEs
OP_UART_ANY = const(3)          # answer: u16 bytes that can be read
OP_UART_READ = const(4)         # u16 count; answer: count bytes
OP_UART_PULSE = const(5)        # u16 µs: low pulse on the transmit line
OP_SPI = const(6)               # u8 count, data; answer: count bytes; one chip select of the CAN controller
OP_I2C_READ = const(7)          # u8 address, u16 register, u8 register bits, u8 count; answer: u8 1 done, count bytes
OP_I2C_WRITE = const(8)         # u8 address, u16 register, u8 register bits, u8 count, data; answer: u8 1 done
OP_INPUTS = const(9)            # answer: u8 IN_*
OP_COILS = const(10)            # u8 COIL_*
OP_COOLING = const(11)          # u8 fan %, u8 pump %, u8 heater 0 or 1
OP_ADC = const(12)              # u8 channel; answer: u16 share of the reference, 2**-15
OP_BOARD_TEMPERATURE = const(13)  # answer: i16 0.1 °C
OP_ENABLE = const(14)           # u8: 1 restarts the dead-man, 0 disarms it
OP_FEED = const(15)             # answer: u8, 0 when the armed dead-man has dropped
OP_LINE_RECEIVED = const(16)    # answer: u32 bytes that RS-485 has received
OP_LINE_TAKE = const(17)        # u16 count; answer: the last count bytes
OP_LINE_SEND = const(18)        # u16 count, data
OP_LINE_SENDING = const(19)     # answer: u8, 1 while the answer is being sent
OP_LINE_STOP = const(20)        # transmitter off

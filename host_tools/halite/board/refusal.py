"""A refusal of a board or its port, as data: what happened at which step, and what to do next."""

from dataclasses import asdict, dataclass

from halite.common.errors import HaliteError


@dataclass(frozen=True)
class Reason:
    """code: stable word for programs; text: what came back; hint: what to do next."""

    code: str
    text: str
    hint: str = ""


HINTS = {
    "missing": "is the board plugged in? `halite boards` lists the ports",
    "busy": "close the other program, then run this again",
    "permission": "add yourself to the group of the port (often dialout), log in again",
    "not_a_port": "give the path of a serial port; `halite boards` lists them",
    "not_micropython": "if it has just started, run this again; else hold BOOTSEL while plugging in, "
    "copy the MicroPython image onto the drive, run this again",
    "wrong_firmware": "flash the tested MicroPython image first; another chip: see [rack] board in the config",
    "vanished": "check the cable; a half-done flash is finished by running it again",
    "silent": "power-cycle the board and run this again",
    "refused": "see `halite exec why`, bring the rack to that state, run this again",
    "not_now": "do what the rack's words ask for, run this again",
    "not_taken": "`halite exec help` lists what a rack can be asked",
    "wrong_key": "use the config that this rack was flashed with",
    "verify": "run this again; if it stays, the flash of the board is worn out",
    "no_space": "remove files of your own from the board",
    "board_error": "power-cycle the board and run this again",
    "not_healthy": "the firmware is on the board: see what came back, `halite exec version` asks again",
    "at_prompt": "power-cycle a rack in maintenance mode; a bare board needs `halite flash`",
    "no_answer": "one that has just started takes a moment: ask again; `halite flash` puts the firmware on a bare one",
}


class BoardError(HaliteError):
    """A refusal that carries its Reason; `step` is filled in by who runs the steps."""

    def __init__(self, code: str, text: str) -> None:
        self.reason = Reason(code, text, HINTS[code])
        self.step = ""
        super().__init__(text, self.reason.hint)

    def __str__(self) -> str:
        return (f"{self.step}: " if self.step else "") + super().__str__()

    def as_dict(self) -> dict[str, str]:
        return {"step": self.step, **asdict(self.reason)}

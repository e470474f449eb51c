"""A refusal of a board or its port as data: step, code, text, and a hint for the next action."""

from dataclasses import asdict, dataclass

from halite.common.errors import HaliteError


@dataclass(frozen=True)
class Reason:
    """code: stable word for programs; text: the refusal; hint: the next action."""

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
    "vanished": "check the cable; run an interrupted `halite flash` again",
    "silent": "power-cycle the board and run this again",
    "refused": "see `halite exec why`, bring the rack to that state, run this again",
    "not_now": "follow the text of the rack, then run this again",
    "not_taken": "`halite exec help` lists the commands of a rack",
    "wrong_key": "use the config that this rack was flashed with",
    "verify": "run this again; if it fails again, the flash of the board is worn out",
    "no_space": "remove files of your own from the board",
    "board_error": "power-cycle the board and run this again",
    "not_healthy": "the firmware is on the board: read the text above; `halite exec version` asks again",
    "at_prompt": "power-cycle a rack in maintenance mode; a bare board needs `halite flash`",
    "no_answer": "if the board has just started, ask again; a bare board needs `halite flash`",
}


class BoardError(HaliteError):
    """A refusal with its Reason; `flash` fills in the step."""

    def __init__(self, code: str, text: str) -> None:
        self.reason = Reason(code, text, HINTS[code])
        self.step = ""
        super().__init__(text, self.reason.hint)

    def __str__(self) -> str:
        return (f"{self.step}: " if self.step else "") + super().__str__()

    def as_dict(self) -> dict[str, str]:
        return {"step": self.step, **asdict(self.reason)}

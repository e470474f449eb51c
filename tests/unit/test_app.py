"""The end of the application after an exception: outputs off, cooling on, no permission for the PCS."""

from types import SimpleNamespace
from typing import Any

from rack.app import App
from rack.generated import pcs_link_state as L


class Port:
    """Keeps the calls in their order."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def write_coils(self, bits: int) -> None:
        self.calls.append(("coils", bits))

    def disarm_enable(self) -> None:
        self.calls.append("disarm")

    def write_cooling(self, *duties: int) -> None:
        self.calls.append(("cooling", *duties))


def test_the_end_opens_cools_and_withdraws_the_permission() -> None:
    """Coils and their supply go off first; fan and pump run at 100 %, the heater is off; the PCS has no permission."""
    port, limits = Port(), []
    state = [1] * (L.FLAGS + 1)
    response = SimpleNamespace(set_limits=lambda *values: limits.append(values))
    app: Any = SimpleNamespace(
        port=port, pcs=SimpleNamespace(state=state), controller=SimpleNamespace(response=response)
    )
    App.stop(app)
    assert port.calls == [("coils", 0), "disarm", ("cooling", 100, 100, 0)]
    assert state[L.FLAGS] == 0 and limits == [(0, 0, 0)]

"""The compliance suite: every preset of a grid service is judged by the demands of its service.

The firmware's own response runs on exact zero crossings. Its request passes the delay of a CAN frame and the lag of a
PCS, and the delivered power is judged.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from halite.common.errors import MisuseError
from halite.config import load
from halite.scenarios.compliance.cases import curve_case, published_case, quiet_case, ramp_case, step_case
from halite.scenarios.compliance.long_cases import (
    JITTER_US,
    RANDOM_GRIDS,
    delivery_case,
    gb_2019_case,
    random_case,
    recovery_case,
    second_event_case,
    sweep_case,
)
from halite.scenarios.compliance.rules import Judged
from halite.scenarios.compliance.services import BY_NAME, Service


def cases(service: Service, long: bool = True) -> Iterator[Callable[[], Judged]]:
    """The cases of a service, to be called one by one. long: with the cases that last minutes."""
    yield lambda: step_case(service, -1)
    yield lambda: step_case(service, +1)
    if service.name == "gb_dc":
        yield lambda: published_case(service, "step")
        yield lambda: published_case(service, "ramp1hzs")
    for hz_per_s in service.ramps:
        yield partial(ramp_case, service, hz_per_s)
    yield partial(quiet_case, service)
    if service.curve:
        yield partial(curve_case, service)
    if long:
        yield from _long_cases(service)


def _long_cases(service: Service) -> Iterator[Callable[[], Judged]]:
    yield partial(sweep_case, service)
    if not service.config:  # each rack chooses its own energy recovery
        yield partial(recovery_case, service, -1)
        yield partial(recovery_case, service, +1)
    yield partial(gb_2019_case, service)
    if service.lasts:
        yield partial(delivery_case, service, service.lasts)
    if service.ready:
        yield partial(second_event_case, service, service.ready)
    if service.gb:
        for jitter_us in (0.0, JITTER_US):
            for seed in RANDOM_GRIDS:
                yield partial(random_case, service, seed, jitter_us)


def chosen(names: list[str] | None = None, config: str = "") -> list[Service]:
    """The named services, or all. Raises MisuseError for an unknown name.

    config: a rack that is judged instead of the presets; without names by the service that its config names.
    """
    rack = load(config) if config else None
    if rack and not names:
        names = [str(rack.sections["response"].get("grid_service", "(none)"))]
    unknown = sorted(set(names or ()) - set(BY_NAME))
    if unknown:
        which = "; --grid-service NAME selects the service that judges a rack of your own" if rack else ""
        raise MisuseError(f"no service {', '.join(unknown)}", f"known: {', '.join(BY_NAME)}{which}")
    services = [BY_NAME[name] for name in names or BY_NAME]
    if rack:
        nominal_hz = rack["grid_nominal_mHz"] / 1000
        services = [replace(service, config=str(rack.path), nominal_hz=nominal_hz) for service in services]
    return services


def suite(names: list[str] | None = None, long: bool = True, config: str = "") -> list[Judged]:
    """Judge the chosen services; arguments as in `chosen` and `cases`."""
    return [case() for service in chosen(names, config) for case in cases(service, long)]

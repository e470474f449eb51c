"""`halite dev`: commands for the developers of the firmware and of the host tools."""

from typing import Annotated

import typer

from halite.cli.options import CONFIG_HELP

app = typer.Typer(no_args_is_help=True, help="For developers: heap cost, interned names, generated files, figures.")


@app.command(epilog="Example: halite dev heap --config lfp_rack")
def heap(
    config: Annotated[str, typer.Option("--config", "-c", metavar="FILE", help=CONFIG_HELP)] = "sodium_rack",
    lists: Annotated[bool, typer.Option("--lists", help="Measure the modules that the build leaves out.")] = False,
) -> None:
    """Measure the heap that each firmware module takes on the emulated board."""
    from halite.bench.heap import print_table

    print_table(config, lists)


@app.command(epilog="Example: halite dev names deviation")
def names(
    wanted: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Name, or a number.")] = None,
) -> None:
    """Print the names of the MicroPython image that replace names of the firmware.

    A traceback of a rack shows attributes and module variables with the names of the image.
    A refused config gives the number of a parameter: `halite dev names 17`.
    """
    from halite.build.firmware import board_sources
    from halite.build.flat import flatten
    from halite.build.intern import print_names

    print_names(flatten(board_sources()), wanted or ())


@app.command(epilog="Example: halite dev generate --check")
def generate(
    check: Annotated[bool, typer.Option("--check", help="Compare only; the status is 1 when a file is stale.")] = False,
) -> None:
    """Write the files that are generated from the lists of the firmware."""
    from halite.generate.outputs import write

    raise typer.Exit(write(check))


@app.command("reaction-times", epilog="Example: halite dev reaction-times")
def reaction_times() -> None:
    """Measure the reaction times of the controller; write docs/reaction_times.md and docs/hazards.md, which shows them.

    This takes about half a minute.
    """
    from halite.generate import hazards
    from halite.generate.reaction_times import write

    write()
    hazards.write()


@app.command("measurement-figures", epilog="Example: halite dev measurement-figures")
def measurement_figures() -> None:
    """Print noise, delay and jumps of the frequency measurement, as docs/response.md has them."""
    from halite.generate.measurement_figures import figures

    for line in figures():
        print(line)


@app.command("fit-cell", epilog="Example: halite dev fit-cell")
def fit_cell() -> None:
    """Fit the circuit of the simulated LFP cell to PyBaMM and write its tables. This takes some minutes.

    Needs the extra `validate`.
    """
    from halite.bench.cell_fit import write

    write()


@app.command("validate-cell", epilog="Example: halite dev validate-cell")
def validate_cell() -> None:
    """Compare the simulated LFP cell with PyBaMM; print the errors and draw docs/plant_voltage.svg.

    This takes a minute and needs the extra `validate`.
    """
    from halite.bench.cell_plot import write

    for line in write():
        print(line)


@app.command("native-core", epilog="Example: halite dev native-core")
def native_core() -> None:
    """Compile the emulator's core for this Python, which makes it twice as fast.

    Needs a C compiler and the headers of Python. Without them the emulator uses its portable core.
    """
    from halite.emulator.rp2040py_fixes.native_build import build_or_note

    build_or_note()


@app.command(epilog="Example: halite dev kernels")
def kernels() -> None:
    """Compile the kernels that a closed rack uses into the cache, which takes about a minute once.

    Needs numba, the extra `fast`. Without it every kernel runs as Python, with the same results.
    """
    from halite.bench.speed import compile_kernels

    print(compile_kernels())

"""The index of the code that runs from flash has the exact place of each function."""

import itertools

import pytest
from halite.build import firmware as build
from halite.build import flash_index
from halite.config import load


@pytest.fixture(scope="module")
def files():
    return build.make(load("bench_rack")).files


def modules(files):
    """Return (module, skip, head, [(first word, offset, size)]) of the index, parsed as on the board."""
    index, at = files[flash_index.INDEX], 0
    while at < len(index):
        name_at, head_at = at + 3, at + 3 + index[at]
        rows_at, skip = head_at + 32, index[at + 2]
        at, end = rows_at, rows_at + 8 * index[at + 1]
        rows = [
            (index[row : row + 4], *(int.from_bytes(index[row + 4 + k : row + 6 + k], "little") for k in (0, 2)))
            for row in range(at, end, 8)
        ]
        yield index[name_at:head_at].decode(), skip, index[head_at:rows_at], rows
        at = end


def test_every_row_lies_in_its_file_and_in_one_block(files):
    """Each row's first word is in its file at the offset, and the function or text ends in the same block."""
    seen = {0: 0, 4: 0}
    for module, skip, head, rows in modules(files):
        data = files[module.replace(".", "/") + ".mpy"]
        first = 4096 if skip else 0
        assert data[first:].startswith(head)
        block = bytes(skip) + data[first : first + 4096 - skip]
        for word, offset, size in rows:
            assert block[offset : offset + 4] == word
            assert skip <= offset and offset + size <= len(block)
        seen[skip] += len(rows)
    assert seen[0] > 400 and seen[4] > 20


def test_rows_do_not_overlap(files):
    for *_, rows in modules(files):
        places = sorted((offset, offset + size) for _, offset, size in rows)
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(places))


def test_native_code_begins_at_a_multiple_of_four(files):
    native = [
        found
        for name, data in files.items()
        if name.endswith(".mpy")
        for found in flash_index.functions(data)
        if found.native
    ]
    assert len(native) > 20
    assert all(found.offset % 4 == 0 for found in native)


def test_code_of_start_and_interrupts_is_not_listed(files):
    """The code that starts the board, and the code that interrupts run, stays in the heap."""
    listed = {module.rpartition(".")[2] for module, *_ in modules(files)}
    assert {name.removesuffix(".mpy").rpartition("/")[2] for name in files} >= flash_index.IN_HEAP
    assert not listed & flash_index.IN_HEAP


def test_each_function_outside_the_start_can_run_from_flash(files):
    """The index lists each function of each module, except the code that stays in the heap."""
    listed: dict[str, int] = {}
    for module, _, _, rows in modules(files):
        listed[module] = listed.get(module, 0) + len(rows)
    for name, data in files.items():
        module = name.removesuffix(".mpy").replace("/", ".")
        if name.endswith(".mpy") and module.rpartition(".")[2] not in flash_index.IN_HEAP:
            wanted = sum(function.size >= 4 for function in flash_index.functions(data)) + len(flash_index.texts(data))
            assert listed.get(module, 0) == wanted, name


def number(value: int) -> bytes:
    """Return a number of an .mpy file in three bytes."""
    return bytes((0x80 | value >> 14, 0x80 | value >> 7 & 0x7F, value & 0x7F))


def two_functions(first: int, second: int) -> bytes:
    """Return an .mpy file with a function of bytecode and one of viper code. first, second: their sizes in bytes."""
    module = number(8 * 4 + 4) + bytes(4) + number(2)  # 4 bytes of code and two functions
    bytecode = number(8 * first) + bytes(first)
    viper = number(8 * second + 2) + bytes(second) + number(0)
    return b"M\x06\x1f\x1f" + number(0) + number(0) + module + bytecode + viper


@pytest.mark.parametrize("first", range(2100, 2108))
def test_a_function_that_just_fits_stays_in_its_block(first):
    """The alignment of native code must not move the end of a function into the next block."""
    before = len(two_functions(first, 0)) - 3  # the number behind the code
    for second in range(4096 - before - 8, 4096 - before + 8):
        arranged = flash_index.functions(flash_index.arrange(two_functions(first, second)))[1]
        assert arranged.size == second and arranged.offset % 4 == 0
        assert arranged.offset == 4096 or arranged.offset + second <= 4096


def test_arranging_twice_changes_nothing(files):
    data = files["sense/cells.mpy"]
    assert flash_index.arrange(data) == data


@pytest.mark.parametrize("change", [lambda data: data[:-3], lambda data: data + b"\0"])
def test_a_file_with_a_wrong_end_is_refused(files, change):
    """A file that is too short or too long raises an error."""
    with pytest.raises((ValueError, IndexError)):
        flash_index.functions(change(files["sense/cells.mpy"]))

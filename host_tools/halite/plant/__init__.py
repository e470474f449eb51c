"""The simulated rack: one physics, seen as values (CPython) and as wires (chip models)."""

"""Firmware sources and a board config become the files of a board."""

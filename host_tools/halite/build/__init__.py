"""Make the files of a board from the firmware's sources and a board config."""

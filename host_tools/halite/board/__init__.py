"""Everything that talks to a board over a serial port."""

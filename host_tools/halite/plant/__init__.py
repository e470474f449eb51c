"""The simulated rack: cells, heat, contactors, PCS and grid. Hosts read its values, chip models drive its wires."""

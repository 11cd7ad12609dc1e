"""`doctor`: whether this rack could install now. Part of the wiring: it looks into every room, and changes nothing."""

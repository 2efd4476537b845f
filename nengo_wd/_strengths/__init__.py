"""Numbers, schedules and variables by row of a variable, and bounds of norms by object."""

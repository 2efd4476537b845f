"""Numbers, schedules and variables by row of a variable, for penalties and optimizers alike."""

"""Training with Lightning: the module, the data module, optimizers, schedules and callbacks."""

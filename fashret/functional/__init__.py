"""Pure functions on tensors: no model, no data set, no state."""

"""Lightning: the module that learns and the callbacks that judge it."""

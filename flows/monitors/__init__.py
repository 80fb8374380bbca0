"""Five monitors and the promotion rules: pure functions from (state, data) to (state, readings), no I/O."""

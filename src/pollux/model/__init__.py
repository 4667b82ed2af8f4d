"""Stage 1, model: how does it behave? Compile, integrate, roll out, linearise, calibrate."""

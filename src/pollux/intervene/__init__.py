"""Stage 3, intervene: what will happen, what is wrong, what is best? Forecast, detect, diagnose, plan, explain."""

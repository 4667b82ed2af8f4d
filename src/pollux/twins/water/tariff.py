"""What the operator pays and promises: the two-rate tariff and the limits of service. Plain numbers, no method."""

NIGHT_PRICE, DAY_PRICE = 0.08, 0.24
"""EUR per kWh: the day costs three times the night."""
NIGHT_BEGINS, NIGHT_ENDS = 23, 7
"""Hours of the clock (UTC)."""
LEVEL_LOW, LEVEL_HIGH = 31.5, 45.0
"""m above the tank's bottom: a metre (40 minutes of mean demand) above empty, 0.7 m below overflow."""
PRESSURE_LOW = 65.0
"""m of water at every junction. Net1 runs at 70 to 90 m; the least is promised to the south-east (32)."""


def price(t: float) -> float:
    """Price of energy at event time `t` (s since 1970 UTC), EUR per kWh."""
    hour = (t % 86400.0) / 3600.0
    return NIGHT_PRICE if hour >= NIGHT_BEGINS or hour < NIGHT_ENDS else DAY_PRICE

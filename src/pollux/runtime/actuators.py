"""From a command to orders on the wire, one for each actuator it touches."""

from collections.abc import Mapping

from pollux.core.signals import Command
from pollux.runtime.binding import Binding, to_wire
from pollux.runtime.connect.base import Connector, ConnectorError, Order


class WiredActuators:
    """The `Actuators` of one twin: conversion to the wire's units, and the connector of each actuator."""

    def __init__(self, binding: Binding, connectors: Mapping[str, Connector]):
        self._binding, self._connectors = binding, connectors

    async def send(self, command: Command) -> None:
        """Hand every set-point to its connector. Raises `ConnectorError` naming what could not be sent."""
        failed: list[str] = []
        for (connector, actuator), value in to_wire(self._binding, command.values).items():
            order = Order(command.id, command.sequence, command.t, command.expires, self._binding.site, actuator, value)
            try:
                await self._connectors[connector].send(order)
            except ConnectorError as error:
                failed.append(f"{actuator}: {error}")
        if failed:
            raise ConnectorError("; ".join(failed))


class WiredSite:
    """The `Site` of a demo plant: its faults go out over the connector of its tags."""

    def __init__(self, binding: Binding, connectors: Mapping[str, Connector]):
        self._binding, self._connectors = binding, connectors

    async def fault(self, kind: str, where: str, size: float, duration: float | None) -> None:
        """Ask the plant for a fault."""
        connector = self._connectors[self._binding.ports[0].connector]
        await connector.fault(self._binding.site, kind, where, size, duration)

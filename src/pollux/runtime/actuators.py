"""From a command to orders on the wire, one for each actuator, and from their answers back to the command."""

from collections.abc import Mapping

from pollux.core.signals import Command
from pollux.runtime.binding import Binding, to_wire
from pollux.runtime.connect.base import Ack, Connector, ConnectorError, Order

DONE = ("done", "duplicate")
"""Answers that mean the actuator has what it was sent."""


class WiredActuators:
    """The `Actuators` of one twin: conversion to the wire's units, and the connector of each actuator.

    An order's id is the command's and the actuator's, so that an actuator recognises what it had already. A command is
    answered when all its orders are.
    """

    def __init__(self, binding: Binding, connectors: Mapping[str, Connector]):
        self._binding, self._connectors = binding, connectors
        self._open: dict[str, dict[str, str]] = {}
        """Command -> order -> answer, "" while there is none."""

    async def send(self, command: Command) -> None:
        """Hand every set-point to its connector. Raises `ConnectorError` naming what could not be sent."""
        orders = {
            (connector, actuator): Order(
                f"{command.id}/{actuator}",
                command.sequence,
                command.t,
                command.expires,
                self._binding.site,
                actuator,
                value,
            )
            for (connector, actuator), value in to_wire(self._binding, command.values).items()
        }
        self._open[command.id] = {order.id: "" for order in orders.values()}
        failed: list[str] = []
        for (connector, actuator), order in orders.items():
            try:
                await self._connectors[connector].send(order)
            except ConnectorError as error:
                failed.append(f"{actuator}: {error}")
        if failed:
            raise ConnectorError("; ".join(failed))

    def answered(self, ack: Ack) -> tuple[str, str] | None:
        """(command, status) when this answer was the last one missing; the status is the first that is not good.

        After a restart nothing is known of the orders of before, and an answer counts for its whole command.
        """
        command, slash, _ = ack.id.rpartition("/")
        if not slash:
            return ack.id, ack.status
        answers = self._open.setdefault(command, {})
        answers[ack.id] = ack.status
        if "" in answers.values():
            return None
        del self._open[command]
        return command, next((s for s in answers.values() if s not in DONE), "done")


class WiredSite:
    """The `Site` of a demo plant: its faults go out over the connector of its tags."""

    def __init__(self, binding: Binding, connectors: Mapping[str, Connector]):
        self._binding, self._connectors = binding, connectors

    async def fault(self, kind: str, where: str, size: float, duration: float | None) -> None:
        """Ask the plant for a fault."""
        connector = self._connectors[self._binding.ports[0].connector]
        await connector.fault(self._binding.site, kind, where, size, duration)

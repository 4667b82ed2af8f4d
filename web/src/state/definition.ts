// The definition made ready for showing: labels begin with a capital, a sensor borrows the limits of its own state.
import type { Describe, Signal } from "../api/types.ts";

/** `tank reserve` -> `Tank reserve`; one-letter names of the mathematics stay as they are. */
export function sentence(label: string): string {
  return label.length > 2 ? label[0]?.toUpperCase() + label.slice(1) : label;
}

export function prepare(d: Describe): Describe {
  const named = <T extends { label: string }>(s: T): T => ({ ...s, label: sentence(s.label) });
  const limited = (s: Signal): Signal => {
    const state = d.states.find((x) => x.name === s.name && x.unit === s.unit);
    return state ? { ...s, low: s.low ?? state.low, high: s.high ?? state.high } : s;
  };
  return {
    ...d,
    states: d.states.map(named),
    inputs: d.inputs.map(named),
    sensors: d.sensors.map(limited).map(named),
    parameters: d.parameters.map(named),
    margins: d.margins.map(named),
  };
}

// Ties the elements of a drawing to signals:
//   data-signal="name"  its text becomes the live value          data-unit="yes"  with the unit behind it
//   data-level="name"   a rect is filled from its bottom to the value between the signal's limits
//   data-bar="name"     a rect is filled from its left likewise
//   data-status="name"  gets the class "bad" (sensor unusable) or "alarm-1" to "alarm-3" (an active alarm of that priority names it)
//   data-on="name"      gets the class "on" while the value is above a tenth of the signal's high limit
import type { Describe, Frame, Num, Signal } from "../api/types.ts";
import { nowOf, type Kind } from "../chart/readout.ts";
import { show } from "../format/number.ts";
import { unit } from "../format/unit.ts";

interface Known {
  signal: Signal;
  kind: Kind;
}

export function catalogue(d: Describe): Map<string, Known> {
  const all = new Map<string, Known>();
  for (const signal of d.inputs) all.set(signal.name, { signal, kind: "input" });
  for (const signal of d.parameters) if (d.tracked.includes(signal.name)) all.set(signal.name, { signal, kind: "state" });
  for (const signal of d.states) all.set(signal.name, { signal, kind: "state" });
  for (const signal of d.sensors) all.set(signal.name, { signal, kind: "sensor" });
  return all;
}

function share(value: Num, { low, high }: Signal): number {
  if (value === null || high === null || high <= (low ?? 0)) return 0;
  const from = low ?? 0;
  return Math.max(0, Math.min(1, (value - from) / (high - from)));
}

/** Returns the function that writes one frame into the drawing. */
export function bind(root: SVGSVGElement, d: Describe): (frame: Frame) => void {
  const known = catalogue(d);
  const writers: ((frame: Frame) => void)[] = [];
  const each = (key: string, make: (el: Element, k: Known) => (frame: Frame) => void) => {
    for (const el of root.querySelectorAll(`[data-${key}]`)) {
      const k = known.get(el.getAttribute(`data-${key}`) ?? "");
      if (k) writers.push(make(el, k));
    }
  };
  each("signal", (el, { signal, kind }) => {
    const suffix = el.hasAttribute("data-unit") ? ` ${unit(signal.unit)}` : "";
    return (frame) => {
      const { value } = nowOf(frame, kind, signal.name);
      const text = show(signal, value) + suffix;
      if (el.textContent !== text) el.textContent = text;
    };
  });
  each("level", (el, { signal, kind }) => {
    const [y, h] = [Number(el.getAttribute("y") ?? 0), Number(el.getAttribute("height") ?? 0)];
    return (frame) => {
      const filled = h * share(nowOf(frame, kind, signal.name).value, signal);
      el.setAttribute("y", String(y + h - filled));
      el.setAttribute("height", String(filled));
    };
  });
  each("bar", (el, { signal, kind }) => {
    const w = Number(el.getAttribute("width") ?? 0);
    return (frame) => el.setAttribute("width", String(w * share(nowOf(frame, kind, signal.name).value, signal)));
  });
  each("on", (el, { signal, kind }) => (frame) => {
    const { value } = nowOf(frame, kind, signal.name);
    el.classList.toggle("on", value !== null && value > 0.1 * (signal.high ?? 1));
  });
  each("status", (el, { signal, kind }) => (frame) => {
    el.classList.toggle("bad", kind === "sensor" && frame.sensors[signal.name]?.health !== "good");
    const raised = frame.alarms.filter((a) => a.subject === signal.name && a.state === "active").map((a) => a.priority);
    for (const level of [1, 2, 3]) el.classList.toggle(`alarm-${level}`, raised.length > 0 && Math.min(...raised) === level);
  });
  return (frame) => writers.forEach((write) => write(frame));
}

// The schematic of a twin that brings none: what acts on it, what it holds, what is measured; from the definition alone.
import type { Describe, Signal } from "../api/types.ts";
import { unit } from "../format/unit.ts";

const ROW = 40;
const MOST = 7;

const escape = (text: string) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const short = (text: string, n: number) => (text.length > n ? `${text.slice(0, n - 1)}…` : text);

function cell(signal: Signal, x: number, y: number, width: number, level: boolean): string {
  const gauge = level
    ? `<rect class="gauge" x="${x + 12}" y="${y + 28}" width="${width - 24}" height="4" rx="2"/>` +
      `<rect class="gauge-fill" data-bar="${escape(signal.name)}" x="${x + 12}" y="${y + 28}" width="${width - 24}" height="4" rx="2"/>`
    : "";
  return (
    `<g data-status="${escape(signal.name)}"><rect class="cell" x="${x}" y="${y}" width="${width}" height="${ROW - 4}" rx="4"/>` +
    `<text class="label" x="${x + 12}" y="${y + (level ? 20 : 23)}">${escape(short(signal.label, Math.floor((width - 72 - 8 * unit(signal.unit).length) / 7.3)))}</text>` +
    `<text class="value" x="${x + width - 12}" y="${y + (level ? 20 : 23)}" text-anchor="end"><tspan data-signal="${escape(signal.name)}">–</tspan>` +
    `<tspan class="unit"> ${escape(unit(signal.unit))}</tspan></text>${gauge}</g>`
  );
}

function column(title: string, signals: readonly Signal[], x: number, width: number, height: number, level: boolean): string {
  const shown = signals.slice(0, signals.length > MOST ? MOST - 1 : MOST);
  const more = signals.length - shown.length;
  const count = shown.length + (more ? 1 : 0);
  const top = 30 + (height - 30 - count * ROW) / 2;
  const cells = shown.map((s, k) => cell(s, x, top + k * ROW, width, level && s.low !== null && s.high !== null));
  const rest = more ? `<text class="label" x="${x + 12}" y="${top + shown.length * ROW + 22}">and ${more} more</text>` : "";
  return `<text class="head" x="${x}" y="18">${title}</text>${cells.join("")}${rest}`;
}

export function generate(d: Describe): string {
  const rows = Math.min(MOST, Math.max(d.inputs.length, d.states.length, d.sensors.length, 2));
  const height = 36 + rows * ROW;
  const middle = 30 + (height - 30) / 2;
  const arrow = (x: number) =>
    `<path class="pipe" d="M${x} ${middle} h34"/><path class="arrow" d="M${x + 30} ${middle - 6} l9 6 l-9 6 z"/>`;
  const w = 250;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${3 * w + 2 * 46} ${height}">` +
    column("Acts on it", d.inputs, 0, w, height, true) + arrow(w + 3) +
    column("Holds", d.states, w + 46, w, height, true) + arrow(2 * w + 49) +
    column("Measured", d.sensors, 2 * (w + 46), w, height, false) + `</svg>`
  );
}

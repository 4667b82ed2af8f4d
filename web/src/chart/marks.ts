// What is drawn over the lines: limits, the present, and alarms on the time axis.
import type uPlot from "uplot";
import type { Alarm } from "../api/types.ts";
import type { Limits } from "./axis.ts";
import type { Ink } from "./ink.ts";

function line(u: uPlot, x0: number, y0: number, x1: number, y1: number, colour: string, dash: number[]): void {
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash(dash.map((d) => d * devicePixelRatio));
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
  ctx.restore();
}

export function drawLimits(u: uPlot, limits: Limits, ink: Ink): void {
  const { left, top, width, height } = u.bbox;
  for (const value of [limits.low, limits.high]) {
    if (value === null) continue;
    const y = Math.round(u.valToPos(value, "y", true)) + 0.5;
    if (y < top - 1 || y > top + height + 1) continue;
    line(u, left, y, left + width, y, ink.limit, [7, 4]);
  }
}

export function drawNow(u: uPlot, now: number, ink: Ink): void {
  const { left, top, width, height } = u.bbox;
  const x = Math.round(u.valToPos(now, "x", true)) + 0.5;
  if (x <= left || x >= left + width) return;
  line(u, x, top, x, top + height, ink.now, [2, 3]);
}

/** What was believed at an instant: its value as a diamond, its 95 % band as a bar. */
export interface Then {
  t: number;
  mid: number;
  low: number | null;
  high: number | null;
}

export function drawThen(u: uPlot, then: Then | null, ink: Ink): void {
  if (!then) return;
  const { ctx } = u;
  const { left, width } = u.bbox;
  const x = Math.round(u.valToPos(then.t, "x", true)) + 0.5;
  if (x < left || x > left + width) return;
  const [y, size] = [u.valToPos(then.mid, "y", true), 5 * devicePixelRatio];
  ctx.save();
  ctx.strokeStyle = ink.then;
  ctx.fillStyle = ink.ground;
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.beginPath();
  if (then.low !== null && then.high !== null) {
    for (const end of [u.valToPos(then.low, "y", true), u.valToPos(then.high, "y", true)]) {
      ctx.moveTo(x, y);
      ctx.lineTo(x, end);
      ctx.moveTo(x - size, end);
      ctx.lineTo(x + size, end);
    }
    ctx.stroke();
  }
  ctx.beginPath();
  ctx.moveTo(x, y - size);
  ctx.lineTo(x + size, y);
  ctx.lineTo(x, y + size);
  ctx.lineTo(x - size, y);
  ctx.closePath();
  ctx.fill();
  ctx.stroke();
  ctx.restore();
}

/** A small triangle on the time axis for each alarm; filled for priority 1, hollow for the others. */
export function drawAlarms(u: uPlot, alarms: readonly Alarm[], ink: Ink): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const size = 5 * devicePixelRatio;
  for (const alarm of alarms) {
    const x = u.valToPos(alarm.t, "x", true);
    if (x < left || x > left + width) continue;
    const y = top + height;
    ctx.save();
    ctx.beginPath();
    ctx.moveTo(x - size, y);
    ctx.lineTo(x + size, y);
    ctx.lineTo(x, y - 1.6 * size);
    ctx.closePath();
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.strokeStyle = alarm.priority === 1 ? ink.act : alarm.priority === 2 ? ink.watch : ink.text;
    ctx.fillStyle = ctx.strokeStyle;
    if (alarm.priority === 1) ctx.fill();
    ctx.stroke();
    ctx.restore();
  }
}

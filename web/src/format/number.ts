// Numbers as an operator reads them: few digits, the same number of them from tick to tick.
const THIN = "\u202f"; // narrow space between thousands
const MINUS = "\u2212";

/** Decimals that show about `digits` significant digits of a value of size `scale`. */
export function decimals(scale: number, digits = 3): number {
  const size = Math.abs(scale);
  if (!Number.isFinite(size) || size === 0) return digits - 1;
  return Math.max(0, Math.min(6, digits - 1 - Math.floor(Math.log10(size))));
}

export function fixed(value: number, places: number): string {
  const tens = 10 ** Math.max(0, -places);
  const text = (Math.round(value / tens) * tens).toFixed(0);
  const exact = places > 0 ? value.toFixed(places) : text;
  const grouped = Math.abs(value) >= 1e4 && places <= 0 ? exact.replace(/\B(?=(\d{3})+$)/g, THIN) : exact;
  return grouped.replace(/^-(?=[0.]*$)/, "").replace("-", MINUS);
}

/** `3.07`, `122`, `0.042`, `1.2e−5`; a dash where there is no number. */
export function number(value: number | null | undefined, scale?: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(scale ?? value);
  if (size >= 1e6 || (size > 0 && size < 1e-4)) return value.toExponential(1).replaceAll("-", MINUS);
  return fixed(value, decimals(size));
}

/** A stated constant: up to four digits, no padding. */
export function plain(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return String(Number(value.toPrecision(4))).replace("-", MINUS);
}

export function percent(probability: number | null | undefined): string {
  if (probability === null || probability === undefined) return "–";
  const p = 100 * probability;
  if (p > 0 && p < 1) return "< 1 %";
  if (p < 100 && p > 99) return "> 99 %";
  return `${p.toFixed(0)} %`;
}

export interface Scale {
  low: number | null;
  high: number | null;
  noise: number | null;
}

/** Decimals of one signal, the same from tick to tick: three digits of its range, or as fine as half its noise. */
export function placesOf(signal: Scale): number | null {
  const sizes = [signal.low, signal.high].filter((v): v is number => v !== null && v !== 0).map(Math.abs);
  // without limits the noise alone decides; below zero it rounds to tens, hundreds, ...
  if (!sizes.length) return signal.noise ? Math.min(6, Math.ceil(-Math.log10(signal.noise / 2) - 1e-9)) : null;
  const span = Math.max(...sizes);
  if (span >= 1e6 || span < 1e-4) return null;
  const coarse = decimals(span);
  if (!signal.noise) return coarse;
  const fine = Math.ceil(-Math.log10(signal.noise / 2) - 1e-9);
  return Math.max(coarse, Math.min(coarse + 2, fine));
}

/** A value of one signal. */
export function show(signal: Scale | undefined, value: number | null | undefined): string {
  const places = signal ? placesOf(signal) : null;
  if (places === null || value === null || value === undefined || !Number.isFinite(value)) return number(value);
  return fixed(value, places);
}

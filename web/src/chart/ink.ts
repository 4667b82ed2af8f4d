// Colours of the charts come from the style sheet, so that the themes live in one place.
export interface Ink {
  text: string;
  grid: string;
  dot: string;
  estimate: string;
  band: string;
  forecast: string;
  fan95: string;
  fan50: string;
  limit: string;
  now: string;
  then: string;
  ground: string;
  act: string;
  watch: string;
  compare: string;
  compareBand: string;
}

export function readInk(): Ink {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of("ink-3"),
    grid: of("grid"),
    dot: of("dot"),
    estimate: of("estimate"),
    band: of("band"),
    forecast: of("forecast"),
    fan95: of("fan95"),
    fan50: of("fan50"),
    limit: of("limit"),
    now: of("ink-3"),
    then: of("ink"),
    ground: of("panel"),
    act: of("act"),
    watch: of("watch"),
    compare: of("compare"),
    compareBand: of("compare-band"),
  };
}

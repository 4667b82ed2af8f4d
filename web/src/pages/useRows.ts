// Which rows of a long table exist: those in sight and a few more. One row has the keyboard's attention.
import { useEffect, useRef, useState } from "preact/hooks";
import type { RefObject } from "preact";

const MORE = 8; // rows beyond either edge

export interface RowWindow {
  box: RefObject<HTMLDivElement | null>;
  first: number;
  last: number;
  height: number;
  /** The row that Tab reaches; the arrows move it. */
  active: number;
  onKeyDown(e: KeyboardEvent): void;
}

/** Where a key leads from row `active` of `count`, with `page` rows in sight; null for any other key. */
export function step(key: string, active: number, count: number, page: number): number | null {
  const to =
    key === "ArrowDown" ? active + 1 :
    key === "ArrowUp" ? active - 1 :
    key === "PageDown" ? active + page :
    key === "PageUp" ? active - page :
    key === "Home" ? 0 :
    key === "End" ? count - 1 :
    null;
  return to === null || count === 0 ? null : Math.max(0, Math.min(count - 1, to));
}

/** Rows of `count` in the scrolling box; `view` is what they are rows of: another one begins at the top. */
export function useRows(count: number, view: string): RowWindow {
  const box = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState({ first: 0, last: 60, height: 36, top: 0, page: 20 });
  const [chosen, setChosen] = useState<number | null>(null);
  const heading = useRef<number | null>(null); // the row that the keyboard asked for takes the focus as soon as it exists

  const head = () => box.current?.querySelector("thead")?.offsetHeight ?? 0;

  useEffect(() => {
    const el = box.current;
    if (!el) return undefined;
    const measure = () => {
      const height = el.querySelector("tbody tr:not(.spacer)")?.getBoundingClientRect().height || 36;
      const top = Math.floor(el.scrollTop / height);
      const page = Math.max(1, Math.floor((el.clientHeight - head()) / height));
      const first = Math.max(0, top - MORE);
      const last = top + Math.ceil(el.clientHeight / height) + MORE;
      setRange((r) => (r.first === first && r.last === last && r.height === height ? r : { first, last, height, top, page }));
    };
    measure();
    el.addEventListener("scroll", measure, { passive: true });
    const resized = new ResizeObserver(measure);
    resized.observe(el);
    return () => {
      el.removeEventListener("scroll", measure);
      resized.disconnect();
    };
  }, [count === 0]);

  useEffect(() => {
    box.current?.scrollTo(0, 0);
    setChosen(null);
    heading.current = null;
  }, [view]);

  useEffect(() => {
    if (heading.current === null) return;
    const link = box.current?.querySelector<HTMLElement>('tbody a[tabindex="0"]');
    if (!link || link.dataset["row"] !== String(heading.current)) return; // not rendered or not fetched yet
    heading.current = null;
    link.focus({ preventScroll: true });
  });

  const inSight = (row: number) => {
    const el = box.current;
    if (!el) return;
    const [above, below] = [row * range.height, (row + 1) * range.height + head() - el.clientHeight];
    if (el.scrollTop > above) el.scrollTop = above;
    else if (el.scrollTop < below) el.scrollTop = below;
  };

  const first = Math.min(range.first, Math.max(0, count - 1));
  const last = Math.min(range.last, count);
  const there = chosen !== null && chosen >= first && chosen < last;
  const active = there ? chosen : Math.min(range.top, Math.max(0, count - 1));

  return {
    box, first, last, height: range.height, active,
    onKeyDown: (e) => {
      if (e.ctrlKey || e.altKey || e.metaKey) return;
      const onRow = e.target instanceof HTMLElement && e.target.dataset["row"] !== undefined;
      const to = step(e.key, onRow ? active : e.key === "ArrowDown" ? active - 1 : active, count, range.page);
      if (to === null) return;
      e.preventDefault();
      heading.current = to;
      setChosen(to);
      inSight(to);
    },
  };
}

// At most ten draws a second, none while the tab is hidden.
const SHORTEST = 100; // ms between draws

/** Wraps `draw` so that many calls become one, at most every `pace` ms and only in a visible tab. */
export function throttled(draw: () => void, pace = SHORTEST): { ask(): void; stop(): void } {
  let last = -Infinity;
  let timer = 0;
  let frame = 0;
  let wanted = false;

  const run = () => {
    frame = 0;
    wanted = false;
    last = performance.now();
    draw();
  };
  const arm = () => {
    timer = 0;
    if (document.hidden) return;
    frame = window.requestAnimationFrame(run);
  };
  const shown = () => {
    if (!document.hidden && wanted && !timer && !frame) arm();
  };
  document.addEventListener("visibilitychange", shown);
  return {
    ask: () => {
      wanted = true;
      if (timer || frame || document.hidden) return;
      timer = window.setTimeout(arm, Math.max(0, pace - (performance.now() - last)));
    },
    stop: () => {
      document.removeEventListener("visibilitychange", shown);
      window.clearTimeout(timer);
      window.cancelAnimationFrame(frame);
    },
  };
}

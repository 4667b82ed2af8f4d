// A schematic comes from a twin's author: it is parsed and only known-harmless elements and attributes survive.
const SVG = "http://www.w3.org/2000/svg";

const ELEMENTS = new Set([
  "svg", "g", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "title", "desc",
  "defs", "marker", "linearGradient", "radialGradient", "stop", "clipPath",
]);

const ATTRIBUTES = new Set([
  "id", "class", "viewBox", "preserveAspectRatio", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "d",
  "points", "width", "height", "dx", "dy", "transform", "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width",
  "stroke-opacity", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity", "font-size", "font-weight",
  "text-anchor", "dominant-baseline", "offset", "stop-color", "stop-opacity", "gradientUnits", "gradientTransform",
  "marker-start", "marker-mid", "marker-end", "markerWidth", "markerHeight", "refX", "refY", "orient", "clip-path",
  "clipPathUnits", "markerUnits", "rotate", "letter-spacing",
]);

const LOCAL_URL = /^url\(\s*["']?#[\w.-]+["']?\s*\)$/;

function harmless(name: string, value: string): boolean {
  if (!ATTRIBUTES.has(name) && !/^data-[\w-]+$/.test(name)) return false;
  return !/url\(/i.test(value) || LOCAL_URL.test(value.trim());
}

function copy(source: Element, depth: number): Element | null {
  if (depth > 40 || source.namespaceURI !== SVG || !ELEMENTS.has(source.localName)) return null;
  const made = document.createElementNS(SVG, source.localName);
  for (const { name, value } of source.attributes) if (harmless(name, value)) made.setAttribute(name, value);
  for (const child of source.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) made.append(child.textContent ?? "");
    else if (child.nodeType === Node.ELEMENT_NODE) {
      const kept = copy(child as Element, depth + 1);
      if (kept) made.append(kept);
    }
  }
  return made;
}

/** The cleaned drawing, or null when the text is not an SVG. */
export function sanitise(text: string): SVGSVGElement | null {
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
  if (parsed.querySelector("parsererror")) return null;
  const root = copy(parsed.documentElement, 0);
  if (!root || root.localName !== "svg") return null;
  if (!root.hasAttribute("viewBox")) {
    const [w, h] = [parseFloat(root.getAttribute("width") ?? ""), parseFloat(root.getAttribute("height") ?? "")];
    if (w > 0 && h > 0) root.setAttribute("viewBox", `0 0 ${w} ${h}`);
  }
  root.removeAttribute("width");
  root.removeAttribute("height");
  return root as SVGSVGElement;
}

// Unit strings of the definition ("m^3/s", "degC") in print.
const WORDS: Record<string, string> = { degC: "°C", degF: "°F", deg: "°", "1": "", um: "µm", ohm: "Ω", percent: "%", frac: "" };
const RAISED: Record<string, string> = { "0": "⁰", "1": "¹", "2": "²", "3": "³", "4": "⁴", "5": "⁵", "6": "⁶", "7": "⁷", "8": "⁸", "9": "⁹", "-": "⁻", "/": "ᐟ" };

export function unit(text: string | null | undefined): string {
  if (!text) return "";
  if (text in WORDS) return WORDS[text] ?? text;
  return text
    .replace(/\^(-?\d(?:\/\d)?)/g, (_all, power: string) => [...power].map((c) => RAISED[c] ?? c).join(""))
    .replace(/\bdegC\b/g, "°C")
    .replaceAll("*", "·");
}

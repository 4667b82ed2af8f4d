// One audit record in five columns. Records differ by kind, so every field is looked for, never relied on.
import { plain } from "../format/number.ts";

export interface Entry {
  t: number;
  kind: string;
  by: string;
  what: string;
  why: string;
  /** Every field, nested ones with dots, except the seals. */
  all: [string, string][];
}

const SEALS = new Set(["mac", "seal", "previous", "prev"]);
const PLAIN = ["by", "actor", "proposer", "who"];
const WHY = ["reason", "why", "note", "rule"];

type Fields = Record<string, unknown>;

const isFields = (v: unknown): v is Fields => typeof v === "object" && v !== null && !Array.isArray(v);

const text = (v: unknown): string =>
  typeof v === "number" ? plain(v) : typeof v === "string" ? v : v === null || v === undefined ? "" : JSON.stringify(v);

function flat(fields: Fields, prefix = ""): [string, string][] {
  return Object.entries(fields).flatMap(([key, value]): [string, string][] => {
    if (SEALS.has(key)) return [];
    return isFields(value) ? flat(value, `${prefix}${key}.`) : [[prefix + key, text(value)]];
  });
}

const first = (fields: Fields, keys: readonly string[]): string =>
  keys.map((k) => text(fields[k])).find((v) => v !== "") ?? "";

export function read(record: Fields): Entry {
  const body: Fields = { ...record, ...(isFields(record["body"]) ? record["body"] : {}) };
  const values = isFields(body["values"]) ? body["values"] : {};
  const sets = Object.entries(values).map(([name, v]) => `${name} ${text(v)}`).join(", ");
  const subject = first(body, ["subject", "id", "command", "decision"]);
  const level = typeof body["granted"] === "number" ? `level ${String(body["granted"])}` : "";
  return {
    t: typeof record["t"] === "number" ? record["t"] : NaN,
    kind: text(record["kind"]).replaceAll("_", " "),
    by: first(body, PLAIN).replace(/^user:/, ""),
    what: [sets || level, subject].filter(Boolean).join(" · "),
    why: first(body, WHY),
    all: flat(isFields(record["body"]) ? record["body"] : record).filter(([key]) => key !== "t" && key !== "kind"),
  };
}

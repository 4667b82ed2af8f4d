// Strips every address (download locations, funding links) from package-lock.json; versions and hashes stay.
import { readFileSync, writeFileSync } from "node:fs";

const path = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(path, "utf8"));
for (const entry of Object.values(lock.packages)) {
  delete entry.resolved;
  delete entry.funding;
}
const text = JSON.stringify(lock, null, 2) + "\n";
if (/https?:/.test(text)) throw new Error("package-lock.json still holds an address");
writeFileSync(path, text);

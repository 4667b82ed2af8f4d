// Writes package-lock.json anew, without any address: no download location, no funding link; versions and hashes stay.
// Made in an empty folder, because npm leaves out the optional packages of other platforms when node_modules is there.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "pollux-lock-"));
try {
  copyFileSync(join(here, "package.json"), join(folder, "package.json"));
  const options = ["install", "--package-lock-only", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"];
  execFileSync("npm", options, { cwd: folder, stdio: "inherit" });
  const lock = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  for (const entry of Object.values(lock.packages)) {
    delete entry.resolved;
    delete entry.funding;
  }
  const text = JSON.stringify(lock, null, 2) + "\n";
  if (/https?:/.test(text)) throw new Error("package-lock.json still holds an address");
  writeFileSync(join(here, "package-lock.json"), text);
} finally {
  rmSync(folder, { recursive: true });
}

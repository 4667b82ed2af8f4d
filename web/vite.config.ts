// Fixed file names and no inlining: the same source gives the same bytes, and the strict CSP has nothing to forgive.
import subsetFont from "subset-font";
import { defineConfig, type Plugin } from "vite";

const MARK = "built file, do not edit; see web/";

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, k) => String.fromCodePoint(from + k)).join("");
const LETTERS = range(0x20, 0x7e) + range(0xa0, 0xff) + "\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u2022\u2212\u2191\u2193";

/** The font holds the letters of the page and the weights that the style sheet uses: 48 kB become 28 kB. */
function smallFont(): Plugin {
  return {
    name: "small-font",
    async generateBundle(_options, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type !== "asset" || !file.fileName.endsWith(".woff2")) continue;
        const axes = { wght: { min: 400, max: 700 } };
        file.source = await subsetFont(Buffer.from(file.source), LETTERS, { targetFormat: "woff2", variationAxes: axes });
      }
    },
  };
}

function mark(): Plugin {
  return {
    name: "mark-built-files",
    enforce: "post",
    generateBundle(_options, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type === "chunk") file.code = `/* ${MARK} */\n${file.code}`;
        if (file.type === "asset" && file.fileName.endsWith(".css")) file.source = `/* ${MARK} */\n${file.source}`;
      }
    },
    transformIndexHtml: (html) => html.replace("<!doctype html>", `<!doctype html>\n<!-- ${MARK} -->`),
  };
}

export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/pollux/runtime/serve/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    cssCodeSplit: false,
    target: "es2022",
    rollupOptions: {
      output: {
        inlineDynamicImports: true,
        entryFileNames: "app.js",
        assetFileNames: (asset) => (asset.names[0]?.endsWith(".css") ? "app.css" : "inter[extname]"),
      },
    },
  },
  plugins: [smallFont(), mark()],
});

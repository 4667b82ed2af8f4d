// Fixed file names and no inlining: the same source gives the same bytes, and the strict CSP has nothing to forgive.
import { defineConfig } from "vite";

const MARK = "built file, do not edit; see web/";

export default defineConfig({
  base: "./",
  publicDir: "public",
  build: {
    outDir: "../src/pollux/runtime/serve/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    cssCodeSplit: false,
    target: "es2022",
    reportCompressedSize: true,
    rollupOptions: {
      output: {
        banner: `/* ${MARK} */`,
        inlineDynamicImports: true,
        entryFileNames: "app.js",
        assetFileNames: (asset) => (asset.names[0]?.endsWith(".css") ? "app.css" : "[name][extname]"),
      },
    },
  },
  plugins: [
    {
      name: "mark-built-files",
      enforce: "post",
      generateBundle(_options, bundle) {
        for (const file of Object.values(bundle)) {
          if (file.type === "chunk" && !file.code.startsWith("/*")) file.code = `/* ${MARK} */\n${file.code}`;
          if (file.type === "asset" && file.fileName.endsWith(".css")) file.source = `/* ${MARK} */\n${file.source}`;
        }
      },
      transformIndexHtml: (html) => html.replace("<!doctype html>", `<!doctype html>\n<!-- ${MARK} -->`),
    },
  ],
});

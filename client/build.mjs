// Builds dist/ from src/. With --check it builds elsewhere and fails unless dist/
// is what the source gives and the bundle is within its size.
import { build } from "esbuild";
import { mkdtempSync, readFileSync, readdirSync, copyFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const root = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const limit = 7.5 * 1024; // bytes of socket.io.min.js under gzip -9
const check = process.argv.includes("--check");
const dist = join(root, "dist");
const out = check ? mkdtempSync(join(tmpdir(), "client-")) : dist;

const banner = { js: "/*! Socketfleet client, MIT license */" };
const common = {
  absWorkingDir: root,
  bundle: true,
  target: "es2021",
  charset: "utf8",
  legalComments: "none",
  sourcemap: true,
  sourcesContent: true,
  // Members that end in an underscore are nobody else's.
  mangleProps: /[^_]_$/,
  banner,
};
// A script tag gets the global io, which is a function with everything on it.
const global = (entry, file, minify, more) =>
  build({ ...common, entryPoints: [entry], outfile: join(out, file), format: "iife", minify, ...more });
const esm = (entry, file, more) =>
  build({ ...common, entryPoints: [entry], outfile: join(out, file), format: "esm", minify: true, ...more });
// This one extends a class of another bundle, whose short names it does not know.
const apart = { mangleProps: undefined };

await global("src/global.ts", "socket.io.js", false);
await global("src/global.ts", "socket.io.min.js", true);
await esm("src/index.ts", "socket.io.esm.min.js");
await global("src/global.msgpack.ts", "socket.io.msgpack.min.js", true);
await esm("src/webtransport.ts", "socket.io.webtransport.esm.min.js", apart);
await global("src/global.webtransport.ts", "socket.io.webtransport.min.js", true, apart);
copyFileSync(join(root, "src/types.d.ts"), join(out, "index.d.ts"));

const size = gzipSync(readFileSync(join(out, "socket.io.min.js")), { level: 9 }).length;
console.log(`socket.io.min.js: ${size} bytes under gzip -9 (limit ${limit})`);
let failed = size > limit;
if (check) {
  const names = new Set([...readdirSync(out), ...readdirSync(dist)]);
  for (const name of [...names].sort()) {
    let same = false;
    try {
      same = readFileSync(join(out, name)).equals(readFileSync(join(dist, name)));
    } catch {
      // One of them is missing.
    }
    if (!same) {
      failed = true;
      console.error(`dist/${name} is not what the source gives: run npm run build`);
    }
  }
  rmSync(out, { recursive: true });
}
process.exit(failed ? 1 : 0);

// Builds dist/ from src/. With --check it writes nothing and fails unless dist/ is
// what the source gives and the bundle is within its size.
import { build } from "esbuild";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { brotliCompressSync, brotliDecompressSync, gzipSync } from "node:zlib";

const root = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const limit = 7.5 * 1024; // bytes of socket.io.min.js under gzip -9
const check = process.argv.includes("--check");
const dist = join(root, "dist");
const files = new Map(); // name to contents

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
  write: false,
};
// A script tag gets the global io, which is a function with everything on it.
async function bundle(entry, file, more) {
  const built = await build({ ...common, entryPoints: [entry], outfile: join(dist, file), ...more });
  for (const f of built.outputFiles) files.set(basename(f.path), Buffer.from(f.contents));
}
const global = (entry, file, minify, more) => bundle(entry, file, { format: "iife", minify, ...more });
const esm = (entry, file, more) => bundle(entry, file, { format: "esm", minify: true, ...more });
// This one extends a class of another bundle, whose short names it does not know.
const apart = { mangleProps: undefined };

await global("src/global.ts", "socket.io.js", false);
await global("src/global.ts", "socket.io.min.js", true);
await esm("src/index.ts", "socket.io.esm.min.js");
await global("src/global.msgpack.ts", "socket.io.msgpack.min.js", true);
await esm("src/webtransport.ts", "socket.io.webtransport.esm.min.js", apart);
await global("src/global.webtransport.ts", "socket.io.webtransport.min.js", true, apart);
files.set("index.d.ts", readFileSync(join(root, "src/types.d.ts")));

// The server offers Brotli, as the reference does, and Go has no compressor for it.
for (const [name, contents] of [...files]) {
  if (!name.endsWith(".d.ts")) files.set(name + ".br", brotliCompressSync(contents));
}

// Versions of zlib compress in ways of their own; what comes out has to be the file.
const equal = (name, there, built) => {
  if (!there || !name.endsWith(".br")) return !!there?.equals(built);
  try {
    return brotliDecompressSync(there).equals(brotliDecompressSync(built));
  } catch {
    return false;
  }
};

const size = gzipSync(files.get("socket.io.min.js"), { level: 9 }).length;
console.log(`socket.io.min.js: ${size} bytes under gzip -9 (limit ${limit})`);
let failed = size > limit;
if (check) {
  const there = new Map(readdirSync(dist).map((name) => [name, readFileSync(join(dist, name))]));
  for (const name of new Set([...files.keys(), ...there.keys()])) {
    if (files.has(name) && equal(name, there.get(name), files.get(name))) continue;
    failed = true;
    console.error(`dist/${name} is not what the source gives: run npm run build`);
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  for (const [name, contents] of files) writeFileSync(join(dist, name), contents);
}
process.exit(failed ? 1 : 0);

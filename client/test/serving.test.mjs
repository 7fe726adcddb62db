// The client's files as this server and the reference serve them: the same headers
// for the same requests.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { describe, it } from "node:test";
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import { server } from "./lib.mjs";

const decompress = { br: brotliDecompressSync, gzip: gunzipSync, deflate: inflateSync };

/** One request, without a client that thinks along. */
const ask = (url, headers = {}, method = "GET") =>
  new Promise((done, failed) => {
    request(url, { headers, method }, (res) => {
      const parts = [];
      res.on("data", (b) => parts.push(b)).on("end", () => done({ status: res.statusCode, headers: res.headers, body: Buffer.concat(parts) }));
    }).on("error", failed).end();
  });

describe("the client's files", { timeout: 60_000 }, () => {
  const cors = { origins: ["https://page.example"] };
  const go = server("go", cors);
  const node = server("node", cors);

  // What this server says on top, what belongs to the connection, and what the
  // reference says to everybody and this server to listed origins.
  const extra = ["access-control-allow-credentials", "etag", "vary", "content-length", "transfer-encoding", "x-content-type-options", "date", "connection", "keep-alive"];
  const compared = ({ status, headers }) => [status, Object.fromEntries(Object.entries(headers).filter(([name]) => !extra.includes(name)))];

  async function same(path, headers, method) {
    const [got, want] = [await ask(go.url + path, headers, method), await ask(node.url + path, headers, method)];
    assert.deepEqual(compared(got), compared(want));
    return got;
  }

  for (const name of ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"]) {
    for (const file of [name, name + ".map"]) {
      it(file, async () => {
        const got = await same(`/socket.io/${file}?v=1`);
        assert.deepEqual(got.body, readFileSync(new URL(`../dist/${file}`, import.meta.url)));
        assert.equal(got.headers["content-length"], String(got.body.length));
        assert.equal(got.headers["x-content-type-options"], "nosniff");
        assert.match(got.headers.vary, /Accept-Encoding/);
        assert.match(got.headers.etag, /^"[\w-]{16}"$/);
        await same(`/socket.io/${file}`, {}, "POST");
        await same(`/socket.io/${file}`, {}, "HEAD");
      });
    }
  }

  for (const accept of ["", "br", "gzip", "deflate", "gzip, deflate, br, zstd", "br;q=0.5, gzip;q=0.8", "*", "*;q=0.1, deflate;q=0.1", "br;q=0, *", "identity", "identity, gzip;q=0.1", "BR", "compress, x-gzip", "gzip;q=0"]) {
    it(`Accept-Encoding: ${accept}`, async () => {
      const got = await same("/socket.io/socket.io.min.js", { "accept-encoding": accept });
      const coding = got.headers["content-encoding"];
      const plain = coding ? decompress[coding](got.body) : got.body;
      assert.deepEqual(plain, readFileSync(new URL("../dist/socket.io.min.js", import.meta.url)));
    });
  }

  it("CORS headers for a page that may connect, and for one that may not", async () => {
    for (const origin of ["https://page.example", "https://other.example"]) {
      const { headers } = await same("/socket.io/socket.io.js", { origin });
      const listed = origin.includes("page");
      assert.equal(headers["access-control-allow-origin"], listed ? origin : undefined);
      assert.equal(headers["access-control-allow-credentials"], listed ? "true" : undefined);
    }
  });

  it("304 for the tag it gave, weak or strong", async () => {
    for (const weak of ["", "W/"]) {
      const known = async (s) => {
        const { headers } = await ask(`${s.url}/socket.io/socket.io.js`);
        return ask(`${s.url}/socket.io/socket.io.js`, { "if-none-match": weak + headers.etag });
      };
      const [got, want] = [await known(go), await known(node)];
      assert.deepEqual(compared(got), compared(want));
      assert.equal(got.status, 304);
      assert.equal(got.body.length, 0);
      for (const name of ["etag", "content-type"]) assert.equal(got.headers[name], undefined);
    }
    await same("/socket.io/socket.io.js", { "if-none-match": '"other"' });
  });

  it("names it does not know", async () => {
    for (const path of ["socket.io.slim.js", "socket.io.js.br", "index.d.ts", "socket.io.min.js/", ""]) {
      const [got, want] = [await ask(`${go.url}/socket.io/${path}`), await ask(`${node.url}/socket.io/${path}`)];
      assert.deepEqual([path, got.status, String(got.body).slice(0, 100)], [path, want.status, String(want.body).slice(0, 100)]);
    }
  });
});

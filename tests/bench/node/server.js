// server.js - what tests/bench/app.lua does, by fastify, postgres.js and ioredis.
//
// PROCESSES of it share PORT; each has POOL connections to Postgres.  Ends with TERM.
"use strict";

const cluster = require("node:cluster");

const ROWS = 10000;

function randomId() {
  return 1 + Math.floor(Math.random() * ROWS);
}

function startWorkers() {
  for (let i = 0; i < Number(process.env.PROCESSES); i++) cluster.fork();
  process.on("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGKILL");
    process.exit(0);
  });
}

async function serve() {
  const app = require("fastify")({ logger: false });
  const Redis = require("ioredis");
  const sql = require("postgres")({
    path: `${process.env.PG_HOST}/.s.PGSQL.${process.env.PG_PORT}`,
    user: "tide",
    database: "tide",
    max: Number(process.env.POOL),
  });
  const cache = new Redis({ path: process.env.REDIS_SOCKET, enableAutoPipelining: true });

  const row = {
    type: "object",
    properties: { id: { type: "integer" }, randomnumber: { type: "integer" } },
  };
  const replies = (schema) => ({ schema: { response: { 200: schema } } });
  const one = async (id) =>
    (await sql`SELECT id, randomnumber FROM world WHERE id = ${id}`)[0];

  app.get("/plain", (req, reply) => reply.type("text/plain").send("Hello, World!"));
  app.get("/one", replies(row), () => one(randomId()));
  app.get("/twenty", replies({ type: "array", items: row }), () =>
    Promise.all(Array.from({ length: 20 }, () => one(randomId()))));
  app.get("/mixed",
    replies({ type: "object", properties: { cached: { type: "string" }, row } }),
    async () => {
      const id = randomId();
      const cached = await cache.get("key:" + String(id).padStart(12, "0"));
      return { cached, row: await one(id) };
    });

  process.on("disconnect", () => process.exit(0)); // the first process is gone
  await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
  console.log("listening");
}

if (cluster.isPrimary) startWorkers();
else serve();

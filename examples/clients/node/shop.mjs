// An order's life in an event store, with ioredis: versions, snapshots, a group of consumers, and a read model.
//
// node shop.mjs [PORT]

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import Redis from "ioredis";

const port = Number(process.argv[2] ?? 7379);
const shop = `Order${randomUUID().replaceAll("-", "")}`;
const stream = (order) => `${shop}-${order}`;

/** Fields as ioredis gives them, name after value, to an object. */
const fieldsOf = (flat) => Object.fromEntries(flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1]]] : [])));

class VersionConflict extends Error {}

/** Appends all of the events or none, if the order is at the version expected. A watch needs a connection of its own. */
async function append(client, order, expected, events) {
  const key = `${shop}:version:${order}`;
  await client.watch(key);
  const actual = Number((await client.get(key)) ?? 0);
  if (actual !== expected) {
    await client.unwatch();
    throw new VersionConflict(`${order} is at ${actual}, not at ${expected}`);
  }
  const transaction = client.multi();
  for (const [name, data] of events) {
    transaction.xadd(stream(order), "*", "event_type", name, "data", JSON.stringify(data));
  }
  const answers = await transaction.set(key, expected + events.length).exec();
  if (answers === null) {
    throw new VersionConflict(`${order} was changed meanwhile`);
  }
  return answers.slice(0, -1).map(([error, id]) => (assert.equal(error, null), id));
}

/** The order's state: its snapshot, if there is one, and what came after it. */
async function load(client, order) {
  const snapshot = await client.hgetall(`${shop}:snapshot:${order}`);
  let state = snapshot.state ? JSON.parse(snapshot.state) : { events: 0 };
  let last = snapshot.id ?? "0-0";
  for (const [id, flat] of await client.xrange(stream(order), `(${last}`, "+")) {
    const { event_type: name, data } = fieldsOf(flat);
    state = { ...state, ...JSON.parse(data), last: name, events: state.events + 1 };
    last = id;
  }
  return { state, last };
}

async function versionsAreChecked(client, other) {
  await append(client, "1", 0, [["OrderPlaced", { total: 42 }]]);
  await append(client, "1", 1, [["OrderPaid", { by: "card" }], ["OrderShipped", { with: "post" }]]);
  await assert.rejects(append(client, "1", 1, [["OrderPaid", { by: "cash" }]]), VersionConflict);
  assert.deepEqual((await load(client, "1")).state, { events: 3, total: 42, by: "card", with: "post", last: "OrderShipped" });

  await client.watch(`${shop}:version:2`);
  await append(other, "2", 0, [["OrderPlaced", { total: 7 }]]);
  const answers = await client.multi().xadd(stream("2"), "*", "event_type", "OrderPlaced", "data", '{"total":8}').exec();
  assert.equal(answers, null, "both were taken");
  assert.equal((await load(client, "2")).state.total, 7);
}

async function aSnapshotSavesReading(client) {
  const { state, last } = await load(client, "1");
  await client.hset(`${shop}:snapshot:1`, { state: JSON.stringify(state), id: last });
  await append(client, "1", 3, [["OrderPaid", { by: "card again" }]]);
  assert.equal((await load(client, "1")).state.events, 4);
}

async function aGroupSharesTheWork(client, other) {
  const [key, group, model] = [stream("3"), "mailer", `${shop}:totals`];
  await client.xgroup("CREATE", key, group, "$", "MKSTREAM");
  const waiting = other.xreadgroup("GROUP", group, "dies", "COUNT", 100, "BLOCK", 10_000, "STREAMS", key, ">");
  await append(client, "3", 0, Array.from({ length: 5 }, (_, total) => ["OrderPlaced", { total }]));
  const [[, taken]] = await waiting;
  assert.equal(taken.length, 5);
  const [, claimed] = await client.xautoclaim(key, group, "lives", 0, "0-0");
  assert.deepEqual(claimed, taken);
  for (const [id, flat] of claimed) {
    const { total } = JSON.parse(fieldsOf(flat).data);
    await client.multi().hincrby(model, "orders", 1).hincrby(model, "total", total).xack(key, group, id).exec();
  }
  assert.deepEqual(await client.xpending(key, group), [0, null, null, null]);
  assert.deepEqual(await client.hgetall(model), { orders: "5", total: "10" });
}

const [client, other] = [new Redis(port), new Redis(port)];
await versionsAreChecked(client, other);
await aSnapshotSavesReading(client);
await aGroupSharesTheWork(client, other);
await Promise.all([client.quit(), other.quit()]);
console.log("ok");

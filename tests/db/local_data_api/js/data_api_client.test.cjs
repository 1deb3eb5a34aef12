// data-api-client: values without their wrapping, casts, batches, transactions.
const assert = require("node:assert/strict")
const { before, test } = require("node:test")

const client = require("data-api-client")({
  resourceArn: process.env.CLUSTER_ARN,
  secretArn: process.env.SECRET_ARN,
  database: process.env.DATABASE,
  engine: "pg",
  options: { endpoint: process.env.AWS_ENDPOINT_URL_RDS_DATA },
})

before(async () => {
  await client.query("drop table if exists users, types")
  await client.query("create table users (id serial primary key, name varchar(255) not null, email text unique, age int)")
  await client.query(
    `create table types (small smallint, big bigint, exact numeric(10, 4), double double precision, yes boolean, body text,
     day date, at timestamp, instant timestamptz, raw bytea, doc jsonb, key uuid, list int[])`,
  )
})

test("a query without parameters", async () => {
  assert.deepEqual((await client.query("select 1 as num, 'test' as str")).records, [{ num: 1, str: "test" }])
})

test("named parameters and casts", async () => {
  const inserted = await client.query("insert into users (name, email, age) values (:name, :email, :age) returning id", {
    name: "Ann's :name",
    email: "ann@example.com",
    age: null,
    unused: "is left out",
  })
  const [{ id }] = inserted.records
  const found = await client.query("select name, age from users where id = :id", { id })
  assert.deepEqual(found.records, [{ name: "Ann's :name", age: null }])
  const cast = await client.query("select :value::integer as number, :body::text as text", { value: "123", body: 456 })
  assert.deepEqual(cast.records, [{ number: 123, text: "456" }])
  const explicit = await client.query("select :key as key", [
    { name: "key", value: "6f9619ff-8b86-d011-b42d-00cf4fc964ff", cast: "uuid" },
  ])
  assert.deepEqual(explicit.records, [{ key: "6f9619ff-8b86-d011-b42d-00cf4fc964ff" }])
})

test("each type goes in and comes out", async () => {
  const at = new Date("2026-01-02T03:04:05.678Z")
  await client.query(
    `insert into types values (:small, :big, :exact, :double, :yes, :body, :day::date, :at, :instant, :raw, :doc::jsonb,
     :key::uuid, string_to_array(:list, ',')::int[])`,
    {
      small: 32767,
      big: 9007199254740991,
      exact: 4321.0125,
      double: 0.1,
      yes: true,
      body: "größe ☃ 🌍",
      day: "2024-12-25",
      at,
      instant: at,
      raw: Buffer.from("binary"),
      doc: JSON.stringify({ a: [1, { b: null }] }),
      key: "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
      list: "1,2,3",
    },
  )
  const [row] = (await client.query("select * from types")).records
  assert.deepEqual({ ...row, raw: row.raw.toString() }, {
    small: 32767,
    big: 9007199254740991,
    exact: "4321.0125",
    double: 0.1,
    yes: true,
    body: "größe ☃ 🌍",
    day: row.day,
    at,
    instant: at,
    raw: "binary",
    doc: '{"a":[1,{"b":null}]}',
    key: "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
    list: row.list,
  })
  assert.deepEqual(row.list.longValues ?? row.list, [1, 2, 3])
})

test("batches insert, update and delete", async () => {
  const rows = ["a", "b", "c"].map((name) => [{ name, email: `${name}@example.com` }])
  const inserted = await client.query("insert into users (name, email) values (:name, :email)", rows)
  assert.equal(inserted.updateResults.length, 3)
  await client.query("update users set age = :age where name = :name", [[{ name: "a", age: 1 }], [{ name: "b", age: 2 }]])
  await client.query("delete from users where name = :name", [[{ name: "c" }]])
  const found = await client.query("select name, age from users where age is not null order by age")
  assert.deepEqual(found.records, [{ name: "a", age: 1 }, { name: "b", age: 2 }])
})

test("a transaction commits", async () => {
  const results = await client
    .transaction()
    .query("insert into users (name) values (:name) returning id", { name: "Cara" })
    .query((previous) => ["update users set age = 40 where id = :id", { id: previous.records[0].id }])
    .commit()
  assert.equal(results[1].numberOfRecordsUpdated, 1)
  assert.equal(results[2].transactionStatus, "Transaction Committed")
})

test("a transaction that fails is rolled back", async () => {
  let told = null
  const failing = client
    .transaction()
    .query("insert into users (name, email) values ('Dan', 'dan@example.com')")
    .query("insert into users (name, email) values ('Twin', 'dan@example.com')")
    .rollback((error, status) => {
      told = [error.code, status.transactionStatus]
    })
  await assert.rejects(failing.commit(), { code: "DatabaseErrorException" })
  assert.deepEqual(told, ["DatabaseErrorException", "Rollback Complete"])
  assert.deepEqual((await client.query("select count(*) as count from users where name = 'Dan'")).records, [{ count: 0 }])
})

test("rows as arrays, raw operations", async () => {
  const bare = await client.query({ sql: "select 1 as a, 'x' as b", hydrateColumnNames: false, includeResultMetadata: true })
  assert.deepEqual(bare.records, [[1, "x"]])
  const begun = await client.beginTransaction()
  const within = await client.executeStatement({ sql: "select 1", transactionId: begun.transactionId })
  assert.deepEqual(within.records, [[{ longValue: 1 }]])
  assert.equal((await client.rollbackTransaction({ transactionId: begun.transactionId })).transactionStatus, "Rollback Complete")
})

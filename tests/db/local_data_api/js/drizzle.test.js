// drizzle-orm's aws-data-api/pg: every kind of column, queries, transactions, migrations.
import assert from "node:assert/strict"
import { mkdtempSync, mkdirSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"

import { RDSDataClient } from "@aws-sdk/client-rds-data"
import { and, desc, eq, gt, inArray, isNull, relations, sql } from "drizzle-orm"
import { drizzle } from "drizzle-orm/aws-data-api/pg"
import { migrate } from "drizzle-orm/aws-data-api/pg/migrator"
import * as pg from "drizzle-orm/pg-core"

const mood = pg.pgEnum("mood", ["sad", "glad"])

const people = pg.pgTable("people", {
  id: pg.serial().primaryKey(),
  name: pg.text().notNull(),
  nick: pg.varchar({ length: 20 }),
  age: pg.integer(),
  visits: pg.bigint({ mode: "number" }),
  rating: pg.real(),
  weight: pg.doublePrecision(),
  price: pg.numeric({ precision: 10, scale: 2 }),
  isAwake: pg.boolean().default(false).notNull(),
  born: pg.date(),
  wakesAt: pg.time(),
  seen: pg.timestamp(),
  seenText: pg.timestamp({ mode: "string" }),
  joined: pg.timestamp({ withTimezone: true }).defaultNow().notNull(),
  key: pg.uuid().defaultRandom(),
  doc: pg.jsonb(),
  plain: pg.json(),
  tags: pg.text().array(),
  scores: pg.integer().array(),
  mood: mood(),
})

const letters = pg.pgTable("letters", {
  id: pg.serial().primaryKey(),
  personId: pg.integer().notNull().references(() => people.id),
  body: pg.text(),
})

const peopleRelations = relations(people, ({ many }) => ({ letters: many(letters) }))
const lettersRelations = relations(letters, ({ one }) => ({
  person: one(people, { fields: [letters.personId], references: [people.id] }),
}))

const client = new RDSDataClient({})
const target = {
  database: process.env.DATABASE,
  resourceArn: process.env.CLUSTER_ARN,
  secretArn: process.env.SECRET_ARN,
}
const db = drizzle(client, { ...target, schema: { people, letters, peopleRelations, lettersRelations } })

const migrations = [
  `create type mood as enum ('sad', 'glad')`,
  `create table people (
     id serial primary key, name text not null, nick varchar(20), age integer, visits bigint, rating real,
     weight double precision, price numeric(10, 2), "isAwake" boolean not null default false, born date,
     "wakesAt" time, seen timestamp, "seenText" timestamp, joined timestamptz not null default now(),
     key uuid default gen_random_uuid(), doc jsonb, plain json, tags text[], scores integer[], mood mood)`,
  `create table letters (id serial primary key, "personId" integer not null references people, body text);`,
]

before(async () => {
  const folder = mkdtempSync(join(tmpdir(), "migrations-"))
  mkdirSync(join(folder, "meta"))
  writeFileSync(join(folder, "0000_first.sql"), migrations.join("\n--> statement-breakpoint\n"))
  const entry = { idx: 0, version: "7", when: 1, tag: "0000_first", breakpoints: true }
  writeFileSync(join(folder, "meta", "_journal.json"), JSON.stringify({ version: "7", dialect: "postgresql", entries: [entry] }))
  await migrate(db, { migrationsFolder: folder })
  await migrate(db, { migrationsFolder: folder })
})

after(() => client.destroy())

const ada = {
  name: "Ada",
  nick: "it's :ada",
  age: 36,
  visits: 2 ** 40,
  rating: 0.5,
  weight: 61.25,
  price: "19.90",
  isAwake: true,
  born: "1815-12-10",
  wakesAt: "06:30:00",
  seen: new Date("2026-01-02T03:04:05.678Z"),
  seenText: "2026-01-02 03:04:05.678",
  joined: new Date("2026-01-02T03:04:05.000Z"),
  key: "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
  doc: { a: [1, "x", null], b: { c: true } },
  plain: ["y"],
  tags: ["a", "b c"],
  scores: [1, 2],
  mood: null,
}

test("every column comes back as it went", async () => {
  const [{ id, ...inserted }] = await db.insert(people).values(ada).returning()
  assert.deepEqual(inserted, ada)
  const [{ id: same, ...found }] = await db.select().from(people).where(eq(people.id, id))
  assert.equal(same, id)
  assert.deepEqual(found, ada)
})

test("defaults, nulls and casts", async () => {
  const values = { name: "Bob", mood: sql`${"glad"}::mood` }
  const [bob] = await db.insert(people).values(values).returning()
  assert.deepEqual([bob.mood, bob.age, bob.doc, bob.tags, bob.isAwake], ["glad", null, null, null, false])
  assert.ok(Math.abs(Date.now() - bob.joined.getTime()) < 60_000)
  assert.match(bob.key, /^[0-9a-f-]{36}$/)
})

test("filters, orders, joins, aggregates", async () => {
  const [carl, dora] = await db
    .insert(people)
    .values([{ name: "Carl", age: 50 }, { name: "Dora", age: 60 }])
    .returning({ id: people.id })
  await db.insert(letters).values([{ personId: carl.id, body: "one" }, { personId: carl.id, body: "two" }])
  const older = await db
    .select({ name: people.name, letters: sql`count(${letters.id})`.mapWith(Number) })
    .from(people)
    .leftJoin(letters, eq(letters.personId, people.id))
    .where(and(gt(people.age, 40), inArray(people.id, [carl.id, dora.id]), isNull(people.doc)))
    .groupBy(people.id)
    .orderBy(desc(people.age))
    .limit(5)
  assert.deepEqual(older, [{ name: "Dora", letters: 0 }, { name: "Carl", letters: 2 }])
  const withLetters = await db.query.people.findFirst({
    where: eq(people.id, carl.id),
    columns: { name: true },
    with: { letters: { columns: { body: true } } },
  })
  assert.deepEqual(withLetters, { name: "Carl", letters: [{ body: "one" }, { body: "two" }] })
})

test("update, upsert, delete, prepared", async () => {
  const [{ id }] = await db.insert(people).values({ name: "Eve" }).returning({ id: people.id })
  await db.update(people).set({ age: 7, tags: ["x"], seen: new Date(0) }).where(eq(people.id, id))
  await db.insert(people).values({ id, name: "Eve" }).onConflictDoUpdate({ target: people.id, set: { nick: "e" } })
  const byId = db.select({ nick: people.nick, age: people.age }).from(people).where(eq(people.id, sql.placeholder("id"))).prepare("by_id")
  assert.deepEqual(await byId.execute({ id }), [{ nick: "e", age: 7 }])
  await db.delete(people).where(eq(people.id, id))
  assert.deepEqual(await byId.execute({ id }), [])
})

test("bare SQL names its columns", async () => {
  const result = await db.execute(sql`select ${1}::int as one, ${"x"} as letter, null as nothing`)
  assert.deepEqual(result.rows, [{ one: 1, letter: "x", nothing: null }])
  const updated = await db.execute(sql`update people set nick = null where name = 'nobody'`)
  assert.equal(updated.numberOfRecordsUpdated, 0)
})

test("transactions commit, roll back, and nest by savepoints", async () => {
  await db.transaction(
    async (outer) => {
      await outer.insert(people).values({ name: "Kept" })
      await assert.rejects(
        outer.transaction(async (inner) => {
          await inner.insert(people).values({ name: "Lost" })
          await inner.execute(sql`select 1 / 0`)
        }),
      )
      await outer.transaction((inner) => inner.insert(people).values({ name: "Kept too" }))
    },
    { isolationLevel: "serializable" },
  )
  await assert.rejects(
    db.transaction(async (outer) => {
      await outer.insert(people).values({ name: "Lost" })
      outer.rollback()
    }),
  )
  const names = await db.select({ name: people.name }).from(people).where(inArray(people.name, ["Kept", "Kept too", "Lost"]))
  assert.deepEqual(names.map((row) => row.name).sort(), ["Kept", "Kept too"])
})

test("errors bear PostgreSQL's words", async () => {
  await assert.rejects(db.insert(people).values({ id: 1, name: null }), (error) => {
    assert.equal(error.cause.name, "DatabaseErrorException")
    assert.match(error.cause.message, /violates not-null constraint; SQLState: 23502$/)
    return true
  })
})

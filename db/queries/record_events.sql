-- Record a chunk of deliveries: all of it or nothing, each event once, however often it is sent.
-- Four parameters, each a JSON array as text:
--   events        rows of webhook_events; those of a delivery with a one-time token also name their `proof`
--   decisions     what they decide about consent: {event_id, email_address, topic, opted_in, decided_at}
--   dead_letters  rows of webhook_dead_letters, their bytes in base64; with `proof` too
--   tokens        the one-time tokens: {token, body}; a proof is 'token:body'
-- Ids come back as text with commas: the caller knows which delivery brought which.
--
-- Every lock is taken in one order (tokens, events, ledger, preferences; each in the order of its key), so that
-- concurrent chunks wait for each other and never in a circle.
with bound as (
    -- 1. A token binds the first body that came with it. The update changes nothing: it locks the row and returns
    --    what stands there, even where another chunk has just put it.
    insert into webhook_tokens as t (token, body)
    select token, body
      from jsonb_to_recordset(cast(:tokens as jsonb)) as t(token text, body text)
     order by token
        on conflict (token) do update set body = t.body
    returning token || ':' || body as proof
),
logged as (
    -- 2. Log. The sort comes before the first insert, and so all of step 1. An event that is there already, twice in
    --    this chunk, or in a chunk not yet committed (we wait for its end) is skipped; only new rows are returned.
    insert into webhook_events
           (id, source, provider, type, email_address, topic, occurred_at, received_at, message_id,
            provider_event_id, bounce_class, reason, opted_in, payload, original)
    select  id, source, provider, type, email_address, topic, occurred_at, received_at, message_id,
            provider_event_id, bounce_class, reason, opted_in, payload, decode(original, 'base64')
      from jsonb_to_recordset(cast(:events as jsonb)) as e(
            id uuid, source text, provider text, type text, email_address text, topic text,
            occurred_at timestamptz, received_at timestamptz, message_id text, provider_event_id text,
            bounce_class text, reason text, opted_in boolean, payload jsonb, original text, proof text)
     where (proof is null or (proof in (select proof from bound)) is true)
       -- Rows that the application holds for long are not waited for: the chunk fails, and goes in halves without them.
       and (select set_config('lock_timeout', '1s', true)) is not null
     order by id
        on conflict (id) do nothing
    returning id
),
kept as (
    insert into webhook_dead_letters (id, source, received_at, error, body, is_item)
    select id, source, received_at, error, decode(body, 'base64'), is_item
      from jsonb_to_recordset(cast(:dead_letters as jsonb)) as d(
            id uuid, source text, received_at timestamptz, error text, body text, is_item boolean, proof text)
     where proof is null or (proof in (select proof from bound)) is true
     order by id
        on conflict (id) do nothing
),
newest as (
    -- 3. One decision for each (address, topic): the newest; in a tie the opt-out, for false sorts first.
    --    "is true" keeps the planner from turning IN into a join: the list of new ids is complete before the first
    --    decision passes, so every event is logged before the first row of the ledger is locked.
    select distinct on (email_address, topic) email_address, topic, opted_in, decided_at, event_id
      from (
            select lower(btrim(email_address)) as email_address, topic, opted_in,
                   least(decided_at, now()) as decided_at, -- a decision "from the future" must not win for ever
                   event_id
              from jsonb_to_recordset(cast(:decisions as jsonb)) as d(
                   event_id uuid, email_address text, topic text, opted_in boolean, decided_at timestamptz)
             where (event_id in (select id from logged)) is true
           ) d
     order by email_address, topic, decided_at desc, opted_in, event_id
),
ledger as (
    -- 4. The ledger keeps the newest decision. DO UPDATE locks the row to the end of the transaction and works on its
    --    newest version, also one committed after this statement began. applied_at is what step 6 writes as
    --    updated_at: read from the clock once the lock is ours, so an address's stamps run forward.
    --    previous_applied_at takes the stamp before: step 5 tells by it our last write from the application's.
    insert into email_consents as c (email_address, topic, opted_in, decided_at, event_id, applied_at)
    select email_address, topic, opted_in, decided_at, event_id, clock_timestamp()
      from newest
     order by email_address, topic
        on conflict (email_address, topic) do update
       set opted_in = excluded.opted_in, decided_at = excluded.decided_at, event_id = excluded.event_id,
           applied_at = clock_timestamp(), previous_applied_at = c.applied_at
     -- Newer; or as new and an opt-out over an opt-in; or the same again: then the lower id, so that any order ends alike.
     where (excluded.decided_at, c.opted_in, c.event_id) > (c.decided_at, excluded.opted_in, excluded.event_id)
    returning email_address, topic, opted_in, event_id,
              decided_at at time zone 'UTC' as decided_at,
              applied_at at time zone 'UTC' as applied_at,
              previous_applied_at at time zone 'UTC' as previous_applied_at
),
locked as materialized (
    -- 5. Lock the preferences of these addresses. The lateral subquery keeps the planner on the index of
    --    lower(email_address). It must hold no condition but the address: the snapshot may show a row as it was before
    --    the chunk that we waited for in step 4, and a row that fails there is never looked at again.
    select p.user_id, d.email_address, p.marketing_opt_in as was_opted_in, d.opted_in, d.applied_at, d.event_id,
           -- Did the application write since the decision? In doubt, yes. Where a user_id stands beside this address
           -- twice (one a tenant), step 6 cannot tell the rows apart: so a write to either counts for both.
           bool_or(coalesce(p.updated_at >= d.decided_at
                                and p.updated_at is distinct from d.previous_applied_at, true))
               over (partition by d.email_address, p.user_id) as overruled
      from (select * from ledger where topic = '' order by email_address) d
     cross join lateral (
            select user_id, marketing_opt_in, updated_at
              from email_preferences
             where lower(email_address) = d.email_address
             order by user_id
               for no key update
           ) p
),
changed as (
    -- 6. Where the application has written since the decision, only an opt-out of an opted-in row still counts. A row
    --    that it has opted out itself is left alone, stamp and all: else our stamp there would pass for our decision.
    --    A flag that is null counts as opted in.
    --    A user_id need not be unique in a table of the user's own: the address says whose row it is.
    update email_preferences p
       set marketing_opt_in = l.opted_in, updated_at = l.applied_at
      from locked l
     where p.user_id = l.user_id
       and lower(p.email_address) = l.email_address
       and (not l.overruled or (l.was_opted_in is not false and not l.opted_in))
    returning l.was_opted_in, l.opted_in, l.event_id
)
select (select string_agg(cast(id as text), ',') from logged)                    as recorded,
       (select string_agg(cast(event_id as text), ',')
          from changed where was_opted_in is not false and not opted_in)         as opted_out,
       (select string_agg(cast(event_id as text), ',')
          from changed where was_opted_in is not true and opted_in)              as opted_in,
       (select string_agg(proof, ',') from bound)                                as proofs

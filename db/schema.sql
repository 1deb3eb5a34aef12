-- The schema as a picture: what migrations/ lead to, as a test proves.

create table webhook_migrations (
    name       text        not null primary key,
    applied_at timestamptz not null default now()
);

-- The log: every event once.
create table webhook_events (
    id                uuid        not null primary key, -- begins with the event's time: see providers/events.py
    occurred_at       timestamptz not null,
    received_at       timestamptz not null,
    opted_in          boolean,                          -- null: says nothing about consent
    source            text        not null,
    provider          text        not null,
    type              text        not null,
    email_address     text,
    topic             text,
    message_id        text,
    provider_event_id text,
    bounce_class      text,                             -- hard, soft
    reason            text,
    payload           jsonb,                            -- the record as it was sent
    original          bytea                             -- its bytes, where payload cannot hold them as they were
);

-- The ledger: the latest decision for each address and topic.
create table email_consents (
    email_address       text        not null,           -- folded: lower case
    topic               text        not null,           -- '' is everything
    opted_in            boolean     not null,
    decided_at          timestamptz not null,
    event_id            uuid        not null,
    applied_at          timestamptz not null,           -- our stamp: updated_at where we wrote this decision
    previous_applied_at timestamptz,                    -- our stamp before: tells our last write from the application's
    primary key (email_address, topic)
) with (fillfactor = 90);

-- Authentic bytes that could not be read.
create table webhook_dead_letters (
    id          uuid        not null primary key,
    source      text        not null,
    received_at timestamptz not null,
    error       text        not null,
    body        bytea       not null,
    is_item     boolean     not null default false,     -- one record of a delivery, else a whole body
    replayed_at timestamptz
);

-- One-time tokens of signatures that do not cover the body, and the body that each has proven.
create table webhook_tokens (
    token       text        not null primary key,
    body        text        not null,
    received_at timestamptz not null default now()
);

-- The user's own table: created only where it is missing, never altered.
create table email_preferences (
    user_id          text      not null primary key,
    email_address    text      not null,
    marketing_opt_in boolean   not null default false,
    updated_at       timestamp not null
);
create unique index email_preferences_idx_address on email_preferences (email_address);

-- The one thing that we add to it, unless WEBHOOKS_PREFERENCES_INDEX is false.
create index email_preferences_lower_email_address on email_preferences (lower(email_address));

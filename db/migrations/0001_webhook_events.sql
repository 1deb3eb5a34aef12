-- The log: every event once. Ids begin with the event's time, so the index grows at its right edge.
create table if not exists webhook_events (
    id                uuid        not null primary key,
    occurred_at       timestamptz not null,
    received_at       timestamptz not null,
    opted_in          boolean,
    source            text        not null,
    provider          text        not null,
    type              text        not null,
    email_address     text,
    topic             text,
    message_id        text,
    provider_event_id text,
    bounce_class      text,
    reason            text,
    payload           jsonb,
    original          bytea
)

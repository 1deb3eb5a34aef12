-- Authentic bytes that could not be read, kept as they were sent.
create table if not exists webhook_dead_letters (
    id          uuid        not null primary key,
    source      text        not null,
    received_at timestamptz not null,
    error       text        not null,
    body        bytea       not null,
    is_item     boolean     not null default false,
    replayed_at timestamptz
)

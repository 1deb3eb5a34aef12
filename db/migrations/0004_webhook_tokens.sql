-- One-time tokens, and the body that each has proven; both as SHA-256.
create table if not exists webhook_tokens (
    token       text        not null primary key,
    body        text        not null,
    received_at timestamptz not null default now()
)

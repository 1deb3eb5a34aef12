-- The ledger: the latest decision for each address and topic ('' is everything). Room in each page for updates in place.
create table if not exists email_consents (
    email_address       text        not null,
    topic               text        not null,
    opted_in            boolean     not null,
    decided_at          timestamptz not null,
    event_id            uuid        not null,
    applied_at          timestamptz not null,
    previous_applied_at timestamptz,
    primary key (email_address, topic)
) with (fillfactor = 90)

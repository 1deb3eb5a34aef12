-- The demo's table, as an application would have it, and three users who are opted in.
create table if not exists email_preferences (
    user_id          text      not null primary key,
    email_address    text      not null,
    marketing_opt_in boolean   not null default false,
    updated_at       timestamp not null
);
create unique index if not exists email_preferences_idx_address on email_preferences (email_address);
insert into email_preferences (user_id, email_address, marketing_opt_in, updated_at) values
    ('11111111-1111-4111-8111-111111111111', 'user1@example.com', true, now() at time zone 'utc'),
    ('22222222-2222-4222-8222-222222222222', 'user2@example.com', true, now() at time zone 'utc'),
    ('33333333-3333-4333-8333-333333333333', 'user3@example.com', true, now() at time zone 'utc')
on conflict do nothing;

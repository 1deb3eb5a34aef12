-- Apply opt-outs of the ledger to rows that they have not reached. Safe to run at any time and twice.
--   :addresses  theirs as preferences_to_repair.sql has them, a JSON array
with given as materialized (
    select a.address, c.decided_at at time zone 'UTC' as decided_at
      from jsonb_array_elements_text(cast(:addresses as jsonb)) as a(address)
      join email_consents c
        on c.topic = '' and c.email_address = btrim(a.address, E' \t\r\n') and not c.opted_in
     -- Rows that the application holds are not waited for: they are tried by themselves, and again tomorrow.
     where (select set_config('lock_timeout', '1s', true)) is not null
     order by a.address
),
changed as (
    update email_preferences p
       set marketing_opt_in = false, updated_at = clock_timestamp() at time zone 'UTC'
      from given
     where lower(p.email_address) = given.address
       and p.marketing_opt_in is not false
       and (p.updated_at < given.decided_at or p.updated_at is null)
    returning 1
)
select count(*) as repaired from changed

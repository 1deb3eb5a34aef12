-- Opt-outs that found no row, or an imported one with an older stamp: applied now to rows that came later. Safe to run
-- at any time and twice. A row that the application has written since the opt-out is left as it is.
with changed as (
    update email_preferences p
       set marketing_opt_in = false, updated_at = clock_timestamp() at time zone 'UTC'
      from email_consents c
     where c.topic = '' and not c.opted_in
       and c.email_address = lower(p.email_address)
       and p.marketing_opt_in is not false
       and (p.updated_at < c.decided_at at time zone 'UTC' or p.updated_at is null)
    returning 1
)
select count(*) as repaired from changed

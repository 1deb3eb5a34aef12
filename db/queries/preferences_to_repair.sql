-- Rows of email_preferences that an opt-out of the ledger has not reached: imported later with an older stamp, or of an
-- address with blanks around it, by which record_events.sql does not find them. Not those that the application has
-- written since the opt-out. A page at a time, by lower(email_address): from after the last one, so many.
select lower(p.email_address) as address
  from email_preferences p
  join email_consents c
    on c.topic = '' and c.email_address = lower(btrim(p.email_address, E' \t\r\n'))
 where not c.opted_in
   and p.marketing_opt_in is not false
   and (p.updated_at < c.decided_at at time zone 'UTC' or p.updated_at is null)
   and lower(p.email_address) > cast(:after as text)
 order by lower(p.email_address)
 limit cast(:limit as integer)

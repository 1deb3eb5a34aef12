-- Remove the payloads of events older than a moment, a step at a time; the events themselves stay.
--   :before  the first id of that moment (ids begin with their time)
--   :limit   rows a step, so that no lock is held for long
with removed as (
    update webhook_events
       set payload = null, original = null
     where id in (
               select id
                 from webhook_events
                where id < cast(:before as uuid) and (payload is not null or original is not null)
                order by id
                limit cast(:limit as integer)
           )
    returning 1
)
select count(*) as removed from removed

-- Of the payload of one event, so many letters from a place on.
select substr(cast(payload as text), cast(:begin as integer), cast(:part as integer)) as part
  from webhook_events
 where id = cast(:id as uuid)

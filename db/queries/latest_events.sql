-- The latest events, of everybody or of one address, of every type or of one. Ids begin with their time.
select id, occurred_at, received_at, source, provider, type, email_address, topic, opted_in, reason, payload
  from webhook_events
 where (cast(:email_address as text) is null or lower(email_address) = lower(cast(:email_address as text)))
   and (cast(:type as text) is null or type = cast(:type as text))
 order by id desc
 limit cast(:limit as integer)

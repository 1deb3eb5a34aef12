-- The latest events, of everybody or of one address, of every type or of one, from before one of them: as many as one
-- answer of the Data API carries (1 MiB), and one in any case. Of a long payload the beginning; event_payload_part.sql
-- has the rest. Ids begin with their time.
select id, occurred_at, received_at, source, provider, type, email_address, topic, opted_in, reason,
       length(payload) as size, substr(payload, 1, cast(:part as integer)) as payload
  from (
            select *, sum(octet_length(payload)) over (order by id desc) as so_far,
                   row_number() over (order by id desc) as number
              from (
                        select id, occurred_at, received_at, source, provider, type, email_address, topic, opted_in,
                               reason, coalesce(cast(payload as text), '') as payload
                          from webhook_events
                         where id < cast(:before as uuid)
                           and (cast(:email_address as text) is null
                                or lower(email_address) = lower(cast(:email_address as text)))
                           and (cast(:type as text) is null or type = cast(:type as text))
                         order by id desc
                         limit cast(:limit as integer)
                   ) latest
       ) e
 where number = 1 or so_far <= cast(:part as integer)
 order by id desc

-- Dead letters that wait to be replayed, in the order of their ids, from after one of them.
select id, source, received_at, error, encode(body, 'base64') as body, is_item
  from webhook_dead_letters
 where replayed_at is null and id > cast(:after as uuid)
 order by id
 limit cast(:limit as integer)

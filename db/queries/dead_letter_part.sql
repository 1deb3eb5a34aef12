-- Of the body of one dead letter, so many bytes from a place on.
select encode(substring(body from cast(:begin as integer) for cast(:part as integer)), 'base64') as part
  from webhook_dead_letters
 where id = cast(:id as uuid)

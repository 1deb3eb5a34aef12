-- Dead letters that wait to be replayed, in the order of their ids, from after one of them: as many as one answer of the
-- Data API carries (1 MiB), and one in any case. Of a long body the beginning; dead_letter_part.sql has the rest.
select id, source, received_at, error, is_item, octet_length(body) as size,
       encode(substring(body from 1 for cast(:part as integer)), 'base64') as body
  from (
            select *, sum(octet_length(body) + octet_length(error)) over (order by id) as so_far,
                   row_number() over (order by id) as number
              from (
                        select id, source, received_at, error, is_item, body
                          from webhook_dead_letters
                         where replayed_at is null and id > cast(:after as uuid)
                         order by id
                         limit cast(:limit as integer)
                   ) waiting
       ) d
 where number = 1 or so_far <= cast(:part as integer)
 order by id

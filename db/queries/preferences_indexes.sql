-- The indexes on email_preferences by which lower(email_address) is found, whoever made them.
select c.relname as name, i.indisvalid as is_valid
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
 where i.indrelid = to_regclass('email_preferences')
   and i.indpred is null
   and replace(pg_get_indexdef(i.indexrelid, 1, true), '::text', '') in ('lower(email_address)', 'lower((email_address))')

-- The columns of email_preferences, whoever made it.
--   base, category  of the type, or of what a domain is made of
--   is_key          no two rows share a value, and none is without one
select attname as name, format_type(atttypid, atttypmod) as type, coalesce(b.typname, t.typname) as base,
       cast(t.typcategory as text) as category,
       attnotnull and exists (
           select 1
             from pg_index i
            where i.indrelid = attrelid and i.indisunique and i.indisvalid and i.indpred is null
              and i.indnkeyatts = 1 and i.indkey[0] = attnum
       ) as is_key
  from pg_attribute
  join pg_type t on t.oid = atttypid
  left join pg_type b on b.oid = nullif(t.typbasetype, 0)
 where attrelid = to_regclass('email_preferences') and attnum > 0 and not attisdropped

-- The columns of email_preferences, whoever made it.
select attname as name, format_type(atttypid, atttypmod) as type
  from pg_attribute
 where attrelid = to_regclass('email_preferences') and attnum > 0 and not attisdropped

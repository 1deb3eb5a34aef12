-- The relation that email_preferences is to us.
--   is_hidden  row-level security keeps rows of it from us: it is active for us, and no policy lets us see and change all
--   elsewhere  schemas outside the search_path that have an email_preferences too
select n.nspname as schema, cast(c.relkind as text) as kind, current_setting('server_encoding') as encoding,
       current_user as role,
       row_security_active(c.oid) and (
           exists (select 1 from pg_policy where polrelid = c.oid and not polpermissive)
           or exists (
               select 1
                 from unnest(array['r', 'w']) as command
                where not exists (
                    select 1
                      from pg_policy
                     where polrelid = c.oid
                       and polpermissive
                       and polcmd in ('*', command)
                       and pg_get_expr(polqual, polrelid) = 'true'
                       and exists (select 1 from unnest(polroles) as r where r = 0 or pg_has_role(r, 'usage'))
                )
           )
       ) as is_hidden,
       (
           select string_agg(quote_ident(nspname), ', ' order by nspname)
             from pg_class other
             join pg_namespace on pg_namespace.oid = other.relnamespace
            where other.relname = 'email_preferences' and other.relkind in ('r', 'p', 'v', 'f')
              and nspname <> all (current_schemas(true)) and nspname not like 'pg\_%'
       ) as elsewhere
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.oid = to_regclass('email_preferences')

-- How many indexes are being made on email_preferences at the moment.
select count(*) as under_way from pg_stat_progress_create_index where relid = to_regclass('email_preferences')

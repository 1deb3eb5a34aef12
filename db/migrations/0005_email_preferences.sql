-- The table that we keep right. Mostly it is the user's own and there before us: then nothing is touched.
do '
begin
    if to_regclass(''email_preferences'') is null then
        create table email_preferences (
            user_id          text      not null primary key,
            email_address    text      not null,
            marketing_opt_in boolean   not null default false,
            updated_at       timestamp not null
        );
        create unique index email_preferences_idx_address on email_preferences (email_address);
    end if;
end'

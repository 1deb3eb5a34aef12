-- Rows of email_preferences that opt-outs do not reach, or not at once: without a user_id, with blanks around the address.
select count(*) as rows,
       count(*) filter (where user_id is null) as without_user_id,
       count(*) filter (where email_address <> btrim(email_address, E' \t\r\n')) as with_blanks
  from email_preferences

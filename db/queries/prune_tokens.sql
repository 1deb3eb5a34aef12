-- One-time tokens older than any signature that is still accepted: their age alone refuses them now.
with removed as (
    delete from webhook_tokens where received_at < now() - cast(:days as integer) * interval '1 day' returning 1
)
select count(*) as removed from removed

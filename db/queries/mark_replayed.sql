update webhook_dead_letters set replayed_at = now() where id = cast(:id as uuid) and replayed_at is null

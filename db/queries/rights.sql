-- Whether we may make tables where they would come to lie; no schema where we may use none of the search_path.
select current_user as role, current_schema() as schema, current_setting('search_path') as search_path,
       coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create

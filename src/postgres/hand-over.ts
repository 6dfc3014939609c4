/**
 * The statement that gives everything of the schema `public` to `role`: tables, views and sequences, functions, types.
 * Repeating it changes nothing. `reassign owned` would not do: PostgreSQL refuses it for the superuser that a cluster
 * was made with.
 */
export function handOver(role: string): string {
  return `do $do$
    declare
      thing record;
    begin
      for thing in
        select format('alter table %s owner to %I', c.oid::regclass, '${role}') as command
        from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
          and c.relowner <> '${role}'::regrole
          and not exists (
            select from pg_depend d
            where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i', 'e')
              and (c.relkind = 'S' or d.deptype = 'e')
          )
        union all
        select format('alter routine %s owner to %I', p.oid::regprocedure, '${role}')
        from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proowner <> '${role}'::regrole
          and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
        union all
        select format('alter type %s owner to %I', t.oid::regtype, '${role}')
        from pg_type t
        left join pg_class c on c.oid = t.typrelid
        where t.typnamespace = 'public'::regnamespace and t.typowner <> '${role}'::regrole
          and (t.typtype in ('e', 'd') or c.relkind = 'c')
          and not exists (select from pg_depend d where d.objid = t.oid and d.deptype = 'e')
      loop
        execute thing.command;
      end loop;
    end
  $do$`
}

"""What is known of an example schema, to make statements for it."""

import dataclasses


@dataclasses.dataclass
class Table:
    name: str
    columns: dict      # name: kind, in order
    written: dict      # name: kind of what may be assigned
    needed: tuple = () # columns that an INSERT must name
    unique: tuple = () # lists of columns that ON CONFLICT may name
    constraints: tuple = ()
    moving: bool = True
    sequence: str = 'id'   # '': its id is no serial; else its name's end
    together: tuple = ()   # columns that are written all or none
    kind: str = 'table'    # of the lens
    converted: tuple = ()


@dataclasses.dataclass
class Schema:
    name: str
    ddl: str
    rows: str          # fills the tables; run again to start over
    spec: str
    migration: str
    tables: list
    before: str = ''   # a migration of the same that is over already
    new_shape: bool = False  # do its statements have the new shape?

    def phases(self, all_phases):
        return all_phases[4:] if self.new_shape else all_phases

    def spec_for(self, database):
        return self.spec.format(database=database,
                                migration=self.migration_of(database))

    def migration_of(self, database):
        return f'{self.migration}_{database}'

    def spec_before(self, database):
        return self.before.format(database=database,
                                  migration=self.migration_before(database))

    def migration_before(self, database):
        return f'before_{database}'

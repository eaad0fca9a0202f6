"""The numbered SQL files: complete, in order, and cut into statements at the right places."""

from schemas.tables import MIGRATIONS, Migration, migrations


def test_migrations_are_numbered_without_gaps() -> None:
    """A gap or a repeat would make two checkouts disagree about what was applied."""
    assert list(range(1, len(migrations()) + 1)) == [migration.number for migration in migrations()]


def test_every_migration_may_run_twice() -> None:
    """A migration that was cut off starts again, so each statement must allow for it."""
    for migration in migrations():
        for statement in migration.statements:
            code = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))

            assert code.startswith(("CREATE TABLE IF NOT EXISTS ", "CREATE OR REPLACE VIEW ", "ALTER TABLE "))


def test_no_migration_names_the_database_or_the_table_of_migrations() -> None:
    """The files run in any database; the record of what was applied is migrate's own."""
    for migration in migrations():
        assert "afterword." not in migration.text
        assert f" {MIGRATIONS}" not in migration.text


def test_a_file_is_cut_at_semicolons_that_end_a_line() -> None:
    """Comments and strings may hold semicolons as long as no line ends with one."""
    migration = Migration(1, "two", "-- a; comment\nSELECT 'x;y';\n\nSELECT 2 ; \n")

    assert migration.statements == ["-- a; comment\nSELECT 'x;y'", "SELECT 2"]


def test_the_checksum_shows_an_edited_file() -> None:
    """An applied file must never change; a new one changes the table."""
    assert Migration(1, "a", "SELECT 1;").checksum != Migration(1, "a", "SELECT 2;").checksum

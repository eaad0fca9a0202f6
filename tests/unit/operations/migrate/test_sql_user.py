"""The statements of a tenant's SQL user."""

from services.operations.migrate.core.sql_user import LIMITS, Relation, SqlUser

USER = SqlUser("afterword", "acme")
RELATIONS = [Relation("feedback_state", has_tenant=True), Relation("sink_positions", has_tenant=False)]


def test_the_policy_holds_before_anything_may_be_read() -> None:
    """There is no moment at which the user sees another tenant's rows."""
    kinds = [statement.split("`")[0].split("ON")[0].strip() for statement in USER.allow(RELATIONS)]

    assert kinds == ["ALTER USER", "CREATE ROW POLICY OR REPLACE", "GRANT SELECT", "REVOKE SELECT"]


def test_policy_and_rights_cover_tables_that_are_yet_to_come() -> None:
    """Both are those of the whole database; what has no tenant is taken out by name."""
    _, policy, grant, revoke = USER.allow(RELATIONS)

    assert policy == (
        "CREATE ROW POLICY OR REPLACE `afterword_acme` ON afterword.* FOR SELECT"
        " USING tenant = 'acme' AS PERMISSIVE TO `afterword_acme`"
    )
    assert grant == "GRANT SELECT ON afterword.* TO `afterword_acme` WITH REPLACE OPTION"
    assert revoke == "REVOKE SELECT ON afterword.sink_positions FROM `afterword_acme`"


def test_the_user_goes_before_its_policy() -> None:
    """Dropped the other way round, it would see everything for a moment."""
    first, second = USER.drop()

    assert first.startswith("DROP USER")
    assert second.startswith("DROP ROW POLICY")


def test_no_password_is_sent() -> None:
    """What ClickHouse logs of the statement is a salted hash."""
    for statement in (USER.create("secret-word", "0a"), USER.change_password("secret-word", "0a")):
        assert "secret-word" not in statement
        assert "IDENTIFIED WITH sha256_hash BY '" in statement


def test_two_tenants_or_databases_never_share_a_user() -> None:
    """A tenant has no underscore, so the last one ends the database's name."""
    names = {SqlUser("a_b", "c").name, SqlUser("a", "b-c").name, SqlUser("a", "b").name}

    assert len(names) == 3


def test_no_limit_can_be_lifted() -> None:
    """A client's 0 would often mean: without a limit."""
    for limit in LIMITS:
        assert limit.sql.endswith("CONST") or " MIN 1 MAX " in limit.sql

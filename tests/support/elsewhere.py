"""Commands on pages that the test of a page cannot run, and the tests, or the files, that run them."""

ELSEWHERE: dict[str, str] = {
    "make up": "tests/e2e/docs/test_pages.py",
    "docker compose up": "tests/contract/containers/test_compose.py::test_docker_compose_accepts_the_file",
    "afterword migrate --sql-user acme": "tests/integration/migrate/test_sql_user.py",
    "make test": ".ci/run",
    "make lint": ".ci/run",
    "make bench": "tests/unit/bench/test_run.py",
}

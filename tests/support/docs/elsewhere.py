"""Commands on pages that the test of a page cannot run, and the tests, or the files, that run them."""

COMPOSE = "tests/e2e/containers/test_compose.py"
CLUSTER_UP = "docker compose -f docker-compose.yml -f docker-compose.cluster.yml up --detach --wait"
ELSEWHERE: dict[str, str] = {
    "make up": "tests/e2e/docs/test_pages.py",
    "docker compose up": f"{COMPOSE}::test_a_first_up_has_every_service_healthy_at_once",
    "git pull": f"{COMPOSE}::test_an_upgrade_keeps_everything_and_migrates",
    "docker compose up --build --detach --wait": f"{COMPOSE}::test_an_upgrade_keeps_everything_and_migrates",
    CLUSTER_UP: f"{COMPOSE}::test_a_cluster_continues_without_one_of_each",
    "make compose-test": ".ci/run",
    "afterword migrate --sql-user acme": "tests/integration/migrate/test_sql_user.py",
    "pip install ./clients/python": "tests/contract/packaging/test_clients.py",
    "make test": ".ci/run",
    "make lint": ".ci/run",
    "make bench": "tests/unit/bench/test_run.py",
}

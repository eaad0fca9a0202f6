"""Commands on pages that the test of a page cannot run, and the tests, or the files, that run them."""

ELSEWHERE: dict[str, str] = {
    "make up": "tests/e2e/docs/test_pages.py",
    "make test": ".ci/run",
    "make lint": ".ci/run",
}

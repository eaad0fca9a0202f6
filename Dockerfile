# One image for every service: `docker run afterword ingest`, `merger`, `sink`, `query`, `migrate`, ...
#
# The base is an image of several processor architectures, and so is this one where it is built for several.
# Its tag receives the security fixes of Debian and Python; PYTHON_IMAGE=python@sha256:... pins one build of it.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# pip and the build tools stay outside of the environment that becomes the image.
RUN python -m venv --without-pip /opt/afterword && python -m venv /opt/build
# The dependencies change seldom, so they have layers of their own.
COPY requirements/service.txt requirements/build.txt requirements/
RUN /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
 && /opt/build/bin/pip --python /opt/afterword/bin/python install --require-hashes -r requirements/service.txt
COPY pyproject.toml README.md LICENSE ./
COPY chdb_server chdb_server
COPY schemas schemas
COPY services services
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheel \
 && /opt/build/bin/pip --python /opt/afterword/bin/python install --no-deps /wheel/*.whl

FROM ${PYTHON_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Afterword" \
      org.opencontainers.image.description="Self-hosted feedback pipeline for LLM answers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}"
# The base image has no bytecode of the standard library, and the file system is read-only later: without this
# every health check and every command would compile what it imports.
RUN groupadd --gid 10001 afterword \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/afterword --shell /usr/sbin/nologin afterword \
 && install -d -o afterword -g afterword -m 0750 /var/lib/afterword /var/lib/afterword-secrets /var/lib/afterword-audit \
 && python -m compileall -q --invalidation-mode unchecked-hash \
      -x '/(ensurepip|idlelib|lib2to3|pydoc_data|site-packages|test|tests|tkinter|turtledemo|unittest)/' \
      "$(python -c 'import os; print(os.path.dirname(os.__file__))')"
COPY --from=build /opt/afterword /opt/afterword
ENV PATH=/opt/afterword/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AFTERWORD_HOME=/var/lib/afterword \
    AFTERWORD_KEYS_FILE=/var/lib/afterword-secrets/keys.toml \
    AFTERWORD_AUDIT_FILE=/var/lib/afterword-audit/audit.ndjson \
    INGEST_HOST=0.0.0.0 \
    MERGER_METRICS_HOST=0.0.0.0 \
    SINK_METRICS_HOST=0.0.0.0 \
    QUERY_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/afterword
EXPOSE 8080 8081 8082 8083
# No HEALTHCHECK here: each service answers on a port of its own, and commands on none.
ENTRYPOINT ["afterword"]
CMD ["ingest"]

# One image for every service: `docker run afterword ingest`, `merger`, `sink`, `query`, `migrate`, ...
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python -m venv /opt/afterword
# The dependencies change seldom, so they have a layer of their own.
COPY requirements/service.txt requirements/
RUN /opt/afterword/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/service.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY services services
RUN /opt/afterword/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/afterword afterword \
 && install -d -o afterword -g afterword -m 0750 /var/lib/afterword /var/lib/afterword-secrets /var/lib/afterword-audit
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
USER afterword
WORKDIR /var/lib/afterword
EXPOSE 8080 8081
# Of ingest, the default; the compose file asks each service on its own port.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["afterword"]
CMD ["ingest"]

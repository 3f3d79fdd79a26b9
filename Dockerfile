# Two stages: the image that runs holds Python, this package and what it imports, no compiler and no sources.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY schemas schemas
COPY enos_ingest enos_ingest
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist . \
    && python -m venv /opt/enos-ingest \
    && /opt/enos-ingest/bin/pip install --no-cache-dir /dist/*.whl

FROM python:3.12-slim
RUN groupadd --gid 10001 enos-ingest \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin enos-ingest \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/enos-ingest
COPY --from=build /opt/enos-ingest /opt/enos-ingest
COPY deploy /etc/enos-ingest
# No .pyc files: the root file system may be read-only.
ENV PATH=/opt/enos-ingest/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ENOS_INGEST__STORAGE__URL=sqlite:////var/lib/enos-ingest/enos-ingest.db \
    ENOS_INGEST__MQTT__BIND=0.0.0.0:1883 \
    ENOS_INGEST__HTTP__BIND=0.0.0.0:8080
USER 10001:10001
WORKDIR /var/lib/enos-ingest
VOLUME ["/var/lib/enos-ingest"]
EXPOSE 1883 8080
STOPSIGNAL SIGTERM
# /healthz and not /readyz: a full disk or a locked database is not mended by a restart.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
CMD ["enos-ingest", "serve", "-c", "/etc/enos-ingest/enos-ingest.toml"]

# The servers of GeoSleuth: `serve` (API and page) and `mcp`. See docs/deployment.md.
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY core ./core
COPY geo ./geo
COPY retrieval ./retrieval
COPY tools ./tools
COPY belief ./belief
COPY agents ./agents
COPY graphs ./graphs
COPY evals ./evals
COPY apps ./apps
COPY geosleuth ./geosleuth
ARG EXTRAS=web,postgres,server,openai
RUN python -m venv /opt/geosleuth \
 && /opt/geosleuth/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[${EXTRAS}]"

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin geosleuth \
 && install -d -o geosleuth -g geosleuth -m 0700 /data
COPY --from=build /opt/geosleuth /opt/geosleuth
# Nothing is written but to /data and /tmp, so the root file system may be read-only.
ENV PATH=/opt/geosleuth/bin:$PATH \
    GEOSLEUTH_HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    ORT_DISABLE_TELEMETRY=1 \
    COLUMNS=200
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["geosleuth"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]

# dmp_assets: webserver, daemon and runs in one image; Java, JARs and Quarto are baked in.
FROM python:3.11-slim-bookworm AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never \
    UV_COMPILE_BYTECODE=1
WORKDIR /app
RUN pip install --no-cache-dir uv==0.13.8
COPY pyproject.toml setup.cfg uv.lock README.md ./
RUN uv sync --frozen --no-dev --no-install-project
COPY dmp_assets ./dmp_assets
RUN uv sync --frozen --no-dev --no-editable \
    && DMP_JARS_DIR=/opt/jars /opt/venv/bin/python -c \
       "from dmp_assets.platform.lake.java import fetch_jars; fetch_jars(print); fetch_jars(print, 's3'); fetch_jars(print, 'kafka')"

FROM python:3.11-slim-bookworm
# Empty: without Quarto, where its download cannot be reached; the embedded renderer takes its place.
ARG QUARTO_VERSION=1.7.34
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless curl ca-certificates tini \
    && if [ -n "$QUARTO_VERSION" ]; then \
         curl -fsSL -o /tmp/quarto.deb \
           "https://github.com/quarto-dev/quarto-cli/releases/download/v${QUARTO_VERSION}/quarto-${QUARTO_VERSION}-linux-$(dpkg --print-architecture).deb" \
         && dpkg -i /tmp/quarto.deb && rm /tmp/quarto.deb; \
       fi \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 dmp \
    && install -d -m 700 -o dmp -g dmp /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/jars /opt/jars
WORKDIR /app
COPY workspace.yaml ./
COPY reports ./reports
COPY notebooks ./notebooks
ENV PATH=/opt/venv/bin:$PATH \
    DMP_HOME=/data \
    DMP_PROJECT_DIR=/app \
    DMP_JARS_DIR=/opt/jars \
    DO_NOT_TRACK=1 \
    PYTHONUNBUFFERED=1 \
    TZ=UTC
RUN dmp setup
USER dmp
VOLUME /data
EXPOSE 3000
ENTRYPOINT ["tini", "--"]
CMD ["dmp", "up"]

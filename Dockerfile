# One image for all processes; docker-compose.yml says which command each of them runs.
#
# Debian 12 on purpose: the MariaDB client library of newer releases refuses the certificate that MySQL 8 makes for
# itself ("self-signed certificate in certificate chain").
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libmariadb-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
WORKDIR /build
COPY requirements/run.lock requirements/mysql.lock requirements/
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements/run.lock -r requirements/mysql.lock

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libmariadb3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin notifier
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY manage.py ./
COPY config config
COPY deliveries deliveries
COPY notifier notifier
RUN /opt/venv/bin/python -m compileall -q config deliveries notifier
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    DJANGO_SETTINGS_MODULE=config.settings \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER notifier
EXPOSE 8000 5555
CMD ["python", "manage.py", "help"]

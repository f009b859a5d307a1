# One image for every process of the services profile; docker-compose.yml says which runs what.
FROM python:3.11-slim-bookworm AS packages
COPY requirements.txt /
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r /requirements.txt

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/kheish --create-home kheish \
 && install -d -o kheish -g kheish -m 0700 /var/lib/kheish/state
COPY --from=packages /opt/venv /opt/venv
COPY . /app
RUN /opt/venv/bin/python -m compileall -q /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=kheish_site.settings KHEISH_STATE_DIR=/var/lib/kheish/state KHEISH_LOG_FORMAT=json
USER kheish
VOLUME /var/lib/kheish
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:4000/readyz', timeout=2)"]
CMD ["daphne", "-b", "0.0.0.0", "-p", "4000", "--no-server-name", "-v", "0", "kheish_site.asgi:application"]

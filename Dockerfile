# The gateway in a container: docker build --tag authotron .
# All that is installed has wheels for amd64 and arm64, so both can be built on either machine.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/authotron
ENV PATH=/opt/authotron/bin:$PATH
COPY requirements.lock .
RUN pip install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements.lock
COPY setup.py pyproject.toml README.md ./
COPY client client
COPY authotron authotron
COPY twisted twisted
# The last line lets Twisted write its list of plugins, which nobody may do later.
RUN pip install --no-cache-dir --no-deps --no-build-isolation ./client . \
 && pip uninstall --yes setuptools pip \
 && twistd --help >/dev/null

FROM python:3.11-slim-bookworm
COPY --from=build /opt/authotron /opt/authotron
# The command, the working directory and ./config.yaml of the image of auth-o-tron lead to those of this image.
WORKDIR /app
RUN mkdir /etc/authotron \
 && ln -s /etc/authotron/authotron.yaml config.yaml \
 && ln -s /opt/authotron/bin/authotron authotron
ENV PATH=/opt/authotron/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    AOT_CONFIG_PATH=/etc/authotron/authotron.yaml
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import os; from urllib.request import urlopen; \
urlopen(f'http://127.0.0.1:{os.environ.get(\"AOT_SERVER__PORT\") or 8080}/health', timeout=2)"]
ENTRYPOINT ["authotron"]
CMD ["run"]

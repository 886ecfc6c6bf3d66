# fvq-monitor-gpu: what runs a model. The core image's contents but ffmpeg, and torch with its CUDA libraries. The host needs NVIDIA's driver and
# container toolkit; without a GPU the same image runs on the CPU.
#
#   deploy/images/build gpu
#
# The context is the repository's root; `.dockerignore` lets in what is copied here and nothing else.

# To pin the base: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:...
ARG PYTHON=python:3.11-slim-bookworm
# Extras of pyproject.toml, with spaces between them: serve runs a model, train trains one too, ray serves one on Ray; s3 and gs for object stores.
ARG EXTRA=serve

# Installing needs uv and setuptools; they stay in this stage.
FROM ${PYTHON} AS build
ARG EXTRA
WORKDIR /source
COPY constraints.txt pyproject.toml ./
# Seconds without data; uv's default of 30 is too short for wheels of half a gigabyte.
ENV UV_HTTP_TIMEOUT=300
RUN python3 -m venv /uv && /uv/bin/pip install --no-cache-dir --constraint constraints.txt uv setuptools \
    && python3 -m venv --without-pip /opt/fvq
# Libraries in a layer of their own: they change seldom, the code often.
# hadolint ignore=SC2046,SC2086 # EXTRA is none, one or several words, and each becomes an option of its own.
RUN /uv/bin/uv pip install --no-cache --compile-bytecode --python /opt/fvq/bin/python --constraint constraints.txt \
    --requirement pyproject.toml ${EXTRA:+$(printf ' --extra %s' ${EXTRA})}
COPY LICENSE README.md ./
COPY scorer scorer
COPY streams streams
COPY training training
RUN /uv/bin/uv pip install --no-cache --compile-bytecode --python /opt/fvq/bin/python --no-deps --build-constraint constraints.txt .

FROM ${PYTHON}
# What OpenCV loads and its wheel does not contain. It draws nothing here, so Mesa's drivers and their compiler, 160 MB, go.
# hadolint ignore=DL3008 # Debian keeps only a package's newest version, so a pinned one could not be built again.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* /usr/lib/*/dri /usr/lib/*/libLLVM* /usr/lib/*/libz3.so* \
    && groupadd --gid 10001 fvq && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fvq \
    && install --directory --owner 10001 --group 10001 --mode 0750 /data /clips /segments
COPY --from=build /opt/fvq /opt/fvq
COPY deploy/images/healthcheck.py /opt/healthcheck.py

# Everything that a process writes is under /data and /tmp, so the root file system can be read-only. /clips is where processes share a
# clip store, /segments where workers see what `fvq ingest push` writes: a new volume takes its owner from the folder that it is mounted on.
ENV PATH=/opt/fvq/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    FVQ_DATA_DIR=/data \
    FVQ_LOG_FORMAT=json \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HF_HOME=/data/huggingface
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=10s --start-period=300s --retries=4 CMD ["python", "/opt/healthcheck.py"]
ENTRYPOINT ["fvq"]
CMD ["worker"]

# deploy/images/build says both.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fvq-monitor-gpu" \
      org.opencontainers.image.description="Live face-video quality monitoring: the scorer, and workers with a model of their own. With torch." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm"

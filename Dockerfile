# The project's image: every component of a compiled pipeline runs in it (docs/kubeflow.md).
# make image
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# BuildKit stamps the layers with it.
ARG SOURCE_DATE_EPOCH

FROM ${PYTHON_IMAGE} AS build
# pyfarmhash has no wheel; the image has Python's headers.
RUN apt-get update && apt-get install --yes --no-install-recommends g++
# Without bytecode TFX takes three times as long to start; with hashes in place of times in
# it, the same sources give the same files.
ENV UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH
WORKDIR /app
COPY requirements.lock ./
COPY scripts/install.sh scripts/image_environment.sh scripts/
RUN sh scripts/image_environment.sh packages /opt/slimline
COPY . .
RUN sh scripts/image_environment.sh project /opt/slimline

FROM ${PYTHON_IMAGE}
# Group 0 may write where the user may: some clusters choose the user's number.
RUN useradd --no-log-init --uid 1000 --gid 0 --create-home slimline \
    && chmod g=u /home/slimline
COPY --from=build /opt/slimline /opt/slimline
COPY --from=build /app /app
# A compiled component's command begins with `python`: it is the environment's.
ENV PATH=/opt/slimline/bin:${PATH} \
    HOME=/home/slimline \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Last, because they change with every commit.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="slimline" \
    org.opencontainers.image.description="Image classification: TFX components, tf-slim nets" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
WORKDIR /home/slimline
USER 1000:0
ENTRYPOINT ["slimline"]
CMD ["--help"]

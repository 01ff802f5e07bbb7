# One image for the API and every worker. Targets: cpu (default) and cuda.
#
#   docker build --target cpu  -t referent:cpu  .
#   docker build --target cuda -t referent:cuda .
#
# PyTorch's CPU build is not on every index: PIP_EXTRA_INDEX_URL names one that has it.

# To pin it by digest: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /app
COPY constraints.txt pyproject.toml README.md ./

FROM build AS build-cpu
COPY . .
RUN pip install -c constraints.txt torch && pip install -c constraints.txt -e ".[cpu]"

FROM build AS build-cuda
COPY . .
# The CUDA wheels bring CUDA's libraries along; the host needs the driver and NVIDIA's runtime only.
RUN sed -e '/^faiss-cpu==/d' constraints.txt > /tmp/constraints-cuda.txt \
    && pip install -c /tmp/constraints-cuda.txt torch \
    && pip install -c /tmp/constraints-cuda.txt -e ".[gpu]"

FROM ${BASE} AS run
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 referent \
    && useradd --uid 10001 --gid referent --no-create-home --home-dir /var/lib/referent referent \
    && install -d -o referent -g referent /var/lib/referent
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    OMP_WAIT_POLICY=passive \
    NUMBA_CACHE_DIR=/tmp/numba \
    REFERENT_HOME=/var/lib/referent
WORKDIR /app
USER 10001:10001
VOLUME /var/lib/referent
EXPOSE 8000
CMD ["referent", "serve", "--host", "0.0.0.0", "--port", "8000"]

FROM run AS cuda
COPY --from=build-cuda /opt/venv /opt/venv
COPY --from=build-cuda /app /app
ENV REFERENT_DEVICE=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM run AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
COPY --from=build-cpu /app /app

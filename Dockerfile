# Built with the commands a newcomer types; what runs is left without compilers, tests and sources.
#   docker build -t wan-infer . && docker run --gpus all -v MODELS:/models:ro -v wan-cache:/cache -v "$PWD":/work wan-infer t2v ...
FROM debian:12 AS build
WORKDIR /opt/wan-infer
COPY . .
RUN apt-get update && apt-get install -y --no-install-recommends bash ca-certificates && \
    ./run --cuda build --all wan-infer wan-inspect wan-remote wan-engine wan-serve wan-bench wan-bench-worker && \
    strip build/cuda/tools/wan-infer build/cuda/tools/wan-inspect build/cuda/tools/wan-remote build/cuda/tools/wan-engine build/cuda/tools/wan-serve build/cuda/tools/wan-bench build/cuda/tools/wan-bench-worker && \
    ldd build/cuda/tools/wan-engine build/cuda/tools/wan-serve | awk '/=> \// {print $3}' | xargs -n1 realpath | { xargs dpkg -S 2>/dev/null || true; } | \
      cut -d: -f1 | sort -u >/packages && \
    cd .deps/venv/lib/python3.11/site-packages && \
    find torch nvidia -mindepth 1 \( -name include -o -name test -o -name nvvm -o -name bin -o -name '*.a' \) -prune -exec rm -rf {} + && \
    find torch -type f ! -name '*.so*' -delete

FROM debian:12
# The libraries that the programs were linked with, and certificates for inputs that are URLs.
COPY --from=build /packages /tmp/packages
RUN apt-get update && xargs apt-get install -y --no-install-recommends ca-certificates ffmpeg </tmp/packages && rm -rf /var/lib/apt/lists/*
# The same paths as above: the programs look for libtorch where they were linked.
COPY --from=build /opt/wan-infer/.deps/venv/lib/python3.11/site-packages/torch/lib /opt/wan-infer/.deps/venv/lib/python3.11/site-packages/torch/lib
COPY --from=build /opt/wan-infer/.deps/venv/lib/python3.11/site-packages/nvidia /opt/wan-infer/.deps/venv/lib/python3.11/site-packages/nvidia
COPY --from=build /opt/wan-infer/build/cuda/tools/wan-infer /opt/wan-infer/build/cuda/tools/wan-inspect /opt/wan-infer/build/cuda/tools/wan-remote /opt/wan-infer/build/cuda/tools/wan-engine /opt/wan-infer/build/cuda/tools/wan-serve /opt/wan-infer/build/cuda/tools/wan-bench /opt/wan-infer/build/cuda/tools/wan-bench-worker /opt/wan-infer/build/cuda/tools/
COPY --from=build /opt/wan-infer/LICENSE /opt/wan-infer/NOTICE /opt/wan-infer/
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility XDG_CACHE_HOME=/cache
# Whoever runs it (--user): what is kept there is read and written by that user.
RUN install -d -m 1777 /cache
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["/opt/wan-infer/build/cuda/tools/wan-infer"]

# The same commands a newcomer types: ./run sets up and builds. For GPU use: docker run --gpus all -v MODELS:/models wan-infer t2v ...
FROM debian:12
WORKDIR /opt/wan-infer
COPY . .
RUN apt-get update && apt-get install -y --no-install-recommends bash ca-certificates && ./run --cuda build
ENTRYPOINT ["/opt/wan-infer/build/cuda/tools/wan-infer"]

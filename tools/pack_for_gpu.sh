#!/usr/bin/env bash
# Fills the git-ignored folder .gpu/ with what a GPU machine without network lacks for tools/gpu_check.sh: the headers
# and static libraries of nlohmann_json, CLI11, GoogleTest and OpenSSL as this machine has them, and the commit that is
# packed.
# pack_for_gpu.sh [--diffusers] [--prebuilt A]
#   --diffusers   with diffusers and what it imports, for tools/bench_baseline.py (20 MB)
#   --prebuilt A  with wan-bench and the tests, built here for these architectures ("90a-real"): no minute there goes into
#                 compiling where they start
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pack=$root/.gpu
fail() { printf 'pack_for_gpu: %s\n' "$*" >&2; exit 1; }

diffusers= prebuilt=
while [ $# -gt 0 ]; do
  case $1 in
    --diffusers) diffusers=1; shift;;
    --prebuilt) [ $# -ge 2 ] || fail "--prebuilt needs architectures, as CMake writes them"; prebuilt=$2; shift 2;;
    *) fail "unknown option $1";;
  esac
done
command -v dpkg >/dev/null || fail "dpkg is wanted: the files come from Debian or Ubuntu packages"
rm -rf "$pack"
mkdir -p "$pack"
for package in nlohmann-json3-dev libcli11-dev libgtest-dev libssl-dev; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' $package 2>/dev/null)" = installed ] || fail "the package $package is missing; ./run setup installs it"
  # CMake's package files find their headers by relative paths, so the layout below /usr is kept.
  dpkg -L $package | grep -E '^/usr/(include|lib|share/cmake)/' | grep -vE '^/usr/lib/.*/(pkgconfig|libssl\.|libcrypto\.so)' |
    while read -r file; do [ ! -f "$file" ] || (cd / && cp --parents "${file#/}" "$pack"); done
done
# OpenSSL's headers for one architecture lie in a folder that the compiler would look for below /usr alone.
cp "$pack"/usr/include/*-linux-gnu/openssl/*.h "$pack/usr/include/openssl/"
git -C "$root" describe --always --dirty --abbrev=12 >"$pack/commit"
if [ -n "$diffusers" ]; then
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --dest "$pack/wheels" \
    diffusers==0.35.1 huggingface_hub==0.34.4 safetensors regex requests tqdm filelock pyyaml importlib_metadata zipp \
    certifi charset_normalizer idna urllib3 packaging pillow
fi
if [ -n "$prebuilt" ]; then
  logs=$(mktemp -d)
  PATH=${WAN_DEPS:-$root/.deps}/venv/bin:$PATH "$root/tools/gpu_check.sh" --build-only --seconds 14400 --architectures "$prebuilt" "$logs" ||
    fail "the build failed; its output is in $logs/results.tar.gz"
  rm -rf "$logs"
  mkdir -p "$pack/prebuilt/tools" "$pack/prebuilt/tests"
  for program in tools/wan-bench tests/gpu_tests; do
    strip -o "$pack/prebuilt/$program" "${WAN_GPU_BUILD:-$root/build/gpu}/$program"
  done
  cp "${WAN_GPU_BUILD:-$root/build/gpu}"/{commit,architectures} "$pack/prebuilt/"
fi
printf 'packed %s into %s\n' "$(du -sh "$pack" | cut -f1)" "$pack" >&2

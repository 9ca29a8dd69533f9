#!/usr/bin/env bash
# On a machine with a GPU and an installed torch, without network: configures and builds what needs no FFmpeg, ICU or
# sentencepiece, runs its tests and the bench, and leaves results and logs in a folder. tools/pack_for_gpu.sh packs what
# such a machine lacks. gpu_check.sh [OPTION...] OUT
#   --seconds N        for everything (540)          --suites "ops step"   of wan-bench (all)
#   --architectures A  CMake's list (this card's)    --reference DIR       parity cases (WAN_REFERENCE, else tests/golden)
#   --build-only       stop after the build          --baseline            diffusers too (tools/bench_baseline.py)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fail() { printf 'gpu_check: %s\n' "$*" >&2; exit 2; }
command="gpu_check.sh $*"
seconds=540 suites=all architectures= reference=${WAN_REFERENCE:-} build_only= baseline= out=
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=$2; shift 2;;
    --suites) suites=$2; shift 2;;
    --architectures) architectures=$2; shift 2;;
    --reference) reference=$2; shift 2;;
    --build-only) build_only=1; shift;;
    --baseline) baseline=1; shift;;
    -*) fail "unknown option $1";;
    *) out=$1; shift;;
  esac
done
[ -n "$out" ] || fail "a folder for results is wanted"
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=${WAN_GPU_BUILD:-$root/build/gpu}
say() { printf '== %3d s: %s\n' "$SECONDS" "$*" | tee -a "$out/log.txt" >&2; }
left() { echo $((seconds - SECONDS > 1 ? seconds - SECONDS : 1)); }
failed=0
say "$command"
# Whether a sanitizer's output holds an error; that its program was ended, or a summary of none, is not one.
found_errors() {
  awk '/^========= .*(Invalid|Race|Error|hazard)/ && !/SUMMARY: 0 |terminate successfully/ { found = 1 } END { exit !found }' "$1"
}
# step NAME COMMAND...: within $limit seconds or the time that is left; its output goes to NAME.txt. A hung kernel ends
# here, too. A part with a $limit of its own may run out of it: what it has found by then counts.
step() {
  local name=$1 status=0
  shift
  say "$name"
  timeout --kill-after=5 "${limit:-$(left)}" "$@" >"$out/$name.txt" 2>&1 || status=$?
  if [ -n "${limit:-}" ] && { [ $status -eq 124 ] || [ $status -eq 137 ]; } && ! found_errors "$out/$name.txt"; then
    say "$name: its time ended first; no error up to there"
    return 0
  fi
  [ $status -eq 0 ] || { failed=1; say "$name ended with $status; the end of its output:"; tail -n 15 "$out/$name.txt" | tee -a "$out/log.txt" >&2; }
  return $status
}

# --- build

torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])') || fail "python3 knows no torch"
nvcc=$(command -v nvcc || ls "$torch"/../nvidia/cu13/bin/nvcc /usr/local/cuda/bin/nvcc 2>/dev/null | head -n 1 || true)
[ -n "$nvcc" ] || fail "nvcc is wanted, in PATH, in torch's wheels or in /usr/local/cuda"
# Wheels hold libcudart.so.13 alone, and a linker asks for the plain name.
mkdir -p "$build/cuda"
for library in "$torch"/../nvidia/cu13/lib/lib*.so.[0-9]*; do
  [ ! -e "$library" ] || ln -sf "$(readlink -f "$library")" "$build/cuda/$(basename "${library%.so.*}.so")"
done
export LIBRARY_PATH=$build/cuda${LIBRARY_PATH:+:$LIBRARY_PATH}
options=()
for name in GTest CLI11 nlohmann_json; do
  config=$(find "$root/.gpu" -name "${name}Config.cmake" 2>/dev/null | head -n 1 || true)
  [ -z "$config" ] || options+=("-D${name}_DIR=$(dirname "$config")")
done
if [ -z "$architectures" ]; then
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)
  architectures=${capability:+$capability-real}
  [ "$capability" != 90 ] || architectures=90a-real
fi
[ -z "$architectures" ] || options+=("-DWAN_CUDA_ARCHITECTURES=$architectures")
step configure cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DWAN_CORE_ONLY=ON -DWAN_TORCH_CUDA="${WAN_TORCH_CUDA:-ON}" \
  -DTORCH_ROOT="$torch" -DCMAKE_CUDA_COMPILER="$nvcc" "${options[@]}" || exit 1
step build cmake --build "$build" --target wan-bench kernels_tests models_tests gpu_tests parity_tests || exit 1
[ -z "$build_only" ] || { say "built in $build"; exit 0; }

# --- tests, then figures: what a failing kernel measures is worth nothing

[ -z "$reference" ] || export WAN_REFERENCE=$reference
# The test of the compiler's report wants every architecture, and here is one.
for part in gpu kernels models parity; do
  filter=${architectures:+-Resources.NoKernelSpillsOnAnyArchitecture}
  [ $part != gpu ] || filter='-WgmmaGpu.*'
  step "test-$part" "$build/tests/${part}_tests" ${filter:+"--gtest_filter=$filter"} || true
done
# Apart: where one of these waits for ever, nothing runs on the device behind it. What fails here is not measured.
step test-wgmma timeout --kill-after=5 "$(($(left) / 5))" "$build/tests/gpu_tests" '--gtest_filter=WgmmaGpu.*' || export WAN_WGMMA=off
# Reads and writes out of bounds, and races in shared memory, where the CUDA toolkit is here. Instrumented kernels are
# some tens of times slower: a fifth of the time for each tool, and not the tests of real lengths or whole networks.
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
[ -n "$sanitizer" ] || say "no compute-sanitizer is here: its checks are left out"
for tool in ${sanitizer:+memcheck racecheck}; do
  limit=$(($(left) / 5)) step "sanitizer-$tool" "$sanitizer" --tool "$tool" --error-exitcode 9 "$build/tests/gpu_tests" \
    '--gtest_filter=-WgmmaGpu.*:StepGpu.*:LinearGpu.Gelu*:AttentionGpu.EveryBackEnd*:AttentionGpu.TheLongestTail*' || true
done
commit=$(cat "$root/.gpu/commit" 2>/dev/null || git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
# Tenths of the time left: the baseline gets the other half, the end of a case that has begun a rest.
share=9
[ -z "$baseline" ] || share=5
for suite in $suites; do
  step "bench-$suite" "$build/tools/wan-bench" "$suite" --budget "$(($(left) * share / 10))" --commit "$commit" --json "$out/$suite.json" --plot "$out/$suite.svg" || true
done
if [ -n "$baseline" ]; then
  for wheel in "$root"/.gpu/wheels/*.whl; do
    [ ! -e "$wheel" ] || python3 -m zipfile -e "$wheel" "$out/python"
  done
  step baseline env PYTHONPATH="$out/python" python3 "$root/tools/bench_baseline.py" --budget "$(($(left) * 9 / 10))" --commit "$commit" --json "$out/diffusers.json" || true
  rm -rf "$out/python"
fi
say "done; results in $out"
exit $failed

#!/usr/bin/env bash
# The first minutes on a card, without network: tests, then figures, in parts that each have a time of their own, the most
# valuable first. What is there when it ends, however it ends, is in OUT: at most eight files, the JSON of measuring parts,
# plan.json (which part did what) and results.tar.gz (all of these, every log, and what has no room beside it). A part that
# fails or hangs ends alone. tools/pack_for_gpu.sh packs what such a machine lacks; `wan-bench adopt OUT` reads what comes back.
#   gpu_check.sh [OPTION...] OUT
#   --seconds N        for everything (540; the whole plan takes 2200)
#   --parts "A B"      these parts alone, in this order; OUT keeps what earlier calls left there
#   --list             the parts: name, seconds, what it measures and of what
#   --rehearse         the whole plan on a machine without a card, with programs and timings that stand in
#   --architectures A  CMake's list (this card's)
#   --build-only       stop after the build
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fail() { printf 'gpu_check: %s\n' "$*" >&2; exit 2; }

# name, seconds; wan-bench: its suite and the cases (--only). Seconds are estimates for an H200: those of mlperf are of one
# video with drawn weights, seven minutes, after the ceilings, the drawing and a warm-up.
plan() {
  cat <<'TABLE'
build|300
gpu-tests|90
wgmma-tests|60
step-720p|340|step|720p, 75600 tokens
ops-720p|200|ops|720p, 75600 tokens
vae|100|vae|720p
ops-vae|70|ops|VAE
step-480p|100|step|480p, 32760 tokens
diffusers|240
last-rows|60
memcheck|120
racecheck|120
profile|120
mlperf|590
TABLE
}

command="gpu_check.sh $*"
seconds= parts= architectures= build_only= rehearse= out=
while [ $# -gt 0 ]; do
  case $1 in
    --seconds|--parts|--architectures) [ $# -ge 2 ] || fail "$1 needs a value";;&
    --seconds) seconds=$2; shift 2;;
    --parts) parts=$2; shift 2;;
    --architectures) architectures=$2; shift 2;;
    --build-only) build_only=1; shift;;
    --rehearse) rehearse=1; shift;;
    --list) plan; exit 0;;
    -*) fail "unknown option $1";;
    *) out=$1; shift;;
  esac
done
[ -n "$out" ] || fail "a folder for results is wanted"
# What stands in is played to its end, however slow the machine is.
[ -n "$seconds" ] || seconds=$([ -n "$rehearse" ] && echo 86400 || echo 540)
[[ $seconds =~ ^[0-9]+$ ]] || fail "--seconds must be a whole number, got $seconds"
names=" $(plan | cut -d'|' -f1 | tr '\n' ' ')"
[ -n "$parts" ] || parts=$names
for part in $parts; do
  case $names in *" $part "*) ;; *) fail "--parts must be of$names, got $part";; esac
done
mkdir -p "$out" && out=$(cd "$out" && pwd) || fail "$out cannot be made"

# --- what is kept, and when: nothing waits for the end

work=$(mktemp -d)
[ ! -e "$out/results.tar.gz" ] || tar -C "$work" -xzf "$out/results.tar.gz" || fail "$out/results.tar.gz is damaged"
states=$work/states.txt # name|state|seconds, the newest line of a name counts
touch "$states"
failed=0 child= current=

say() { printf '== %4d s: %s\n' "$SECONDS" "$*" | tee -a "$work/log.txt" >&2; }
left() { echo $((seconds > SECONDS ? seconds - SECONDS : 0)); }
state_of() { awk -F'|' -v name="$1" '$1 == name { state = $2 } END { print state }' "$states"; }

publish() {
  {
    printf '{"schema": 1, "command": "%s", "commit": "%s", "date": "%s", "rehearsal": %s, "parts": [' "${command//[\"\\]/}" \
      "$commit" "$(date -u +%F)" "$([ -n "$rehearse" ] && echo true || echo false)"
    awk -F'|' '{ if (!($1 in state)) order[++count] = $1; state[$1] = $2; time[$1] = $3 }
      END { for (i = 1; i <= count; ++i) printf "%s\n {\"name\": \"%s\", \"state\": \"%s\", \"seconds\": %d}", (i > 1 ? "," : ""),
            order[i], state[order[i]], time[order[i]] }' "$states"
    printf ']}\n'
  } >"$work/plan.json"
  cp "$work/plan.json" "$out/.part" && mv "$out/.part" "$out/plan.json"
  for json in "$out"/*.json; do [ "$json" = "$out/plan.json" ] || cp "$json" "$work/"; done 2>/dev/null
  tar -C "$work" --exclude=./python --exclude=./cache --exclude=./stand-ins -czf "$out/.part" . && mv "$out/.part" "$out/results.tar.gz"
}
note_state() {
  printf '%s|%s|%d\n' "$1" "$2" "$3" >>"$states"
  publish
}
# Ends what runs; what it has written counts.
stopped() {
  [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null; wait "$child" 2>/dev/null; }
  [ -z "$current" ] || note_state "$current" stopped 0
  exit "$1"
}
finish() { publish; rm -rf "$work"; }
commit=rehearsal
[ -n "$rehearse" ] || commit=$(cat "$root/.gpu/commit" 2>/dev/null || git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
trap finish EXIT
trap 'stopped 129' HUP
trap 'stopped 130' INT
trap 'stopped 143' TERM

# Whether a sanitizer's output holds an error; that its program was ended, or a summary of none, is not one.
found_errors() {
  awk '/^========= .*(Invalid|Race|Error|hazard)/ && !/SUMMARY: 0 |terminate successfully/ { found = 1 } END { exit !found }' "$1"
}

# run NAME LIMIT COMMAND...: within its seconds and what is left of all; the output goes to NAME.txt.
run() {
  local name=$1 limit=$2 status=0 begun=$SECONDS state=done
  shift 2
  [ -z "$rehearse" ] && [ "$limit" -le "$(left)" ] || limit=$(left)
  if [ "$limit" -lt 1 ]; then
    say "$name: no time is left"
    note_state "$name" "not begun" 0
    return 1
  fi
  say "$name, at most $limit s"
  current=$name
  note_state "$name" begun 0
  WAN_PART=$name WAN_PLAN=$$ timeout --kill-after=5 "$limit" "$@" >"$work/$name.txt" 2>&1 &
  child=$!
  wait "$child" || status=$?
  child= current=
  case $name:$status in
    *check:124|*check:137) found_errors "$work/$name.txt" && state=failed || state="time ended, no error up to there";;
    *:0) ;;
    *:124|*:137) state="time ended";;
    *) state="failed with $status";;
  esac
  [ "$state" = done ] || say "$name: $state"
  case $state in "failed"*|"time ended") failed=1; tail -n 15 "$work/$name.txt" | tee -a "$work/log.txt" >&2;; esac
  note_state "$name" "$state" $((SECONDS - begun))
  [ "$state" = done ]
}

# --- programs: those that were built elsewhere where they start, else built here, else those that stand in

build=${WAN_GPU_BUILD:-$root/build/gpu}
programs=$build

find_tools() {
  torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])') || fail "python3 knows no torch"
  if [ -z "$architectures" ]; then
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)
    architectures=${capability:+$capability-real}
    [ "$capability" != 90 ] || architectures=90a-real
  fi
}

# Of this commit, for this card, and able to load its libraries.
starts() {
  [ "$(cat "$1/commit" 2>/dev/null)" = "$commit" ] && [ "$(cat "$1/architectures" 2>/dev/null)" = "$architectures" ] &&
    (libraries "$1"; "$1/tools/wan-bench" --help && "$1/tests/gpu_tests" --gtest_list_tests) >/dev/null 2>&1
}
libraries() { for folder in "$torch/lib" "$torch"/../nvidia/*/lib; do export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder; done; }

compile() {
  local nvcc name config library options=()
  nvcc=$(command -v nvcc || ls "$torch"/../nvidia/cu13/bin/nvcc /usr/local/cuda/bin/nvcc 2>/dev/null | head -n 1)
  [ -n "$nvcc" ] || { echo "nvcc is wanted, in PATH, in torch's wheels or in /usr/local/cuda"; return 1; }
  # A checkout that was moved or copied: CMake refuses a cache of another path.
  [ ! -e "$build/CMakeCache.txt" ] || [ "$(readlink -f "$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt")")" = "$(readlink -f "$root")" ] || rm -rf "$build"
  # Wheels hold libcudart.so.13 alone, and a linker asks for the plain name.
  mkdir -p "$build/cuda"
  for library in "$torch"/../nvidia/cu13/lib/lib*.so.[0-9]*; do
    [ ! -e "$library" ] || ln -sf "$(readlink -f "$library")" "$build/cuda/$(basename "${library%.so.*}.so")"
  done
  export LIBRARY_PATH=$build/cuda${LIBRARY_PATH:+:$LIBRARY_PATH}
  for name in GTest CLI11 nlohmann_json; do
    config=$(find "$root/.gpu" -name "${name}Config.cmake" 2>/dev/null | head -n 1)
    [ -z "$config" ] || options+=("-D${name}_DIR=$(dirname "$config")")
  done
  library=$(find "$root/.gpu" -name libcrypto.a 2>/dev/null | head -n 1)
  [ -z "$library" ] || options+=("-DOPENSSL_CRYPTO_LIBRARY=$library" "-DOPENSSL_INCLUDE_DIR=$root/.gpu/usr/include")
  [ -z "$architectures" ] || options+=("-DWAN_CUDA_ARCHITECTURES=$architectures")
  cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DWAN_CORE_ONLY=ON -DWAN_TORCH_CUDA="${WAN_TORCH_CUDA:-ON}" \
    -DTORCH_ROOT="$torch" -DCMAKE_CUDA_COMPILER="$nvcc" "${options[@]}" &&
    cmake --build "$build" --target wan-bench gpu_tests
}
export -f compile
export root build torch architectures

make_programs() { # LIMIT
  local name
  if [ -n "$rehearse" ]; then
    programs=$work/stand-ins
    mkdir -p "$programs/tools" "$programs/tests"
    for name in tools/wan-bench tests/gpu_tests compute-sanitizer baseline compile; do
      ln -sf "$root/tools/gpu_stand_in.py" "$programs/$name"
    done
    run build "$1" "$programs/compile"
  elif [ -z "$build_only" ] && starts "$root/.gpu/prebuilt"; then
    programs=$root/.gpu/prebuilt
    libraries "$programs"
    say "build: the programs that were built elsewhere start here"
    note_state build "not needed" 0
  else
    export torch architectures
    run build "$([ -n "$build_only" ] && left || echo "$1")" bash -c compile && printf '%s\n' "$commit" >"$build/commit" &&
      printf '%s\n' "$architectures" >"$build/architectures"
  fi
}

# --- the parts

# Where a part's result goes: OUT has room for eight files.
json_of() { case $1 in ops-vae|profile) echo "$work/$1.json";; *) echo "$out/$1.json";; esac; }
bench() { # NAME LIMIT SUITE ONLY
  # No case is begun in the last fifth: it would be cut.
  run "$1" "$2" "$programs/tools/wan-bench" "$3" --only "$4" --budget $((($2 < $(left) ? $2 : $(left)) * 4 / 5 + 1)) \
    --commit "$commit" --json "$(json_of "$1")" --plot "$work/$1.svg"
}
sanitize() { # NAME LIMIT: instrumented kernels are some tens of times slower, so not the tests of real lengths or networks
  local sanitizer=$programs/compute-sanitizer
  [ -n "$rehearse" ] || sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  [ -n "$sanitizer" ] || { say "$1: no compute-sanitizer is here"; note_state "$1" "not begun" 0; return; }
  run "$1" "$2" "$sanitizer" --tool "$1" --error-exitcode 9 "$programs/tests/gpu_tests" \
    '--gtest_filter=-WgmmaGpu.*:StepGpu.*:LastRowsGpu.*:LinearGpu.Gelu*:AttentionGpu.EveryBackEnd*:AttentionGpu.TheLongestTail*'
}
profile() { # NAME LIMIT: one forward, operation by operation
  run "$1" "$2" "$programs/tools/wan-bench" profile --commit "$commit" --json "$(json_of "$1")" --trace "$work/$1.trace"
}
mlperf() { # NAME LIMIT: one whole video; a part of one is no result
  [ -n "$rehearse" ] || [ "$(left)" -ge 480 ] || { say "$1: less than the 480 s of a video are left"; note_state "$1" "not begun" 0; return; }
  run "$1" "$2" "$programs/tools/wan-bench" mlperf --videos 1 --commit "$commit" --json "$(json_of "$1")"
}
baseline() {
  local wheel command=("$programs/baseline")
  [ -n "$rehearse" ] || command=(env "PYTHONPATH=$work/python" python3 "$root/tools/bench_baseline.py")
  for wheel in "$root"/.gpu/wheels/*.whl; do
    [ -n "$rehearse" ] || [ ! -e "$wheel" ] || python3 -m zipfile -e "$wheel" "$work/python"
  done
  run "$1" "$2" "${command[@]}" --only 720p --budget $(($2 * 2 / 3)) --commit "$commit" --json "$out/$1.json"
}

say "$command"
[ -n "$rehearse" ] || find_tools
[ -n "$rehearse" ] || nvidia-smi -q >"$work/card.txt" 2>&1
export XDG_CACHE_HOME=$work/cache
built=
for part in $parts; do
  IFS='|' read -r name limit suite only < <(plan | grep "^$part|")
  # Every part wants the programs.
  if [ -z "$built" ]; then
    make_programs "$(plan | sed -n 's/^build|//p')" || { say "nothing can run without programs"; exit 1; }
    built=1
    [ -z "$build_only" ] || { say "built in $build"; exit 0; }
  fi
  # What fails with wgmma, or hung there, is not measured.
  case $(state_of wgmma-tests) in failed*|"time ended") export WAN_WGMMA=off;; esac
  case $name in
    build) ;;
    gpu-tests) run "$name" "$limit" "$programs/tests/gpu_tests" '--gtest_filter=-WgmmaGpu.*:LastRowsGpu.*';;
    # A program run of their own: where one of these waits for ever, nothing else runs on the device behind it.
    wgmma-tests) run "$name" "$limit" "$programs/tests/gpu_tests" '--gtest_filter=WgmmaGpu.*';;
    last-rows) run "$name" "$limit" "$programs/tests/gpu_tests" '--gtest_filter=LastRowsGpu.*';;
    diffusers) baseline "$name" "$limit";;
    memcheck|racecheck) sanitize "$name" "$limit";;
    profile) profile "$name" "$limit";;
    mlperf) mlperf "$name" "$limit";;
    *) bench "$name" "$limit" "$suite" "$only";;
  esac
done
say "done; results in $out"
exit $failed

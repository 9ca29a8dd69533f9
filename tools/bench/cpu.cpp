#include "tools/bench/cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kernels/dequantise/coded_matrix.h"
#include "models/vae/latent.h"
#include "models/vae/latent_rgb.h"
#include "models/vae/vae.h"
#include "models/wan/model.h"
#include "models/wav2vec2/model.h"
#include "tools/bench/child.h"
#include "tools/bench/drawn.h"
#include "tools/bench/measure.h"
#include "tools/bench/statistics.h"
#include "tools/bench/step_cache.h"

namespace wan::bench {
namespace {

using nlohmann::json;
using Run = std::function<void()>;

/// 9 frames of 256x256 at the real width of 96 channels.
Run vae_decode(const CpuOptions&) {
  Weights weights(draw_on(at::kCPU, at::kFloat));
  auto model = std::make_shared<const vae::Vae>(weights.root(), vae::Widths{});
  at::Tensor latent = at::randn({16, 3, 32, 32}, at::kFloat);
  return [model, latent] { vae::decode(model->decoder, latent); };
}

/// The picture of a preview of 720p.
Run preview(const CpuOptions&) {
  const vae::LatentRgb map{at::rand({vae::kLatentChannels + 1, 3}, at::kDouble)};
  const at::Tensor latents = at::randn({vae::kLatentChannels, 21, 90, 160}, at::kFloat);
  return [map, latents] { vae::preview_picture(map, latents); };
}

/// One block of A14B over video tokens and 512 text tokens whose keys and values it makes anew, as diffusers does.
Run transformer_block(const CpuOptions& options) {
  const WanConfig& config = kWanT2vA14b;
  Weights weights(draw_on(at::kCPU, at::kFloat));
  auto block = std::make_shared<const AttentionBlock>(weights.root(), config, at::kFloat);
  const int64_t rows = 32;
  at::Tensor x = at::randn({1, options.tokens, config.dim}), text = at::randn({1, config.text_len, config.dim});
  const Rope rope =
      kernels::make_rope(kernels::grid_positions(1, options.tokens / rows, rows), config.head_dim(), at::kCPU);
  const Pass pass = {rope, {options.tokens}, {{}, at::randn({6, 1, config.dim})}};
  return [block, x, text, pass] {
    Context context = {text, {std::nullopt}};
    std::vector<Branch> branch = {{x, &context}};
    run_block(*block, 0, branch, pass);
  };
}

/// Of A14B: so many tokens, as near as rows of 32 come.
Resolution tokens_of(const CpuOptions& options) {
  return {"cpu", 1, options.tokens / 32, 32};
}
Site on_cpu() {
  Site site;
  site.device = at::kCPU;
  site.dtype = at::kFloat;
  return site;
}

/// What a step cache adds to a computed forward, and the whole of a forward that reuses: one branch.
Run step_cache_keep(const CpuOptions& options) {
  return [run = keeping(on_cpu(), tokens_of(options))] { run(); };
}
Run step_cache_reuse(const CpuOptions& options) {
  return [run = reusing(on_cpu(), tokens_of(options))] { run(); };
}

/// wav2vec2-large on 10 s of audio, every hidden state.
Run wav2vec2(const CpuOptions&) {
  Weights weights(draw_on(at::kCPU, at::kFloat));
  auto model = std::make_shared<const Wav2Vec2>(weights, wav2vec2_large());
  at::Tensor samples = at::randn({160000});
  return [model, samples] { model->hidden_states(samples, [](int64_t, const at::Tensor&) {}); };
}

/// A weight of 5120 x 5120 in codes, widened to float32.
constexpr int64_t kWidth = 5120;
Run widening(kernels::Code code) {
  const kernels::Coding& coding = kernels::coding_of(code);
  const kernels::CodedMatrix matrix{
      .coding = &coding,
      .columns = kWidth,
      .codes = at::randint(0, 256, {kWidth, kWidth / coding.elements * coding.bytes}, at::kByte)};
  return [matrix] { kernels::widen(matrix, 0, kWidth, at::kFloat); };
}
/// A copy of as many values.
Run copying() {
  const at::Tensor values = at::zeros({kWidth, kWidth}, at::kFloat).fill_(1);
  return [values] { values.clone(); };
}

/// What runs inside a process, and what its time is told in.
struct Network {
  std::string name;
  std::function<Run(const CpuOptions&)> make;
  bool in_copies = false;
};

std::vector<Network> networks() {
  std::vector<Network> all = {{"vae_decode", vae_decode},
                              {"preview", preview},
                              {"transformer_block", transformer_block},
                              {"step_cache_keep", step_cache_keep},
                              {"step_cache_reuse", step_cache_reuse},
                              {"wav2vec2", wav2vec2}};
  for (int code = 0; code <= int(kernels::Code::NVFP4); ++code) {
    const auto one = kernels::Code(code);
    // The two orders of E2M1 have one name.
    if (one == kernels::Code::E2M1Swapped) continue;
    all.push_back({"widen_" + std::string(kernels::coding_of(one).name),
                   [one](const CpuOptions&) { return widening(one); }, /*in_copies=*/true});
  }
  return all;
}

/// A program and its arguments behind wan-infer.
struct Program {
  const char* name;
  std::vector<std::string> arguments;
};
std::vector<Program> programs(const CpuOptions& options) {
  return {{"start_help", {"--help"}},
          {"start_dry_run", {"t2v", "--prompt", "a red circle", "--dry-run"}},
          {"start_wrong_flag", {"t2v", "--promt", "a red circle"}},
          {"inspect", {"inspect", options.model}}};
}

double cpu_seconds() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}

double rounded(double value) {
  return std::round(value * 1e4) / 1e4;
}

json line(const std::string& name, const std::vector<double>& seconds, const std::vector<double>& cpu, double peak_mb) {
  const Summary summary = summarise(seconds);
  return {{"name", name},
          {"seconds", rounded(summary.median)},
          {"p10", rounded(summary.p10)},
          {"p90", rounded(summary.p90)},
          {"cpu_seconds", rounded(summarise(cpu).median)},
          {"peak_rss_mb", std::round(peak_mb)}};
}

json measure(const Network& network, const CpuOptions& options) {
  const Run run = network.make(options), copy = network.in_copies ? copying() : Run([] {});
  run();
  copy();
  std::vector<double> seconds, cpu, copies;
  for (int i = 0; i < options.runs; ++i) {
    const double before = cpu_seconds();
    seconds.push_back(wall_milliseconds(run) / 1000);
    cpu.push_back(cpu_seconds() - before);
    copies.push_back(wall_milliseconds(copy) / 1000);
  }
  json result = line(network.name, seconds, cpu, peak_resident_mb());
  result["threads"] = at::get_num_threads();
  if (network.in_copies) result["copies"] = rounded(summarise(seconds).median / summarise(copies).median);
  return result;
}

/// The same row by another process of this program.
std::string measure_apart(const Network& network, const CpuOptions& options) {
  const ChildResult result = run_child(
      {options.programs + "/wan-bench", "cpu", "--in-process", "--runs", std::to_string(options.runs), "--threads",
       std::to_string(at::get_num_threads()), "--tokens", std::to_string(options.tokens), network.name});
  if (result.status != 0)
    throw std::runtime_error("[" + network.name + "] its process ended with " + std::to_string(result.status));
  return result.out;
}

json measure(const Program& program, const CpuOptions& options) {
  std::vector<std::string> command = {options.programs + "/wan-infer"};
  command.insert(command.end(), program.arguments.begin(), program.arguments.end());
  std::vector<double> seconds, cpu;
  double peak_mb = 0;
  int status = 0;
  for (int i = 0; i < options.runs + 1; ++i) {
    const ChildResult result = run_child(command, /*quiet=*/true);
    peak_mb = std::max(peak_mb, result.peak_mb);
    status = result.status;
    if (i == 0) continue;  // brings the files into the cache
    seconds.push_back(result.seconds);
    cpu.push_back(result.cpu_seconds);
  }
  json row = line(program.name, seconds, cpu, peak_mb);
  row["status"] = status;
  return row;
}

}  // namespace

std::vector<std::string> cpu_rows() {
  std::vector<std::string> names;
  for (const Network& network : networks()) names.push_back(network.name);
  for (const Program& program : programs({})) names.push_back(program.name);
  return names;
}

void cpu(const CpuOptions& options, std::ostream& out) {
  const std::vector<std::string> known = cpu_rows();
  for (const std::string& name : options.rows) {
    std::string list;
    for (const std::string& row : known) list += (list.empty() ? "" : ", ") + row;
    if (!std::count(known.begin(), known.end(), name))
      throw std::invalid_argument("[cpu] a row must be one of " + list + ", got '" + name + "'");
  }
  const auto wanted = [&](const std::string& name) {
    return options.rows.empty() || std::count(options.rows.begin(), options.rows.end(), name);
  };
  for (const Network& network : networks()) {
    if (!wanted(network.name)) continue;
    if (options.in_process)
      out << measure(network, options).dump() << std::endl;
    else
      out << measure_apart(network, options) << std::flush;
  }
  for (const Program& program : programs(options)) {
    if (!wanted(program.name)) continue;
    if (std::string(program.name) == "inspect" && options.model.empty())
      out << json{{"name", program.name}, {"left_out", "--model DIR is wanted"}}.dump() << std::endl;
    else if (!std::filesystem::exists(options.programs + "/wan-infer"))
      out << json{{"name", program.name}, {"left_out", "wan-infer does not lie beside wan-bench"}}.dump() << std::endl;
    else
      out << measure(program, options).dump() << std::endl;
  }
}

}  // namespace wan::bench

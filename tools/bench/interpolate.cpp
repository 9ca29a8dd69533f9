#include "tools/bench/interpolate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "models/film/model.h"
#include "models/film/needs.h"
#include "models/rife/model.h"
#include "models/rife/needs.h"
#include "tools/bench/child.h"
#include "tools/bench/counted_memory.h"
#include "tools/bench/counted_work.h"
#include "tools/bench/drawn.h"
#include "tools/bench/measure.h"
#include "tools/bench/statistics.h"

namespace wan::bench {
namespace {

using at::Tensor;
using nlohmann::json;

constexpr double kTime = 0.5;
constexpr int64_t kClipFrames = 81;
constexpr uint64_t kSeed = 3;

double cpu_seconds() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}

double rounded(double value) {
  return std::round(value * 1e4) / 1e4;
}

/// The resident set of this process now, bytes.
int64_t resident_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}
/// From here on the largest resident set is that of now.
void forget_resident_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

/// Texture that moves by some pixels from each picture to the next.
std::vector<Tensor> moving_pictures(int64_t height, int64_t width) {
  at::manual_seed(kSeed);
  const Tensor all = at::avg_pool2d(at::rand({1, 3, height + 12, width + 12}), 5, 1);
  std::vector<Tensor> pictures;
  for (int64_t i = 0; i < 3; ++i) pictures.push_back(all.narrow(2, 2 * i, height).narrow(3, 4 * i, width).contiguous());
  return pictures;
}

struct Clock {
  std::vector<double> seconds, cpu;

  template <typename Work>
  auto time(const Work& work) {
    const double before = cpu_seconds();
    std::optional<decltype(work())> result;
    seconds.push_back(wall_milliseconds([&] { result.emplace(work()); }) / 1000);
    cpu.push_back(cpu_seconds() - before);
    return std::move(*result);
  }
};

void add(json& row, const std::string& name, const Clock& clock) {
  row[name + "_seconds"] = rounded(summarise(clock.seconds).median);
  row[name + "_cpu_seconds"] = rounded(summarise(clock.cpu).median);
}

/// A pair of frames after the other, as a stream has them: each frame is computed once.
template <typename Model>
void measure_stream(const Model& model, const InterpolateOptions& options, json& row) {
  const std::vector<Tensor> pictures = moving_pictures(options.height, options.width);
  forget_resident_peak();
  const int64_t resident = resident_bytes();
  {
    CountedMemory memory;  // and the warm-up
    memory.begin();
    const int64_t before = memory.now();
    const auto first = model.frame(pictures[0]), second = model.frame(pictures[1]);
    model.between(first, second, kTime);
    row["activation_peak_bytes"] = memory.peak() - before;
  }
  Clock frames, betweens, pairs;
  auto last = model.frame(pictures[0]);
  for (int i = 1; i <= options.runs; ++i) {
    auto next = frames.time([&] { return model.frame(pictures[size_t(i) % pictures.size()]); });
    betweens.time([&] { return model.between(last, next, kTime); });
    pairs.seconds.push_back(frames.seconds.back() + betweens.seconds.back());
    pairs.cpu.push_back(frames.cpu.back() + betweens.cpu.back());
    last = std::move(next);
  }
  add(row, "frame", frames);
  add(row, "between", betweens);
  add(row, "pair", pairs);
  row["rss_peak_bytes"] = int64_t(peak_resident_mb() * 1024 * 1024);
  row["rss_above_bytes"] = row["rss_peak_bytes"].get<int64_t>() - resident;
}

/// Bytes on the host to a picture on the card, and a picture to bytes: what the chain does around the network.
Tensor from_bytes(const Tensor& bytes, at::ScalarType dtype) {
  return bytes.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat).div_(255).to(dtype).contiguous();
}
void to_bytes(const Tensor& picture) {
  picture.isfinite().all();
  const Tensor scaled = picture.to(at::kFloat).clamp(0, 1).mul_(255).round_();
  scaled[0].permute({1, 2, 0}).to(at::kByte).contiguous();
}

/// What a clip of 81 frames with one between each two takes of a card.
template <typename Model>
json on_card(const Model& planned, const InterpolateOptions& options) {
  const Tensor bytes = at::empty({options.height, options.width, 3}, at::TensorOptions(at::kMeta).dtype(at::kByte));
  const auto frame_of = [&] { return planned.frame(from_bytes(bytes, at::kHalf)); };
  const auto first = frame_of(), second = frame_of();
  const CountedWork frame = counted_work(frame_of);
  const CountedWork between = counted_work([&] { to_bytes(planned.between(first, second, kTime)); });
  const CountedWork clip = frame * double(kClipFrames) + between * double(kClipFrames - 1);
  const double through_link = double(2 * kClipFrames - 1) * double(bytes.nbytes());
  const CardRates& card = options.card;
  const double arithmetic = clip.flops / card.flops, memory = clip.bytes / card.bandwidth;
  const auto work_json = [](const CountedWork& work) {
    return json{{"flops", work.flops}, {"bytes", work.bytes}, {"operations", work.operations}};
  };
  return {{"name", card.name},
          {"measured", false},
          {"dtype", "fp16"},
          {"frame", work_json(frame)},
          {"between", work_json(between)},
          {"clip_frames", kClipFrames},
          {"clip_arithmetic_seconds", rounded(arithmetic)},
          {"clip_memory_seconds", rounded(memory)},
          {"clip_link_seconds", rounded(through_link / card.link)},
          {"clip_seconds", rounded(arithmetic + memory + through_link / card.link)}};
}

/// Weights on the meta device, in half: those of a network on a card, by their shapes.
struct PlannedWeights {
  Weights weights{draw_on(at::kMeta, at::kHalf), Place::on(at::kMeta, at::kHalf)};
};

/// Released once the network is built: then the mapped file goes, as far as none of its tensors is a weight.
std::unique_ptr<Weights> weights_of(const std::string& file) {
  const Place place = Place::on(at::kCPU, at::kFloat);
  at::manual_seed(kSeed);
  return file.empty() ? std::make_unique<Weights>(draw_on(at::kCPU, at::kFloat), place)
                      : std::make_unique<Weights>(Checkpoint::open(file), place);
}

void measure_film(const InterpolateOptions& options, json& row) {
  auto weights = weights_of(options.film);
  const auto model = options.film.empty() ? film::Model(weights->root(), film::kPublished) : film::Model(*weights);
  if (!options.film.empty()) weights->finish();
  weights.reset();
  const film::Needs needs = film::needs(model.config(), options.height, options.width);
  measure_stream(model, options, row);
  row["activation_planned_bytes"] = needs.peak_bytes;
  row["frame_bytes"] = needs.frame_bytes;
  row["frame_flops"] = needs.frame_flops;
  row["between_flops"] = needs.pair_flops;
  if (options.card.name.empty()) return;
  PlannedWeights planned;
  row["card"] = on_card(film::Model(planned.weights.root(), model.config(), {.dtype = at::kHalf}), options);
}

void measure_rife(const InterpolateOptions& options, json& row) {
  const rife::Architecture drawn{rife::Version::V4_25, {192, 128, 96, 64, 32}, 16};
  auto weights = weights_of(options.rife);
  const auto model = options.rife.empty() ? rife::Model(weights->root(), drawn) : rife::Model(*weights);
  if (!options.rife.empty()) weights->finish();
  weights.reset();
  const rife::Architecture& architecture = model.architecture();
  const rife::Memory memory = rife::memory_of(architecture, options.height, options.width, {}, at::get_num_threads());
  const rife::Work work = rife::work_of(architecture, options.height, options.width);
  row["version"] = rife::releases(architecture.version);
  measure_stream(model, options, row);
  row["activation_planned_bytes"] = 2 * memory.frame + std::max(memory.encode - memory.frame, memory.between);
  row["frame_bytes"] = memory.frame;
  row["frame_flops"] = work.frame;
  row["between_flops"] = work.between;
  if (options.card.name.empty()) return;
  PlannedWeights planned;
  row["card"] = on_card(rife::Model(planned.weights.root(), architecture, {.dtype = at::kHalf}), options);
}

std::string measured_here(const std::string& network, const InterpolateOptions& options) {
  const std::string& file = network == "film" ? options.film : options.rife;
  json row = {{"name", network},
              {"weights", file.empty() ? "drawn" : std::filesystem::path(file).filename().string()},
              {"height", options.height},
              {"width", options.width},
              {"threads", at::get_num_threads()},
              {"dtype", "fp32"}};
  (network == "film" ? measure_film : measure_rife)(options, row);
  return row.dump() + "\n";
}

/// The same by another process of this program.
std::string measured_apart(const std::string& network, const InterpolateOptions& options) {
  std::vector<std::string> command = {options.program, "interpolate", "--in-process"};
  const auto add = [&](const std::string& flag, const std::string& value) {
    if (!value.empty()) command.insert(command.end(), {flag, value});
  };
  add("--film", options.film);
  add("--rife", options.rife);
  add("--height", std::to_string(options.height));
  add("--width", std::to_string(options.width));
  add("--runs", std::to_string(options.runs));
  add("--threads", std::to_string(at::get_num_threads()));
  add("--card", options.card.name.empty() ? "none" : options.card.name);
  command.push_back(network);
  const ChildResult result = run_child(command);
  if (result.status != 0)
    throw std::runtime_error("[" + network + "] its process ended with " + std::to_string(result.status));
  return result.out;
}

}  // namespace

void interpolate(const InterpolateOptions& options, std::ostream& out,
                 const std::function<void(const std::string& line)>& each) {
  const std::vector<std::string> known = {"film", "rife"};
  for (const std::string& name : options.networks)
    if (!std::count(known.begin(), known.end(), name))
      throw std::invalid_argument("[interpolate] a network must be film or rife, got '" + name + "'");
  if (options.height < 16 || options.width < 16)
    throw std::invalid_argument("[interpolate] frames must have sides from 16 on, got " +
                                std::to_string(options.width) + "x" + std::to_string(options.height));
  for (const std::string& name : options.networks.empty() ? known : options.networks) {
    const std::string line = options.in_process ? measured_here(name, options) : measured_apart(name, options);
    out << line << std::flush;
    if (each) each(line);
  }
}

}  // namespace wan::bench

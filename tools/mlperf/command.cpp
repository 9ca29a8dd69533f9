#include "tools/mlperf/command.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "engine/sampling/noise.h"
#include "models/weights/checkpoint.h"
#include "tools/bench/ceilings.h"
#include "tools/bench/device.h"
#include "tools/mlperf/drawn_maker.h"
#include "tools/mlperf/frames.h"
#include "tools/mlperf/measure.h"
#ifndef WAN_CORE_ONLY
#include "tools/mlperf/stored_maker.h"
#endif

namespace wan::mlperf {
namespace {

constexpr int64_t kVideos = 3;

/// Without a card: what a CPU makes in a second.
constexpr int64_t kSmallPixels = 64, kSmallFrames = 5, kSmallSteps = 2;

Settings settings_of(const Options& options, bool card) {
  Settings settings;
  if (options.scenario != "single" && options.scenario != "offline")
    throw std::invalid_argument("[scenario] must be single or offline, got " + options.scenario);
  settings.scenario = options.scenario == "offline" ? Scenario::Offline : Scenario::SingleStream;
  settings.width = options.width.value_or(card ? settings.width : kSmallPixels);
  settings.height = options.height.value_or(card ? settings.height : kSmallPixels);
  settings.frames = options.frames.value_or(card ? settings.frames : kSmallFrames);
  settings.steps = options.steps.value_or(card ? settings.steps : kSmallSteps);
  settings.guidance = options.guidance;
  settings.guidance_2 = options.guidance_2;
  settings.boundary = options.boundary;
  settings.shift = options.shift;
  settings.check();
  return settings;
}

Precision precision_of(const std::string& word) {
  if (word == "exact") return Precision::Exact;
  if (word == "balanced") return Precision::Balanced;
  if (word == "fast") return Precision::Fast;
  throw std::invalid_argument("[precision] must be exact, balanced or fast, got " + word);
}

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  if (!in)
    throw std::invalid_argument("[negative] must be a file with the negative prompt; " + file + " cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  std::string line = text.str();
  for (char& c : line)
    if (c == '\n' || c == '\r') c = ' ';
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

/// The one tensor of a file, [16, T, h, w] or with an axis of 1 before.
Tensor latent_of(const std::string& file) {
  const Checkpoint checkpoint = Checkpoint::open(file);
  if (checkpoint.tensors().size() != 1)
    throw std::invalid_argument("[latent] must be a file with one tensor; " + file + " holds " +
                                std::to_string(checkpoint.tensors().size()));
  Tensor latent = checkpoint.map(checkpoint.tensors().begin()->first).to(at::kFloat).clone();
  return latent.dim() == 5 && latent.size(0) == 1 ? latent[0] : latent;
}

Tensor start_of(const Options& options, const Settings& settings, bench::Report& report) {
  report.environment["latent"] = options.latent.empty() ? "drawn on the CPU, seed " + std::to_string(options.seed)
                                                        : std::filesystem::path(options.latent).filename().string();
  if (!options.latent.empty()) return latent_of(options.latent);
  const auto shape = settings.latent_shape();
  return Noise(options.seed, at::kCPU).draw({shape[0], shape[1], shape[2], shape[3]});
}

bench::Site site_of(const kernels::Options& options, bool card) {
  bench::Site site;
  if (!card) {
    site.device = at::kCPU;
    site.dtype = at::kFloat;
  }
  site.context = kernels::make_context(options, card ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU));
  return site;
}

std::unique_ptr<VideoMaker> maker_of(const Options& options, const Settings& settings, Precision precision,
                                     const bench::Site& site) {
  if (options.model.empty()) {
    const bool small = options.small_networks || !site.is_cuda();
    return std::make_unique<DrawnMaker>(site, small ? small_sizes() : DrawnSizes{}, settings, precision);
  }
#ifdef WAN_CORE_ONLY
  throw std::invalid_argument(
      "[model] needs a build with the engine, this one has kernels and networks alone; leave --model out, then weights "
      "are drawn");
#else
  return stored_maker(options.model, options.precision, site.is_cuda() ? "cuda" : "cpu", settings, options.kernels);
#endif
}

FrameFiles files_of(const Options& options, bench::Report& report) {
  if (!options.frames_to.empty() && !std::filesystem::is_directory(options.frames_to))
    throw std::invalid_argument("[frames-to] must be a folder that is there, got " + options.frames_to);
#ifdef WAN_CORE_ONLY
  report.left_out.push_back({"mlperf", "encode", "", "wan-infer", "this build has no encoder"});
  return options.frames_to.empty() ? FrameFiles{} : picture_files(options.frames_to);
#else
  (void)report;
  return mp4_files(options.frames_to);
#endif
}

}  // namespace

bench::Report run(const Options& options, const std::function<void(const bench::Report&)>& save) {
  const bool card = bench::has_device();
  bench::Report report{.command = options.command,
                       .commit = options.commit,
                       .environment = bench::device_environment(),
                       .ceilings = {},
                       .rows = {},
                       .left_out = {}};
  Series series;
  series.settings = settings_of(options, card);
  series.prompts = options.prompts.empty()
                       ? std::vector<std::string>{"a lighthouse at dusk, waves below it", "a potter shapes a bowl",
                                                  "rain on the windows of a tram"}
                       : read_prompts(options.prompts);
  report.environment["prompts"] =
      options.prompts.empty() ? "three of our own" : std::filesystem::path(options.prompts).filename().string();
  if (!options.negative.empty()) series.negative = text_of(options.negative);
  series.videos = options.videos > 0        ? options.videos
                  : options.prompts.empty() ? kVideos
                                            : int64_t(series.prompts.size());
  series.latent = start_of(options, series.settings, report);
  series.files = files_of(options, report);
  check(series);  // before a card measures and draws for a minute
  const Precision precision = precision_of(options.precision);
  const bench::Site site = site_of(options.kernels, card);
  Instruments instruments;
  if (card) {
    const bench::Stopwatch stopwatch = bench::device_stopwatch({});
    std::vector<bench::Probe> probes = bench::ceiling_probes(site);
    report.environment["clocks_before"] = bench::device_clocks();
    bench::measure_ceilings(probes, stopwatch, report);
    instruments.reset_peak = stopwatch.reset_peak;
    instruments.peak_bytes = stopwatch.peak_bytes;
  }
  const std::unique_ptr<VideoMaker> maker = maker_of(options, series.settings, precision, site);
  measure(*maker, series, instruments, report, [&](const bench::Report& now) {
    if (save) save(now);
  });
  if (card) {
    report.environment["clocks_after"] = bench::device_clocks();
    if (save) save(report);
  }
  return report;
}

}  // namespace wan::mlperf

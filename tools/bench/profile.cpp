#include "tools/bench/profile.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <tuple>

#include "tools/bench/ceilings.h"
#include "tools/bench/device.h"
#include "tools/bench/measure.h"
#include "tools/bench/networks.h"

namespace wan::bench {
namespace {

using kernels::RangeKind;

constexpr const char* kBetween = "between operations";

std::string text(const char* format, double value) {
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string shape_of(const kernels::RangeWork& work) {
  if (work.rows == 0) return "";
  const std::string rows = std::to_string(work.rows) + " x ";
  return work.in > 0 ? rows + std::to_string(work.in) + " to " + std::to_string(work.out)
                     : rows + std::to_string(work.out);
}

/// A network that a CPU passes in a second.
Site small_site(Site site) {
  site.config = {.dim = 256,
                 .ffn_dim = 384,
                 .freq_dim = 64,
                 .in_dim = 16,
                 .out_dim = 16,
                 .num_heads = 2,
                 .num_layers = 2,
                 .text_len = 32,
                 .eps = 1e-6};
  site.resolutions = {{"small", 2, 8, 8}};
  return site;
}

Precision precision_of(const std::string& word) {
  if (word == "exact") return Precision::Exact;
  if (word == "balanced") return Precision::Balanced;
  if (word == "fast") return Precision::Fast;
  throw std::invalid_argument("[precision] must be exact, balanced or fast, got " + word);
}

Resolution resolution_of(const Site& site, const std::string& label) {
  if (site.resolutions.size() == 1) return site.resolutions[0];
  std::string labels;
  for (const Resolution& one : site.resolutions) {
    if (one.label == label) return one;
    labels += (labels.empty() ? "" : ", ") + one.label;
  }
  throw std::invalid_argument("[resolution] must be of " + labels + ", got " + label);
}

/// On a CPU products in float32 have a ceiling, too, and everything is small.
std::vector<Probe> probes_of(const Site& site) {
  if (site.is_cuda()) {
    std::vector<Probe> probes = ceiling_probes(site);
    for (Probe& probe : device_probes()) probes.push_back(std::move(probe));
    return probes;
  }
  constexpr int64_t kMatrix = 512, kBytes = int64_t(64) << 20;
  std::vector<Probe> probes = ceiling_probes(site, kMatrix, kBytes);
  probes.push_back({"fp32", 2.0 * kMatrix * kMatrix * kMatrix, [site]() -> Launch {
                      const Tensor a = at::randn({kMatrix, kMatrix}, site.options()), b = at::randn_like(a);
                      return [=](size_t) { at::mm(a, b); };
                    }});
  return probes;
}

}  // namespace

std::vector<KernelTotal> totals_of(const std::vector<TimedRange>& ranges) {
  std::map<std::tuple<std::string, std::string>, KernelTotal> found;
  for (const TimedRange& range : ranges) {
    const bool operation = range.kind == RangeKind::Operation;
    const std::string name = operation ? range.name : kBetween, shape = operation ? shape_of(range.work) : "";
    KernelTotal& total = found[{name, shape}];
    total.name = name;
    total.shape = shape;
    total.ours = range.ours;
    total.calls += 1;
    total.total += range.own;
    total.milliseconds.push_back(range.own);
    if (operation) total.work = range.work;
  }
  double all = 0;
  std::vector<KernelTotal> totals;
  for (auto& [key, total] : found) {
    all += total.total;
    totals.push_back(std::move(total));
  }
  for (KernelTotal& total : totals) total.share = all > 0 ? total.total / all : 0;
  std::stable_sort(totals.begin(), totals.end(),
                   [](const KernelTotal& a, const KernelTotal& b) { return a.total > b.total; });
  return totals;
}

std::vector<Row> profile_rows(const std::vector<KernelTotal>& totals, const std::string& shape) {
  std::vector<Row> rows;
  for (const KernelTotal& total : totals)
    rows.push_back(
        {.suite = "profile",
         .name = total.name + (total.shape.empty() ? "" : ", " + total.shape),
         .shape = shape,
         .backend = total.ours ? "wan-infer" : "ATen",
         .ours = total.ours,
         .milliseconds = total.milliseconds,
         .flops = total.work.flops,
         .bytes = total.work.bytes,
         .ceiling = total.work.ceiling,
         .error = -1,
         .bound = 0,
         .peak_bytes = 0,
         .note = std::to_string(total.calls) + " calls, " + text("%.2f %% of the forward", 100 * total.share)});
  return rows;
}

std::string profile_table(const std::vector<KernelTotal>& totals, const Report& report) {
  std::string out = "| kernel | shape | calls | ms | share | rate | of ceiling |\n|---|---|---|---|---|---|---|\n";
  for (const KernelTotal& total : totals) {
    const kernels::RangeWork& work = total.work;
    const double seconds = total.total / 1000;
    const double done = double(total.calls) * (work.flops > 0 ? work.flops : work.bytes);
    const double rate = seconds > 0 ? done / seconds : 0;
    const auto ceiling = report.ceilings.find(work.ceiling);
    const bool known = rate > 0 && ceiling != report.ceilings.end() && ceiling->second > 0;
    out += "| " + (total.ours ? total.name : total.name + " (ATen)") + " | " + total.shape + " | " +
           std::to_string(total.calls) + " | " + text("%.4g", total.total) + " | " +
           text("%.1f %%", 100 * total.share) + " | " +
           (rate <= 0 ? "" : text(work.flops > 0 ? "%.4g TFLOP/s" : "%.3g TB/s", rate / 1e12)) + " | " +
           (known ? text("%.0f %% ", 100 * rate / ceiling->second) + work.ceiling : "") + " |\n";
  }
  return out;
}

Profile profile(const ProfileOptions& options) {
  const bool card = has_device();
  Site site;
  if (!card) {
    site.device = at::kCPU;
    site.dtype = at::kFloat;
  }
  const bool small = options.small_networks || !card;
  if (small) site = small_site(site);
  site.context = kernels::make_context(options.kernels, card ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU));
  const Precision precision = precision_of(options.precision);
  const Resolution at = resolution_of(site, options.resolution);
  Profile out{.report = {.command = options.command,
                         .commit = options.commit,
                         .environment = device_environment(),
                         .ceilings = {},
                         .rows = {},
                         .left_out = {}},
              .totals = {}};
  if (small) out.report.environment[kNetwork] = "small, of " + std::to_string(site.config.num_layers) + " blocks";
  out.report.environment["precision"] = options.precision;
  out.report.environment["clocks_before"] = device_clocks();
  Effort effort;
  if (!card) effort = {.warmups = 1, .launches = 1, .sample_milliseconds = 50, .samples = 3};
  const Stopwatch stopwatch = card ? device_stopwatch(effort) : Stopwatch{wall_milliseconds, effort};
  measure_ceilings(probes_of(site), stopwatch, out.report);

  const std::function<void()> forward = forward_run(site, at, precision, options.branches);
  forward();  // back ends are chosen, memory is there
  const std::unique_ptr<Marks> marks = card ? device_marks() : clock_marks();
  const std::vector<TimedRange> ranges = time_line(*marks, "forward", forward);
  out.report.environment["clocks_after"] = device_clocks();
  out.totals = totals_of(ranges);
  out.report.rows = profile_rows(out.totals, at.shape());
  if (!options.trace.empty()) write_file(options.trace, chrome_trace(ranges, "wan-infer, " + at.shape()));
  return out;
}

}  // namespace wan::bench

#include "tools/bench/ceilings.h"

#include <ATen/ATen.h>

#include "tools/bench/statistics.h"

namespace wan::bench {
namespace {

/// Random codes over the whole range: power, and with it the clock, depends on the data.
Tensor codes(const Site& site, int64_t matrix, at::ScalarType dtype) {
  return (at::randn({matrix, matrix}, at::TensorOptions(site.device).dtype(at::kFloat)) * 32)
      .clamp(-127, 127)
      .to(dtype);
}

Launch product(const Site& site, int64_t matrix, at::ScalarType dtype) {
  const Tensor a = codes(site, matrix, dtype), b = codes(site, matrix, dtype).t();
  if (dtype == at::kChar) return [=](size_t) { at::_int_mm(a, b); };
  if (dtype == at::kFloat8_e4m3fn) {
    const Tensor one = at::ones({}, at::TensorOptions(site.device).dtype(at::kFloat));
    return [=](size_t) { at::_scaled_mm(a, b, one, one, {}, {}, at::kBFloat16, /*use_fast_accum=*/true); };
  }
  return [=](size_t) { at::mm(a, b); };
}

}  // namespace

std::vector<Probe> ceiling_probes(const Site& site, int64_t matrix, int64_t bytes) {
  const auto buffer = [=] { return at::zeros({bytes / 4}, at::TensorOptions(site.device).dtype(at::kFloat)); };
  std::vector<Probe> probes = {{"copy", 2.0 * double(bytes),
                                [=]() -> Launch {
                                  Tensor from = buffer(), to = buffer();
                                  return [=](size_t) { to.copy_(from); };
                                }},
                               {"read", double(bytes), [=]() -> Launch {
                                  Tensor from = buffer();
                                  return [=](size_t) { from.sum(); };
                                }}};
  const std::pair<const char*, at::ScalarType> products[] = {
      {"bf16", at::kBFloat16}, {"fp16", at::kHalf}, {"fp8", at::kFloat8_e4m3fn}, {"int8", at::kChar}};
  for (const auto& [name, dtype] : products)
    probes.push_back({name, 2.0 * double(matrix) * double(matrix) * double(matrix),
                      [=, dtype = dtype] { return product(site, matrix, dtype); }});
  return probes;
}

void measure_ceilings(const std::vector<Probe>& probes, const Stopwatch& stopwatch, Report& report) {
  for (const Probe& probe : probes) {
    try {
      const auto samples = measure_in_turns({probe.make()}, 1, stopwatch.timer, stopwatch.effort);
      report.ceilings[probe.name] = probe.work / (summarise(samples[0]).median / 1000);
    } catch (const c10::Error& error) {
      const std::string message = error.what_without_backtrace();
      report.left_out.push_back({"ceilings", probe.name, "", "", message.substr(0, message.find('\n'))});
    }
  }
}

}  // namespace wan::bench

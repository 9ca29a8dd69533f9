// What a seed draws on the CPU.
#include "engine/sampling/noise.h"
#include "tests/parity/case.h"

namespace wan::parity {
namespace {

using at::Tensor;

/// log, cos and sin differ by an ulp or two between libraries; the case states no limits.
constexpr double kUlps = 1e-6;

/// The tensor that `what`, the name after the seed, stands for; see the tensors' `meaning`.
Tensor drawn(const std::string& what, int64_t seed, at::IntArrayRef shape) {
  Noise noise(uint64_t(seed), at::kCPU);
  if (what == "latent") {  // the first channels of a whole latent
    std::vector<int64_t> whole = shape.vec();
    whole[0] = 16;
    return noise.draw(whole).narrow(0, 0, shape[0]);
  }
  if (what.rfind("second", 0) == 0) {
    noise.draw(shape);
    return noise.draw(shape);
  }
  if (what.rfind("f64", 0) == 0) return noise.draw(shape, at::kDouble);
  if (what.rfind("bf16", 0) == 0) return noise.draw(shape, at::kBFloat16);
  return noise.draw(shape);
}

void run_case(Case& golden) {
  for (const auto& [name, want] : golden.tensors) {
    size_t dot = name.find('.');
    int64_t seed = std::stoll(name.substr(4, dot - 4));  // seed<s>.<what>
    golden.expect(name, drawn(name.substr(dot + 1), seed, want.sizes()), kUlps);
  }
}

bool takes(const Case& golden) {
  return golden.json.contains("seeds") && !golden.tensors.empty() &&
         golden.tensors.begin()->first.rfind("seed", 0) == 0;
}

}  // namespace

const Handler kRng = {"rng", takes, run_case};

}  // namespace wan::parity

#include "engine/sampling/attention_record.h"

#include <cstdlib>
#include <filesystem>

#include "kernels/attention/selector.h"
#include "kernels/op/cuda.h"
#include "kernels/op/policy.h"

namespace wan {

namespace {

/// What the choice of the instructions is noted as: a name that no case has.
const std::string kEightBits = "8-bit products";

bool chooses(const Placement& placement) {
  return kernels::kFusedBuilt && placement.device.is_cuda();
}

std::filesystem::path cache_file() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && *cache) return std::filesystem::path(cache) / "wan-infer" / "attention.json";
  if (home && *home) return std::filesystem::path(home) / ".cache" / "wan-infer" / "attention.json";
  return {};
}

}  // namespace

void remember_attention(const Placement& placement, const Log& log) {
  if (!chooses(placement)) return;
  if constexpr (kernels::kFusedBuilt) {
    if (!kernels::cuda::has_kernels(placement.device))
      log("warning", {{"text",
                       "this build holds no kernels for this card (they need sm_80 or newer): plain operations "
                       "of ATen run instead, slower"}});
  }
  std::filesystem::path file = cache_file();
  std::error_code ignored;  // a folder that cannot be made costs a new measurement, nothing else
  if (!file.empty()) std::filesystem::create_directories(file.parent_path(), ignored);
  kernels::attention_selector().set_cache(file);
}

std::map<std::string, std::string> attention_choices(const Placement& placement) {
  std::map<std::string, std::string> choices;
  if constexpr (kernels::kFusedBuilt) {
    if (!chooses(placement)) return choices;
    choices = kernels::attention_selector().choices();
    if (kernels::wgmma() == kernels::Wgmma::On && kernels::cuda::has_wgmma(placement.device))
      choices[kEightBits] = "wgmma";
  }
  return choices;
}

void pin_attention(const Placement& placement, const std::map<std::string, std::string>& choices) {
  if (!chooses(placement)) return;
  kernels::set_wgmma(wgmma_of(choices, kernels::wgmma()));
  std::map<std::string, std::string> cases = choices;
  cases.erase(kEightBits);
  kernels::attention_selector().pin(cases);
}

kernels::Wgmma wgmma_of(const std::map<std::string, std::string>& choices, kernels::Wgmma now) {
  using kernels::Wgmma;
  if (now == Wgmma::Off) return now;
  if (choices.contains(kEightBits)) return Wgmma::On;
  return choices.empty() || now != Wgmma::On ? now : Wgmma::Measured;
}

void log_attention(const Placement& placement, const Log& log) {
  if (!chooses(placement)) return;
  for (const std::string& line : kernels::attention_selector().report()) log("attention", {{"choice", line}});
  if (kernels::wgmma() == kernels::Wgmma::On)
    log("attention", {{"choice", kEightBits + ": wgmma where the GPU has it; not yet measured"}});
}

}  // namespace wan

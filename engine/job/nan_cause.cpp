#include "engine/job/nan_cause.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "engine/base/text.h"
#include "engine/residency/not_finite.h"
#include "models/files/error.h"

namespace wan {
namespace {

bool takes_loras(Network network) {
  return network == Network::HighNoise || network == Network::LowNoise || network == Network::Speech;
}

}  // namespace

void explaining_nan(const Job& job, const std::vector<Network>& networks, Progress& progress,
                    const std::function<void()>& work) {
  try {
    work();
  } catch (const NotFinite& error) {
    check_weights_finite(job.group->parts, networks, progress, job.label);
    std::vector<std::string> names;
    if (std::any_of(networks.begin(), networks.end(), takes_loras))
      for (const FileIdentity& file : job.loras->files) names.push_back(shown_text(file.name, 120));
    if (names.empty()) throw;
    throw NotFinite(std::string(error.what()) + "; or a LoRA does not fit (" + either(names, " and ") +
                    "): try lower scales, or without --lora");
  }
}

void check_finite(const Encoded& encoded, const char* what) {
  for (const at::Tensor& tensor :
       {encoded.conditioning.positive, encoded.conditioning.negative, encoded.conditioning.image, encoded.clean})
    if (tensor.defined() && !tensor.isfinite().all().item<bool>())
      throw NotFinite(std::string("[encode] ") + what + " gave NaN or Inf; in bf16 try --dtype float32");
}

}  // namespace wan

// Everything about the kernels that a user can switch. Read once, in tools/; nothing here or above reads the environment.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace wan::kernels {

/// The instructions that a tensor-core kernel is made of: mma.sync, on sm_80 and newer, or wgmma, on sm_90 alone.
enum class Instructions { Mma, Wgmma };

/// What the kernels with wgmma are used for. They have not run on a GPU yet, so only wan-bench and the tests launch
/// them by default (Measured). On: 16-bit attention counts them as candidates, 8-bit products prefer them. Off: nothing
/// launches them.
enum class Wgmma { Off, Measured, On };

/// Names of the back ends of 16-bit attention on a GPU (kernels/attention/attention_cuda.h).
inline constexpr std::array<const char*, 5> kAttentionBackends = {"cudnn", "flash", "efficient", "mma", "wgmma"};

/// What 8-bit weights and values may be summed in (kernels/attention/float8.h), where a card multiplies them with
/// mma.sync at its own speed: float32, which is taken unless half is measured faster.
inline constexpr const char *kFloatSums = "float-sums", *kHalfSums = "half-sums";

struct Options {
  bool reference = false;  ///< on a GPU: ATen's plain operations instead of fused kernels, slow and right
  Wgmma wgmma = Wgmma::Measured;
  std::vector<std::string> attention_off = {};  ///< of kAttentionBackends, or kHalfSums: not used unless pinned
};

}  // namespace wan::kernels

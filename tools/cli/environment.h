// The environment variables that wan-infer and wan-bench honour. Read once, by a program's main; nothing below tools
// reads the environment for them.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

#include "kernels/op/options.h"

namespace wan {

/// A variable has a value that is not known: `[WAN_WGMMA] must be off, measured or on, got yes`.
struct EnvironmentError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// WAN_KERNELS (fused, reference), WAN_WGMMA (off, measured, on) and WAN_ATTENTION_OFF (names of attention back ends
/// and half-sums, with commas between). Unset and empty is the default. Throws EnvironmentError for other values.
kernels::Options options_of_environment();

/// WAN_EXPANDER_KEY, for the language server that expands prompts; empty where it is unset. Throws EnvironmentError,
/// which does not quote it, where it has other letters than a header may have, or more than 4096.
std::string expander_key();

/// What libtorch's allocator on GPUs is told (c10::CachingAllocator::setAllocatorSettings): segments that grow, so that
/// blocks of other sizes find room after long runs. Empty, for nothing, where the user has set PYTORCH_CUDA_ALLOC_CONF
/// or PYTORCH_ALLOC_CONF, and below Windows, whose driver does not always have them. `root` stands for "/".
std::string allocator_settings(const std::filesystem::path& root = "/");

/// Where times of attention are kept: wan-infer/attention.json in XDG_CACHE_HOME, else in .cache of HOME; empty without
/// either.
std::filesystem::path attention_cache_path();
/// The folder where fitted maps of previews are kept: wan-infer/previews, in the same places.
std::filesystem::path preview_cache_path();

}  // namespace wan

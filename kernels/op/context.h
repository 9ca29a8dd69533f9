// What the operations of one device share. Every operation takes a Context as its last argument; two of them in one
// process (two GPUs, two jobs, two tests) do not influence each other.
#pragma once

#include <c10/core/Device.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "kernels/op/options.h"

namespace wan::kernels {

class AttentionSelector;

/// Back end of attention in each case (AttentionCase::name), kEightBits -> "wgmma" where 8-bit products use that, and
/// kEightBitSums with a case -> kFloatSums or kHalfSums: what a record keeps and a replay pins.
using Choices = std::map<std::string, std::string>;
/// The key of the instructions of 8-bit products: no case of attention has this name.
inline constexpr const char* kEightBits = "8-bit products";
/// How the keys of sums of 8-bit weights and values begin; their case follows.
inline constexpr const char* kEightBitSums = "8-bit sums ";
/// Whether a key is about 8-bit arithmetic.
bool is_of_8_bits(const std::string& key);

/// Thread-safe: operations of several threads may use it, also while choices are pinned or reported.
class Context {
 public:
  /// Without a selector: attention is ATen's. A GPU has its index; throws c10::Error otherwise.
  explicit Context(Options options = {}, at::Device device = at::kCPU);
  /// The selectors are asked about tensors on `device`, where they measure: `attention` about that in 16 bits, `sums`
  /// about what 8-bit weights and values are summed in (kFloatSums, kHalfSums).
  Context(Options options, at::Device device, std::unique_ptr<AttentionSelector> attention,
          std::unique_ptr<AttentionSelector> sums = nullptr);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Options& options() const { return options_; }
  at::Device device() const { return device_; }
  /// Null where nothing is chosen: the CPU, the reference, a build without kernels.
  AttentionSelector* attention() const { return attention_.get(); }
  /// The same for tensors on `device`; null for those of another device than the Context's.
  AttentionSelector* attention_on(at::Device device) const;
  /// The same of sums; null, too, on a GPU where float32 is the only choice.
  AttentionSelector* sums() const { return sums_.get(); }
  AttentionSelector* sums_on(at::Device device) const;
  /// Options::wgmma, unless pinned choices say otherwise. Concerns 8-bit products; 16-bit attention asks its selector.
  Wgmma wgmma() const { return wgmma_; }

  /// Uses these from now on: attention and sums as AttentionSelector::pin, 8-bit products with wgmma if kEightBits is
  /// named and with mma.sync if other choices are. No choices: what the options say. Options::wgmma == Off holds in any
  /// case.
  /// Throws c10::Error for a back end that is not among the selector's, and changes nothing then.
  void pin(const Choices& choices);
  /// What has been used so far.
  Choices choices() const;

  /// Kernels that were compared with their reference and agreed (first_use.h), by name.
  bool has_agreed(const std::string& name) const;
  void set_agreed(const std::string& name) const;

 private:
  bool is_own(at::Device device) const;

  const Options options_;
  const at::Device device_;
  const std::unique_ptr<AttentionSelector> attention_, sums_;
  std::atomic<Wgmma> wgmma_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> agreed_;
};

/// A Context for `device` (a GPU with its index): with the selectors of cuda::attention_selector and cuda::sums_selector
/// where this build has kernels, the device is a GPU and the options do not ask for the reference. Throws c10::Error for
/// a name in Options::attention_off that is not among the back ends.
std::unique_ptr<Context> make_context(const Options& options, at::Device device);

/// Default options, no selector: for tests, tools and whoever has no device of their own.
const Context& default_context();

}  // namespace wan::kernels

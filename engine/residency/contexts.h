// The kernels' Contexts of a process, one for each device that is used.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/attention/selector.h"
#include "kernels/op/context.h"

namespace wan {

/// Jobs on one device share its Context: what was measured of attention and what is pinned. So one of them runs at a
/// time. Thread-safe.
class Contexts {
 public:
  /// `memory` is where the choices of attention outlive the process.
  explicit Contexts(kernels::Options options = {}, kernels::AttentionMemory memory = {});

  const kernels::Options& options() const { return options_; }
  /// Made when it is first asked for. Throws c10::Error as kernels::make_context.
  std::shared_ptr<kernels::Context> on(at::Device device);

 private:
  const kernels::Options options_;
  const kernels::AttentionMemory memory_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<kernels::Context>> made_;  // by the device's name
};

}  // namespace wan
